/**
 * The in-memory owner of one entity.
 *
 * - `tip` is what has been appended, `committed` what is durable. Writes decide on the tip; readers and replies only
 *   ever see the committed side.
 * - Where records of the entity lie in the tail is noted until they are settled, so that history can be read there.
 * - An actor may leave memory only when nothing of it is unsettled, waiting or under way.
 */
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Entity } from "./entity.ts";
import type { ShardState } from "./storage/shard-state.ts";

/** The states of all aggregates, as folding.ts keeps them. */
export type States = unknown;

/** The result of a keyed call that is not settled yet. */
export interface KeyedResult {
  readonly contentHash: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  readonly position: number;
  readonly outcome: string | undefined;
}

/** Bits of {@link Actor}'s marks. */
const mark = { resident: 1, loaded: 2, recent: 4, snapshotDue: 8 } as const;

/**
 * The fields that every append touches come first, so that they share lines of the processor's cache. There are 18: with 19 the
 * runtime gives an object 224 bytes instead of 160.
 */
export class Actor {
  readonly shard: ShardState;
  tipSeq = 0;
  tipStates: States;
  /** 0 until its first record. */
  number = 0;
  /** Its newest row in the index of the shard's tail; 0 when it has none. */
  tailRow = 0;
  /** Position of the newest record of the entity. */
  tipPosition = 0;
  /** What waits for the disk (a load, a look-up of a key); undefined when the actor can work at once. */
  #mailbox: (() => void)[] | undefined;
  #marks: number = mark.resident | mark.loaded | mark.recent;
  /** Seq that the newest snapshot covers. */
  snapshotSeq = 0;
  committedSeq = 0;
  committedStates: States;
  readonly id: string;
  /** Why it could not be loaded; calls that waited for it fail with this, the next call loads again. */
  loadFailure: WarpError | undefined;
  /** Unsettled results by caller key; undefined while there are none. */
  keyed: Map<string, KeyedResult> | undefined;
  /** Calls that come back to it when there is space, or when others are ready; it stays in memory until then. */
  holds = 0;
  /** Estimate, bytes. */
  memoryBytes = 0;
  /** When what had this id was erased: while the actor has no number, nothing but `expect: "none"` is let in. */
  erasedAt: number | undefined;
  /** The handle that connections share, once one has a number for the entity; it lets go when the actor leaves memory. */
  handle: Entity | undefined;
  constructor(id: string, shard: ShardState, states: States) {
    this.id = id;
    this.shard = shard;
    this.tipStates = states;
    this.committedStates = states;
  }

  /** False once it left memory; handles then look the entity up again. */
  get isResident(): boolean {
    return (this.#marks & mark.resident) !== 0;
  }

  set isResident(is: boolean) {
    this.#mark(mark.resident, is);
  }

  /** False until its states are those of the disk. */
  get isLoaded(): boolean {
    return (this.#marks & mark.loaded) !== 0;
  }

  set isLoaded(is: boolean) {
    this.#mark(mark.loaded, is);
  }

  /** Set by every use, cleared by the sweep that looks for idle actors. */
  get isRecent(): boolean {
    return (this.#marks & mark.recent) !== 0;
  }

  set isRecent(is: boolean) {
    this.#mark(mark.recent, is);
  }

  get isSnapshotDue(): boolean {
    return (this.#marks & mark.snapshotDue) !== 0;
  }

  set isSnapshotDue(is: boolean) {
    this.#mark(mark.snapshotDue, is);
  }

  #mark(bit: number, is: boolean): void {
    this.#marks = is ? this.#marks | bit : this.#marks & ~bit;
  }

  get isWaiting(): boolean {
    return this.#mailbox !== undefined;
  }

  /** Makes everything wait until {@link resume}. */
  suspend(): void {
    this.#mailbox ??= [];
  }

  /** Runs `work` now, or in order behind what waits already. Throws OVERLOADED when too much does. */
  whenReady(work: () => void): void {
    if (this.#mailbox === undefined) {
      work();
      return;
    }
    if (this.#mailbox.length >= limits.mailboxMax) {
      throw new WarpError(
        "OVERLOADED",
        `${this.#mailbox.length} calls wait for entity ${JSON.stringify(this.id)}`,
        {
          limit: "mailboxMax",
        },
      );
    }
    this.#mailbox.push(work);
  }

  /** Runs `first`, then what waited, in order, until one of it suspends the actor again. */
  resume(first?: () => void): void {
    const waiting = this.#mailbox ?? [];
    if (first !== undefined) waiting.unshift(first);
    this.#mailbox = undefined;
    for (let i = 0; i < waiting.length; i++) {
      waiting[i]?.();
      if (this.isWaiting) {
        // It may have put something into the mailbox that it made; that comes behind what waits already.
        this.#mailbox = [...waiting.slice(i + 1), ...(this.#mailbox ?? [])];
        return;
      }
    }
  }

  /** What it owned is erased, and that is durable: it is as if it had never been written to, but for `erasedAt`. */
  forget(states: States, erasedAt: number): void {
    this.number = 0;
    this.tipSeq = 0;
    this.committedSeq = 0;
    this.tipStates = states;
    this.committedStates = states;
    this.snapshotSeq = 0;
    this.keyed = undefined;
    this.tailRow = 0;
    this.erasedAt = erasedAt;
    this.isLoaded = true;
    this.loadFailure = undefined;
  }

  /** One that has left memory: who keeps it keeps nothing but the id. */
  shadow(): Actor {
    const shadow = new Actor(this.id, this.shard, undefined);
    shadow.isResident = false;
    return shadow;
  }

  /** True when every record of the entity is in its shard's file. */
  get isSettled(): boolean {
    return this.tipPosition <= this.shard.settledPosition;
  }
}

/**
 * A program's function that appends to the entity it is asked about, instead of returning events, has decided on what is
 * no longer so; two records would carry one seq.
 */
export function requireTip(actor: Actor, tipSeq: number, code: "COMMAND_FAILED" | "EVOLVE_FAILED"): void {
  if (actor.tipSeq === tipSeq) return;
  const entity = JSON.stringify(actor.id);
  throw new WarpError(code, `entity ${entity} was appended to by the function that was run for it`);
}

/** Why a call for an erased entity is refused. */
export function erased({ id, erasedAt = 0 }: Actor): WarpError {
  const time = new Date(erasedAt).toISOString();
  const why = `entity ${JSON.stringify(id)} was erased at ${time}; it begins again with expect "none"`;
  return new WarpError("ERASED", why, { erasedAt });
}

/** Only a call that expects nothing begins an erased entity again; so no late repeat does. */
export function requireNotErased(actor: Actor): void {
  if (actor.erasedAt !== undefined && actor.number === 0) throw erased(actor);
}
