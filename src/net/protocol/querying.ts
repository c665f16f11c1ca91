/**
 * Queries and the verbs of projections on the wire, both directions (docs/protocol.md). What varies in them (parameters,
 * options, rows, statuses) travels as values.
 */
import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { protocolError } from "./protocol-error.ts";
import {
  decodeForeignValue,
  decodeValue,
  encodeList,
  encodeReadable,
  encodeRows,
  encodeValue,
} from "./value.ts";
import { frameKind, operation } from "./words.ts";

export type QueryParam = string | number | bigint | boolean | null;
export type QueryValue = QueryParam | Uint8Array;

/** The place of a write: the result of an append, or a cursor. */
export type After = string | { readonly shard: number; readonly position: number };

export interface QueryOptions {
  /** Waits until the rows are past this. */
  readonly after?: After | readonly After[] | undefined;
  /** For all of it, waiting included; 10 s by default. */
  readonly timeoutMs?: number | undefined;
  /** Rows at most, 10,000 by default. */
  readonly rows?: number | undefined;
  /** The name of a sink; the embedded one by default. */
  readonly sink?: string | undefined;
  /** The asker will ask for what does not fit in one reply. */
  readonly pages?: boolean | undefined;
}

export interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly QueryValue[])[];
  /** There were more rows than asked for, or than fit in a reply. */
  readonly isTruncated: boolean;
}

/** Rows of a result, and by which number to ask for the next of them; undefined behind the last. */
export interface RowsPage {
  readonly rows: QueryResult["rows"];
  readonly next?: number | undefined;
}

export interface QueryRequest {
  readonly sql: string;
  readonly params: string | Uint8Array | undefined;
  readonly options: string | Uint8Array | undefined;
}

export function writeQuery(
  writer: FrameWriter,
  id: number,
  sql: string,
  params: readonly QueryParam[],
  options: QueryOptions,
): void {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const encodedParams = params.length === 0 ? undefined : encodeList(params);
  const encodedOptions = Object.keys(given).length === 0 ? undefined : encodeValue(given);
  const frame = writer.startFrame(6);
  writer.num(frameKind.request);
  writer.num(id);
  writer.num(operation.query);
  writer.str(sql);
  writer.valueOrNil(encodedParams);
  writer.valueOrNil(encodedOptions);
  writer.endFrame(frame);
}

export function readQuery(reader: FrameReader): QueryRequest {
  const sql = reader.str();
  const params = reader.isNil() ? undefined : reader.value();
  const options = reader.isNil() ? undefined : reader.value();
  reader.finish();
  return { sql, params, options };
}

/** Errors: INVALID_ARGUMENT. */
export function queryOf({ params, options }: QueryRequest): { params: QueryParam[]; options: QueryOptions } {
  const list = params === undefined ? [] : decodeForeignValue(params);
  const map = options === undefined ? {} : decodeForeignValue(options);
  if (!Array.isArray(list) || !list.every(isParam)) {
    throw new WarpError(
      "INVALID_ARGUMENT",
      "the parameters of a query are a list of texts, numbers, booleans and nulls",
    );
  }
  if (!isMap(map)) throw new WarpError("INVALID_ARGUMENT", "the options of a query are a map");
  const { after, timeoutMs, rows, sink, pages } = map;
  const isPlain =
    isNumberOrNot(timeoutMs) && isNumberOrNot(rows) && (sink === undefined || typeof sink === "string");
  const places = after === undefined ? undefined : Array.isArray(after) ? after : [after];
  if (!isPlain || places?.every(isPlace) === false) {
    throw new WarpError("INVALID_ARGUMENT", "the options of a query are after, timeoutMs, rows and sink");
  }
  const paged = pages === true ? { pages } : undefined;
  return { params: list, options: { after: places, timeoutMs, rows, sink, ...paged } };
}

/** A row may take a reply of its own, and no more. */
export function rowTooLarge(cause?: unknown): WarpError {
  const message = `a row, with the names of its columns, takes more than a reply may: ${limits.frameBytesMax} bytes`;
  return new WarpError("QUERY_FAILED", message, { limit: "frameBytesMax" }, cause);
}

function endRows(writer: FrameWriter, frame: number): void {
  try {
    writer.endFrame(frame);
  } catch (thrown) {
    throw rowTooLarge(thrown);
  }
}

/** With `next` only for who has asked for pages. Errors: QUERY_FAILED. */
export function writeQueryResult(writer: FrameWriter, id: number, result: QueryResult & RowsPage): void {
  const rows = encodeRows(result.rows);
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  writer.array("next" in result ? 4 : 3);
  writer.array(result.columns.length);
  for (const column of result.columns) writer.str(column);
  writer.value(rows);
  writer.bool(result.isTruncated);
  if ("next" in result) writer.numOrNil(result.next);
  endRows(writer, frame);
}

export function writeRows(writer: FrameWriter, id: number, number: number): void {
  const frame = writer.startFrame(4);
  writer.num(frameKind.request);
  writer.num(id);
  writer.num(operation.rows);
  writer.num(number);
  writer.endFrame(frame);
}

export function readRows(reader: FrameReader): number {
  const number = reader.whole();
  reader.finish();
  return number;
}

/** Errors: QUERY_FAILED. */
export function writeRowsPage(writer: FrameWriter, id: number, page: RowsPage): void {
  const rows = encodeRows(page.rows);
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  writer.array(2);
  writer.value(rows);
  writer.numOrNil(page.next);
  endRows(writer, frame);
}

export function readRowsPage(reader: FrameReader): RowsPage {
  reader.enter();
  const rows = decodeValue(reader.value());
  const next = reader.numOrNil();
  if (!Array.isArray(rows)) throw protocolError("the rows of a query are a list");
  return { rows, next };
}

export function readQueryResult(reader: FrameReader): QueryResult & RowsPage {
  reader.enter();
  const outside = reader.enter();
  const columns: string[] = [];
  while (reader.left > 0) columns.push(reader.str());
  reader.leave(outside);
  const rows = decodeValue(reader.value());
  const isTruncated = reader.bool();
  if (!Array.isArray(rows)) throw protocolError("the rows of a query are a list");
  const next = reader.left === 0 ? undefined : reader.numOrNil();
  return { columns, rows, isTruncated, ...(next === undefined ? undefined : { next }) };
}

/** What operators do with projections. */
export type ProjectionAction = "list" | "pause" | "resume" | "rebuild" | "parked" | "unpark";

const actions: ReadonlySet<string> = new Set(["list", "pause", "resume", "rebuild", "parked", "unpark"]);

/** Errors: INVALID_ARGUMENT. */
export function requireAction(action: string): asserts action is ProjectionAction {
  if (actions.has(action)) return;
  const message = `what is done with a projection is ${[...actions].join(", ")}, not ${action}`;
  throw new WarpError("INVALID_ARGUMENT", message);
}

export interface ProjectionRequest {
  readonly action: ProjectionAction;
  readonly projection: string;
  /** Only this entity, of those that are held back. */
  readonly entity: string | undefined;
}

/** Errors: INVALID_ARGUMENT. */
export function writeProjection(writer: FrameWriter, id: number, request: ProjectionRequest): void {
  requireAction(request.action);
  const frame = writer.startFrame(6);
  writer.num(frameKind.request);
  writer.num(id);
  writer.num(operation.projection);
  writer.str(request.action);
  writer.str(request.projection);
  writer.strOrNil(request.entity);
  writer.endFrame(frame);
}

/** The action may be none: {@link requireAction}. */
export function readProjection(reader: FrameReader): Omit<ProjectionRequest, "action"> & { action: string } {
  const action = reader.knownStr();
  const projection = reader.str();
  const entity = reader.strOrNil();
  reader.finish();
  return { action, projection, entity };
}

/** A list of maps: statuses, or entities that are held back. */
export function writeProjectionResult(writer: FrameWriter, id: number, list: readonly object[]): void {
  const encoded = encodeReadable(list);
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  writer.value(encoded);
  writer.endFrame(frame);
}

export function readProjectionResult(reader: FrameReader): unknown {
  return decodeValue(reader.value());
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isParam(value: unknown): value is QueryParam {
  return value === null || ["string", "number", "bigint", "boolean"].includes(typeof value);
}

function isNumberOrNot(value: unknown): value is number | undefined {
  return value === undefined || typeof value === "number";
}

function isPlace(value: unknown): value is After {
  if (typeof value === "string") return true;
  return isMap(value) && typeof value.shard === "number" && typeof value.position === "number";
}
