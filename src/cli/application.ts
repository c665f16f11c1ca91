/**
 * Loads an application: a TypeScript module, read at run time, that exports aggregates.
 *
 * - A name such as `warp:bench` stands for one that is part of the executable.
 * - What counts is its default export `{ aggregates: [...] }` if it has one, else every aggregate among its exports.
 * - Whatever goes wrong is APPLICATION_INVALID with the file and, where it can be known, line and column in it.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Aggregate } from "../aggregate/aggregate.ts";
import { ledger } from "../aggregate/ledger.ts";
import { WarpError } from "../core/errors.ts";

interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** The folder of this library's own sources, whose places are of no use to the writer of an application. */
const ownSources = resolve(import.meta.dir, "..");

const builtInPrefix = "warp:";
const builtIn: ReadonlyMap<string, Aggregate> = new Map([[`${builtInPrefix}bench`, ledger]]);

/** The aggregates of the application at `path`, relative to the working directory. */
export async function loadApplication(path: string): Promise<Aggregate[]> {
  if (path.startsWith(builtInPrefix)) {
    const aggregate = builtIn.get(path);
    if (aggregate === undefined) throw invalid("there is no such built-in application", { file: path });
    return [aggregate];
  }
  const file = resolve(path);
  if (!existsSync(file)) throw invalid("there is no such file", { file });
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(file);
  } catch (error) {
    throw failureOf(error, file);
  }
  const aggregates = aggregatesOf(module, file);
  if (aggregates.length === 0) {
    throw invalid("it exports no aggregate; export what defineAggregate returns", { file });
  }
  return aggregates;
}

function aggregatesOf(module: Readonly<Record<string, unknown>>, file: string): Aggregate[] {
  const listed = listOf(module.default);
  if (listed === undefined) return [...new Set(Object.values(module).filter(isAggregate))];
  const stranger = listed.findIndex((value) => !isAggregate(value));
  if (stranger < 0) return listed.filter(isAggregate);
  throw invalid(`aggregates[${stranger}] of its default export is no aggregate`, { file });
}

function listOf(exported: unknown): readonly unknown[] | undefined {
  if (typeof exported !== "object" || exported === null || !("aggregates" in exported)) return undefined;
  return Array.isArray(exported.aggregates) ? exported.aggregates : undefined;
}

/** By its shape: the application may have been loaded with another copy of this library. */
function isAggregate(value: unknown): value is Aggregate {
  if (typeof value !== "object" || value === null) return false;
  const candidate = value as Partial<Aggregate>;
  return (
    typeof candidate.name === "string" &&
    typeof candidate.version === "number" &&
    typeof candidate.initialState === "function" &&
    candidate.handlers instanceof Map &&
    candidate.commands instanceof Map
  );
}

function failureOf(error: unknown, file: string): WarpError {
  // What does not parse comes as an AggregateError with a position for each complaint; the first says it.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const message = first instanceof Error || hasMessage(first) ? first.message : String(first);
  return invalid(message, placeOf(first) ?? { file }, error);
}

function hasMessage(value: unknown): value is { readonly message: string } {
  return (
    typeof value === "object" && value !== null && "message" in value && typeof value.message === "string"
  );
}

function placeOf(error: unknown): Place | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  if ("position" in error && typeof error.position === "object" && error.position !== null) {
    const { file, line, column } = error.position as Place;
    return { file, ...(line === undefined ? {} : { line }), ...(column === undefined ? {} : { column }) };
  }
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  for (const [, file, line, column] of stack.matchAll(
    /^\s*at (?:.*\()?(\/.*?|[A-Z]:.*?):(\d+):(\d+)\)?$/gm,
  )) {
    if (file === undefined || file.startsWith(`${ownSources}/`) || !existsSync(file)) continue;
    return { file, line: Number(line), column: Number(column) };
  }
  return undefined;
}

function invalid(why: string, place: Place, cause?: unknown): WarpError {
  const at = place.line === undefined ? place.file : `${place.file}:${place.line}:${place.column ?? 1}`;
  return new WarpError("APPLICATION_INVALID", `${at}: ${why}`, { ...place }, cause);
}
