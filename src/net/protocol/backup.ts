/**
 * The request for a backup (docs/protocol.md). Its result is a value.
 */
import type { FrameReader } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { startRequest } from "./requests.ts";
import { operation } from "./words.ts";

export function writeBackup(writer: FrameWriter, id: number, target: string | undefined): void {
  const frame = startRequest(writer, id, operation.backup, 1);
  writer.strOrNil(target);
  writer.endFrame(frame);
}

/** Undefined for the target that the server was started with. */
export function readBackup(reader: FrameReader): string | undefined {
  const target = reader.strOrNil();
  reader.finish();
  return target;
}
