/**
 * Caller keys: a call under a key takes effect once for as long as its entity lives.
 *
 * Results that are not settled are kept with the actor; a filter says which of the others are worth asking the disk
 * for. The same key with other content is an error, never a silent second meaning.
 */

import { encodeData } from "../aggregate/json-data.ts";
import { contentHashBytes } from "../core/append-record.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Actor, KeyedResult } from "./actor.ts";
import { timeOf } from "./draft.ts";
import type { Appended, Rejected, SendResult } from "./results.ts";
import type { KeyedCall, Write } from "./write.ts";

/** The earlier result under this key, undefined when it is new, or "ask" when only the disk can say. */
export function findKeyed(write: Write, key: string): KeyedResult | "ask" | undefined {
  const { actor } = write;
  requireKey(key);
  const recent = actor.keyed?.get(key);
  if (recent !== undefined) return recent;
  if (actor.number === 0) return undefined;
  const { stored, askedAt } = write.keyed ?? {};
  if (stored === null && askedAt === actor.tipPosition) return undefined;
  if (stored !== null && stored !== undefined) return stored;
  return actor.shard.keys.mayHave(key, actor.number) ? "ask" : undefined;
}

/** What a repeat of a keyed call is told. Errors: KEY_REUSED when it is not a repeat. */
export function repeatedResult(write: Write, key: string, known: KeyedResult): SendResult {
  const { actor } = write;
  if (Buffer.compare(known.contentHash, contentHashOf(write)) !== 0) {
    throw new WarpError(
      "KEY_REUSED",
      `key ${JSON.stringify(key)} was used for something else on this entity`,
      {
        entity: actor.id,
        key,
      },
    );
  }
  if (known.outcome !== undefined) {
    const rejection: Rejected = JSON.parse(known.outcome);
    return { ...rejection, duplicate: true };
  }
  const { firstSeq, count, position } = known;
  const seq = firstSeq + count - 1;
  return { ok: true, seq, firstSeq, count, duplicate: true, shard: actor.shard.index, position };
}

/** Keeps the result of a keyed call until it is settled. */
export function rememberKeyed(
  write: Write,
  key: string,
  result: Appended | undefined,
  outcome: string | undefined,
): void {
  const { actor } = write;
  actor.shard.keys.add(key, actor.number);
  const keyed = actor.keyed ?? new Map<string, KeyedResult>();
  actor.keyed = keyed;
  actor.shard.unsettledKeys.note(actor, write.position);
  keyed.set(key, {
    contentHash: contentHashOf(write),
    firstSeq: result?.firstSeq ?? actor.tipSeq + 1,
    count: result?.count ?? 0,
    position: write.position,
    outcome,
  });
}

/** SHA-256 of the events or the command of a call, cut to 16 bytes. */
export function contentHashOf(write: Write): Uint8Array {
  const keyed = keyedOf(write);
  if (keyed.contentHash !== undefined) return keyed.contentHash;
  const digest: Uint8Array = Bun.CryptoHasher.hash("sha256", contentOf(write));
  keyed.contentHash = digest.subarray(0, contentHashBytes);
  return keyed.contentHash;
}

/** What is known of the key of the write. */
export function keyedOf(write: Write): KeyedCall {
  write.keyed ??= { contentHash: undefined, stored: undefined, askedAt: 0 };
  return write.keyed;
}

/** What tells two calls under one key apart: a line of types and times, or the command, and the encoded data. */
function contentOf(write: Write): Uint8Array {
  const events = write.events ?? [];
  const head =
    write.command === undefined
      ? events.map(({ type, occurredAt }) => [type, occurredAt === undefined ? null : timeOf(occurredAt)])
      : write.command.name;
  const data =
    write.command === undefined ? events.map((event) => event.data) : [write.command.input ?? null];
  const encoded = encodeData(data);
  const line = `${JSON.stringify(head)}\n`;
  if (typeof encoded === "string") return Buffer.from(line + encoded);
  return Buffer.concat([Buffer.from(line), encoded]);
}

function requireKey(key: string): void {
  const bytes = typeof key === "string" && key.isWellFormed() ? Buffer.byteLength(key) : 0;
  if (bytes >= 1 && bytes <= limits.callerKeyBytesMax) return;
  const why = `a caller key is a text of 1 to ${limits.callerKeyBytesMax} UTF-8 bytes`;
  throw new WarpError("INVALID_ARGUMENT", why, { bytes });
}

/**
 * The actors of a shard with results of keyed calls that are not settled, a place for each result, in the order of positions.
 * So what actors keep of them is gone as soon as the disk has it, and takes in proportion to the tail.
 */
export class UnsettledKeys {
  #actors: Actor[] = [];
  #positions: number[] = [];

  note(actor: Actor, position: number): void {
    this.#actors.push(actor);
    this.#positions.push(position);
  }

  /** Lets actors forget the results up to a position. */
  forget(settledPosition: number): void {
    const unsettled = this.#positions.findIndex((position) => position > settledPosition);
    const settled = unsettled < 0 ? this.#positions.length : unsettled;
    if (settled === 0) return;
    for (let i = 0; i < settled; i++) {
      const actor = this.#actors[i];
      if (actor?.keyed !== undefined) forgetSettled(actor, actor.keyed, settledPosition);
    }
    this.#actors = this.#actors.slice(settled);
    this.#positions = this.#positions.slice(settled);
  }
}

function forgetSettled(actor: Actor, keyed: Map<string, KeyedResult>, settledPosition: number): void {
  for (const [key, known] of keyed) {
    if (known.position > settledPosition) return;
    keyed.delete(key);
  }
  actor.keyed = undefined;
}
