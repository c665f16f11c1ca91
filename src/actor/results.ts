/**
 * What a write comes back with. An outcome that a correct program must expect is one of these values; everything
 * else is a WarpError.
 */
import { WarpError } from "../core/errors.ts";
import type { Actor } from "./actor.ts";

/** The events are durable, at these seqs. */
export interface Appended {
  readonly ok: true;
  /** Seq of the last event of this append; the entity's newest when there was nothing to append. */
  readonly seq: number;
  readonly firstSeq: number;
  readonly count: number;
  /** True when an earlier call with the same key or delivery id did this; nothing was appended now. */
  readonly duplicate: boolean;
  readonly shard: number;
  /** Order of the record within its shard; at least that for a duplicate. */
  readonly position: number;
}

/** `expect` did not hold; nothing was appended. `seq` is the entity's newest. */
export interface Conflict {
  readonly ok: false;
  readonly reason: "conflict";
  readonly seq: number;
}

/** A command said no; nothing was appended. */
export interface Rejected {
  readonly ok: false;
  readonly reason: "rejected";
  readonly code: string;
  readonly details: unknown;
  readonly seq: number;
  /** True when an earlier call with the same key was rejected so. */
  readonly duplicate: boolean;
}

export type AppendResult = Appended | Conflict;
export type SendResult = Appended | Conflict | Rejected;

/** What must be true of the entity: nothing, no events yet, some events, or this newest seq. */
export type Expect = "any" | "none" | "exists" | number;

/** The result of an append of `count` events that the actor's tip has taken in. */
export function appended(actor: Actor, count: number, position: number): Appended {
  const seq = actor.tipSeq;
  const shard = actor.shard.index;
  return { ok: true, seq, firstSeq: seq - count + 1, count, duplicate: false, shard, position };
}

/** True when what a write expects is so at the newest seq. Errors: INVALID_ARGUMENT. */
export function meets(expect: Expect, seq: number): boolean {
  if (expect === "any") return true;
  if (expect === "none") return seq === 0;
  if (expect === "exists") return seq > 0;
  if (Number.isSafeInteger(expect) && expect >= 0) return expect === seq;
  throw new WarpError("INVALID_ARGUMENT", `expect is any, none, exists or a seq, not ${String(expect)}`);
}
