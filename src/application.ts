/**
 * Loads an application: a TypeScript module, read at run time, that exports aggregates and projections.
 *
 * - A name such as `warp:bench` stands for one that is part of the executable.
 * - What counts is its default export `{ aggregates: [...], projections: [...] }` if it has one, else every aggregate and
 *   projection among its exports.
 * - It is loaded again in the Worker of every projection, so it only defines.
 * - Whatever goes wrong is APPLICATION_INVALID with the file and, where it can be known, line and column in it.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Aggregate } from "./aggregate/aggregate.ts";
import { ledger } from "./aggregate/ledger.ts";
import { WarpError } from "./core/errors.ts";
import { isProjection, type Projection, requireCompatible } from "./projection/definition.ts";

export interface Application {
  readonly aggregates: readonly Aggregate[];
  readonly projections: readonly Projection[];
}

interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** The folder of this library's own sources, whose places are of no use to the writer of an application. */
const ownSources = import.meta.dir;

/** What the names of applications begin with that are part of the executable, and no paths. */
export const builtInPrefix = "warp:";
const builtIn: ReadonlyMap<string, Aggregate> = new Map([[`${builtInPrefix}bench`, ledger]]);

/** What a program gives as its application: a module, or aggregates alone. */
export async function applicationOf(given: {
  readonly application?: string | undefined;
  readonly aggregates?: readonly Aggregate[] | undefined;
}): Promise<Application> {
  const { application, aggregates } = given;
  if (application === undefined) return { aggregates: aggregates ?? [], projections: [] };
  if (aggregates === undefined) return await loadApplication(application);
  throw new WarpError("INVALID_ARGUMENT", "give an application or its aggregates, not both");
}

/** The application at `path`, relative to the working directory. */
export async function loadApplication(path: string): Promise<Application> {
  if (path.startsWith(builtInPrefix)) {
    const aggregate = builtIn.get(path);
    if (aggregate === undefined) throw invalid("there is no such built-in application", { file: path });
    return { aggregates: [aggregate], projections: [] };
  }
  const file = resolve(path);
  if (!existsSync(file)) throw invalid("there is no such file", { file });
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(file);
  } catch (error) {
    throw failureOf(error, file);
  }
  const aggregates = membersOf(module, "aggregates", "aggregate", isAggregate, file);
  const projections = membersOf(module, "projections", "projection", isProjection, file);
  if (aggregates.length + projections.length === 0) {
    throw invalid("it exports no aggregate; export what defineAggregate returns", { file });
  }
  try {
    requireCompatible(projections);
  } catch (error) {
    throw failureOf(error, file);
  }
  return { aggregates, projections };
}

/** What its default export lists, or what it exports by itself. */
function membersOf<Member>(
  module: Readonly<Record<string, unknown>>,
  list: "aggregates" | "projections",
  what: string,
  isMember: (value: unknown) => value is Member,
  file: string,
): readonly Member[] {
  const { default: exported } = module;
  const isListing =
    typeof exported === "object" &&
    exported !== null &&
    ("aggregates" in exported || "projections" in exported);
  if (!isListing) return [...new Set(Object.values(module).filter(isMember))];
  const listed = (exported as Readonly<Record<string, unknown>>)[list] ?? [];
  if (!Array.isArray(listed)) throw invalid(`${list} of its default export is no list`, { file });
  const stranger = listed.findIndex((value) => !isMember(value));
  if (stranger < 0) return listed.filter(isMember);
  throw invalid(`${list}[${stranger}] of its default export is no ${what}`, { file });
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
