/**
 * The messages of exports, deletions, holds, ledgers, backups and keys (docs/protocol.md). Options and results are values: maps whose
 * fields a reader that does not know them ignores.
 */
import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { protocolError } from "./protocol-error.ts";
import { decodeForeignValue, decodeValue, encodeValue } from "./value.ts";
import { frameKind, operation } from "./words.ts";

/** Where a page of an export begins. */
export interface ExportCursor {
  readonly from: number;
  readonly to: number;
  /** Which of the lives of an id it is about; nothing of the first clients and servers says so. */
  readonly number?: number | undefined;
}

export interface ExportPage {
  readonly text: string;
  readonly next: ExportCursor | undefined;
}

export type HoldAction = "set" | "release" | "get";
export type KeysAction = "status" | "rotate";
type Options = Readonly<Record<string, unknown>>;
/** Options as they came: {@link optionsOf}. */
type EncodedOptions = string | Uint8Array | undefined;

function start(writer: FrameWriter, id: number, op: number, fields: number): number {
  const frame = writer.startFrame(3 + fields);
  writer.num(frameKind.request);
  writer.num(id);
  writer.num(op);
  return frame;
}

export function writeExport(
  writer: FrameWriter,
  id: number,
  entity: string,
  cursor: ExportCursor | undefined,
): void {
  const number = cursor?.number;
  const frame = start(writer, id, operation.export, number === undefined ? 3 : 4);
  writer.str(entity);
  writer.numOrNil(cursor?.from);
  writer.numOrNil(cursor?.to);
  if (number !== undefined) writer.num(number);
  writer.endFrame(frame);
}

export function readExport(reader: FrameReader): { entity: string; cursor: ExportCursor | undefined } {
  const entity = reader.str();
  const cursor = readCursor(reader);
  reader.finish();
  return { entity, cursor };
}

function readCursor(reader: FrameReader): ExportCursor | undefined {
  const from = reader.wholeOrNil();
  const to = reader.wholeOrNil();
  const number = reader.wholeOrNil();
  if (from === undefined || to === undefined) return undefined;
  return number === undefined ? { from, to } : { from, to, number };
}

export function writeExportPage(writer: FrameWriter, id: number, { text, next }: ExportPage): void {
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  const number = next?.number;
  writer.array(number === undefined ? 3 : 4);
  writer.str(text);
  writer.numOrNil(next?.from);
  writer.numOrNil(next?.to);
  if (number !== undefined) writer.num(number);
  writer.endFrame(frame);
}

export function readExportPage(reader: FrameReader): ExportPage {
  reader.enter();
  const text = reader.str();
  return { text, next: readCursor(reader) };
}

/** Errors: INVALID_ARGUMENT for options that are no map, and those of {@link encodeValue}. */
export function writeDelete(writer: FrameWriter, id: number, entity: string, options: Options): void {
  const encoded = encodeValue(requireMap(options));
  const frame = start(writer, id, operation.delete, 2);
  writer.str(entity);
  writer.value(encoded);
  writer.endFrame(frame);
}

export function readDelete(reader: FrameReader): { entity: string; options: EncodedOptions } {
  const entity = reader.str();
  const options = readOptions(reader);
  reader.finish();
  return { entity, options };
}

/** Errors: as {@link writeDelete}. */
export function writeHold(
  writer: FrameWriter,
  id: number,
  entity: string,
  action: HoldAction,
  options: Options,
): void {
  const encoded = encodeValue(requireMap(options));
  const frame = start(writer, id, operation.hold, 3);
  writer.str(entity);
  writer.str(action);
  writer.value(encoded);
  writer.endFrame(frame);
}

export function readHold(reader: FrameReader): {
  entity: string;
  action: HoldAction;
  options: EncodedOptions;
} {
  const entity = reader.str();
  const action = reader.knownStr();
  const options = readOptions(reader);
  reader.finish();
  if (action === "set" || action === "release" || action === "get") return { entity, action, options };
  throw protocolError("a hold is set, released or got");
}

export function writeErasures(writer: FrameWriter, id: number, shard: number, after: number): void {
  const frame = start(writer, id, operation.erasures, 2);
  writer.num(shard);
  writer.num(after);
  writer.endFrame(frame);
}

export function readErasures(reader: FrameReader): { shard: number; after: number } {
  const shard = reader.whole(limits.shardsMax - 1);
  const after = reader.whole();
  reader.finish();
  return { shard, after };
}

export function writeBackup(writer: FrameWriter, id: number, target: string | undefined): void {
  const frame = start(writer, id, operation.backup, 1);
  writer.strOrNil(target);
  writer.endFrame(frame);
}

/** Undefined for the target that the server was started with. */
export function readBackup(reader: FrameReader): string | undefined {
  const target = reader.strOrNil();
  reader.finish();
  return target;
}

export function writeKeys(writer: FrameWriter, id: number, action: KeysAction): void {
  const frame = start(writer, id, operation.keys, 1);
  writer.str(action);
  writer.endFrame(frame);
}

export function readKeys(reader: FrameReader): KeysAction {
  const action = reader.knownStr();
  reader.finish();
  if (action === "status" || action === "rotate") return action;
  throw protocolError("keys have a status, or are rotated");
}

/** A result that is one value. */
export function writeValueReply(writer: FrameWriter, id: number, value: unknown): void {
  // As JSON, so that a field without a value is left out.
  const text = JSON.stringify(value);
  const frame = writer.startFrame(3);
  writer.num(frameKind.reply);
  writer.num(id);
  writer.value(text);
  writer.endFrame(frame);
}

export function readValueReply(reader: FrameReader): unknown {
  return decodeValue(reader.value());
}

function readOptions(reader: FrameReader): EncodedOptions {
  return reader.isNil() ? undefined : reader.value();
}

/** Errors: INVALID_ARGUMENT, INVALID_EVENT, EVENT_TOO_LARGE. */
export function optionsOf(encoded: EncodedOptions): Options {
  return encoded === undefined ? {} : requireMap(decodeForeignValue(encoded));
}

function requireMap(options: unknown): Options {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return options as Options;
  throw new WarpError("INVALID_ARGUMENT", "options are a map");
}
