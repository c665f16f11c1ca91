/**
 * A cursor: how far somebody has read, as an opaque text that may be kept anywhere.
 *
 * - It holds the context's incarnation and a position for each shard that it speaks of; one that follows a single entity
 *   speaks of one shard.
 * - A text that was cut or changed is refused by its checksum. One of another incarnation (the context was restored from a
 *   backup since) is CURSOR_FOREIGN: its positions mean something else now.
 *
 * Bytes, in base64url: u8 form 1, u8 length of the incarnation, its UTF-8, the shards as LEB128 pairs of shard and
 * position, u32 CRC-32 of what is before it, little-endian.
 */
import { crc32 } from "node:zlib";
import { WarpError } from "./errors.ts";
import { limits } from "./limits.ts";

const form = 1;
const checksumBytes = 4;

/** A position per shard; undefined for a shard that the cursor does not speak of. */
export type Positions = readonly (number | undefined)[];

export function encodeCursor(incarnation: string, positions: Positions): string {
  const name = Buffer.from(incarnation, "utf8");
  const bytes = [form, name.length, ...name];
  for (const [shard, position] of positions.entries()) {
    if (position === undefined) continue;
    pushNumber(bytes, shard);
    pushNumber(bytes, position);
  }
  const whole = Buffer.alloc(bytes.length + checksumBytes);
  whole.set(bytes);
  whole.writeUInt32LE(crc32(whole.subarray(0, bytes.length)), bytes.length);
  return whole.toString("base64url");
}

/** The positions, an element per shard of the context. Errors: INVALID_ARGUMENT, CURSOR_FOREIGN. */
export function decodeCursor(
  text: string,
  context: { readonly incarnation: string; readonly shards: number },
): Positions {
  const whole = Buffer.from(String(text), "base64url");
  const end = whole.length - checksumBytes;
  const nameEnd = 2 + (whole[1] ?? 0);
  const isWhole =
    end >= nameEnd &&
    whole.toString("base64url") === text &&
    whole[0] === form &&
    whole.readUInt32LE(end) === crc32(whole.subarray(0, end));
  if (!isWhole) throw new WarpError("INVALID_ARGUMENT", "this is no cursor, or not all of it");
  const incarnation = whole.toString("utf8", 2, nameEnd);
  if (incarnation !== context.incarnation) {
    const why = "the cursor is of another incarnation of the context: it was restored since, so start again";
    throw new WarpError("CURSOR_FOREIGN", why, { incarnation: context.incarnation, cursor: incarnation });
  }
  const positions = new Array<number | undefined>(context.shards).fill(undefined);
  for (let at = nameEnd; at < end; ) {
    const shard = readNumber(whole, at, end);
    const position = readNumber(whole, shard.next, end);
    if (shard.value >= Math.min(context.shards, limits.shardsMax)) {
      throw new WarpError("INVALID_ARGUMENT", `the cursor names shard ${shard.value}, which is not there`);
    }
    positions[shard.value] = position.value;
    at = position.next;
  }
  return positions;
}

function pushNumber(bytes: number[], value: number): void {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
}

function readNumber(bytes: Buffer, from: number, end: number): { value: number; next: number } {
  let value = 0;
  for (let at = from, unit = 1; at < end; at++, unit *= 0x80) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * unit;
    if (byte < 0x80) return { value, next: at + 1 };
  }
  throw new WarpError("INVALID_ARGUMENT", "the cursor is cut off");
}
