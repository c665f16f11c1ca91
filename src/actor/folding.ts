/**
 * The fold plan as actors use it: states of an entity as one value, their snapshots, and which state is meant.
 *
 * - With one aggregate the states are its state itself, with more an array in the order of the plan. An append touches
 *   few other objects that are cold in the processor's caches, so two less are seen (measured: 15 % of an append).
 * - In log mode there is nothing to fold: the plan is empty and so are the states.
 * - A snapshot is a state that event data could hold, at most 1 MiB encoded. An aggregate whose states cannot be
 *   stored is folded from its events every time; that is logged once.
 */
import { decode } from "@msgpack/msgpack";
import type { Aggregate, FoldEvent } from "../aggregate/aggregate.ts";
import type { Command, FoldPlan } from "../aggregate/fold.ts";
import { encodeData } from "../aggregate/json-data.ts";
import { aboutDropped, type Dropped } from "../core/dropped.ts";
import { bytesOf, entryCount, entryLength, readEntry } from "../core/entry.ts";
import { WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import type { Logger } from "../core/logger.ts";
import type { EntriesPage, StoredState } from "../shard/messages.ts";
import type { States } from "./actor.ts";

export interface StateDraft {
  readonly aggregate: string;
  readonly version: number;
  readonly state: Uint8Array;
}

const textTag = 1;
const msgpackTag = 2;

export class Folding {
  readonly plan: FoldPlan;
  /** False in log mode. */
  readonly folds: boolean;
  /** Events between snapshots: the smallest that an aggregate asks for. */
  readonly snapshotEvery: number;
  readonly snapshotVersions: readonly { readonly name: string; readonly version: number }[];
  readonly #isSingle: boolean;
  readonly #logger: Logger;
  readonly #unstorable = new Set<string>();

  constructor(plan: FoldPlan, logger: Logger) {
    this.plan = plan;
    this.#isSingle = plan.aggregates.length === 1;
    this.folds = plan.aggregates.length > 0;
    this.snapshotEvery = Math.min(...plan.aggregates.map((aggregate) => aggregate.snapshotEvery));
    this.snapshotVersions = plan.aggregates.map(({ name, version }) => ({ name, version }));
    this.#logger = logger;
  }

  initialStates(): States {
    const states = this.plan.initialStates();
    return this.#isSingle ? states[0] : states;
  }

  /**
   * Where the folding of a stored entity begins: the states that are stored, and up to which seq each is covered. Errors:
   * EVENTS_DROPPED when an aggregate would have to fold events that were dropped.
   */
  begin(
    entity: string,
    stored: readonly StoredState[],
    dropped: Dropped | undefined,
  ): { states: States; covered: number[] } {
    let states = this.initialStates();
    const covered = new Array<number>(this.snapshotVersions.length).fill(0);
    for (const { aggregate, state, seq } of stored) {
      const slot = this.indexOf(aggregate);
      if (slot === undefined) continue;
      states = this.withState(states, slot, this.decodeState(state));
      covered[slot] = seq;
    }
    if (dropped === undefined) return { states, covered };
    for (const [slot, { name, version }] of this.snapshotVersions.entries()) {
      if ((covered[slot] ?? 0) >= dropped.seq) continue;
      if (this.plan.foldsAny(slot, aboutDropped(dropped).types)) {
        const why = `events 1 to ${dropped.seq} of ${JSON.stringify(entity)} were dropped by retention, and version ${version} of ${name} has to fold them`;
        throw new WarpError("EVENTS_DROPPED", why, {
          entity,
          aggregate: name,
          version,
          droppedTo: dropped.seq,
        });
      }
      covered[slot] = dropped.seq;
    }
    return { states, covered };
  }

  /** The state of one aggregate. */
  stateOf(states: States, slot: number): unknown {
    return this.#isSingle ? states : (states as readonly unknown[])[slot];
  }

  /** The states with that of one aggregate replaced. */
  withState(states: States, slot: number, state: unknown): States {
    return this.#isSingle ? state : (states as readonly unknown[]).with(slot, state);
  }

  command(name: string): Command | undefined {
    return this.plan.command(name);
  }

  /** Index of an aggregate's state; undefined when this context has no such aggregate. */
  indexOf(aggregate: string): number | undefined {
    return this.plan.indexOf(aggregate);
  }

  versionOf(type: string): number {
    return this.plan.versionOf(type);
  }

  fold(states: States, event: FoldEvent): States {
    if (this.#isSingle) return this.plan.foldOne(0, states, event);
    return this.plan.fold(states as readonly unknown[], event);
  }

  /** The event with its data in the newest form. */
  upcast(event: StoredEvent): StoredEvent {
    return this.plan.upcastEvent(event);
  }

  /** Folds a stored event into the states whose snapshots do not cover it. */
  foldStored(states: States, stored: StoredEvent, covered: readonly number[]): States {
    const event = foldEventOf(this.plan.upcastEvent(stored));
    let folded = states;
    for (let slot = 0; slot < this.plan.aggregates.length; slot++) {
      if (event.seq <= (covered[slot] ?? 0)) continue;
      const before = this.stateOf(folded, slot);
      const after = this.plan.foldOne(slot, before, event);
      if (after !== before) folded = this.withState(folded, slot, after);
    }
    return folded;
  }

  /** Which of the states is meant: an aggregate, its name, or the first. Errors: UNKNOWN_AGGREGATE. */
  slotOf(aggregate: Aggregate | string | undefined): number {
    if (aggregate === undefined && this.folds) return 0;
    const name = typeof aggregate === "object" ? aggregate.name : aggregate;
    const slot = name === undefined ? undefined : this.plan.indexOf(name);
    if (slot !== undefined) return slot;
    const why = this.folds
      ? `this context has no aggregate ${String(name)}`
      : "a context in log mode keeps no states";
    throw new WarpError("UNKNOWN_AGGREGATE", why, { aggregate: name });
  }

  /** Folds a page of stored entries of an entity, each aggregate from behind what its snapshot covers. */
  foldPage(
    entity: string,
    page: Pick<EntriesPage, "firstSeq" | "bytes">,
    states: States,
    covered: readonly number[],
  ): States {
    if (!this.folds) return states;
    const { buffer, byteOffset, length } = page.bytes;
    const bytes = bytesOf(buffer, byteOffset, length);
    let folded = states;
    let seq = page.firstSeq;
    for (let at = 0; at < length; at += entryLength(bytes, at)) {
      for (const event of readEntry(bytes, at, entity, seq)) folded = this.foldStored(folded, event, covered);
      seq += entryCount(bytes, at);
    }
    return folded;
  }

  /** The states as snapshots hold them. */
  encodeStates(states: States): StateDraft[] {
    const drafts: StateDraft[] = [];
    for (const [slot, { name, version }] of this.plan.aggregates.entries()) {
      const state = this.#encode(name, this.stateOf(states, slot));
      if (state !== undefined) drafts.push({ aggregate: name, version, state });
    }
    return drafts;
  }

  decodeState(bytes: Uint8Array): unknown {
    const isText = bytes[0] === textTag;
    // Decoded binaries are views of what is decoded, and of its kind: of a copy, which is no Buffer.
    const values = isText
      ? JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.length - 1).toString("utf8"))
      : decode(new Uint8Array(bytes.subarray(1)), { useBigInt64: true });
    return Array.isArray(values) ? values[0] : undefined;
  }

  #encode(aggregate: string, state: unknown): Uint8Array | undefined {
    try {
      const encoded = encodeData([state]);
      return typeof encoded === "string"
        ? Buffer.concat([Buffer.of(textTag), Buffer.from(encoded)])
        : Buffer.concat([Buffer.of(msgpackTag), encoded]);
    } catch (thrown) {
      if (!this.#unstorable.has(aggregate)) {
        this.#unstorable.add(aggregate);
        const reason = thrown instanceof Error ? thrown.message : String(thrown);
        this.#logger.warn("a state cannot be stored as a snapshot; it is folded from all its events", {
          aggregate,
          reason,
        });
      }
      return undefined;
    }
  }
}

/** A stored event as `evolve` saw it when it was appended. */
function foldEventOf(stored: StoredEvent): FoldEvent {
  const { entity, seq, type, data, recordedAt, occurredAt, personal } = stored;
  let event: FoldEvent = { entity, seq, type, data, recordedAt };
  if (occurredAt !== undefined) event = { ...event, occurredAt };
  return personal === undefined ? event : { ...event, personal };
}
