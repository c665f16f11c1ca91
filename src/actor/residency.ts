/**
 * Which entities are in memory: finds, loads and, under memory pressure, drops their actors.
 *
 * - There is at most one resident actor of an entity. It is in the table before it is loaded; calls wait in it.
 * - An id that no filter knows is new and needs no read.
 * - Actors that were not used since the sweep last came by are dropped first (clock algorithm). An actor with
 *   anything unsettled, waiting or under way stays.
 */

import { deepFreeze } from "../aggregate/freeze.ts";
import { requireEntityId } from "../core/entity-id.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { EntriesPage } from "../shard/messages.ts";
import { shardOf } from "../shard/placement.ts";
import { Actor, type States } from "./actor.ts";
import type { Folding } from "./folding.ts";
import { estimateBytes } from "./memory-estimate.ts";
import type { Reading } from "./storage/reading.ts";
import type { Recovered } from "./storage/recovered.ts";
import type { ShardState } from "./storage/shard-state.ts";

export interface ResidencyOptions {
  readonly shards: readonly ShardState[];
  readonly folding: Folding;
  readonly reading: Reading;
  readonly recovered: Recovered;
  /** Bytes that actors and states may take, estimated. */
  readonly bytesMax: number;
  /** Deep-freezes the states that are loaded. */
  readonly freeze: boolean;
  /** Called when nothing can be dropped because it is not settled. */
  readonly onPressure: () => void;
}

/** What a load gives. */
interface Folded {
  readonly number: number;
  readonly seq: number;
  readonly states: States;
  readonly snapshotSeq: number;
  /** Where its newest record lies in the tail, if one does. */
  readonly tailRow: number;
  readonly tipPosition: number;
}

/** What a load of what is settled gives, and up to where each state was stored. */
type Settled = Folded & { readonly covered: readonly number[] };

/** What an actor takes beside its id and its states, bytes; measured as resident memory per actor. */
const actorBytes = 336;

export class Residency {
  readonly #options: ResidencyOptions;
  readonly #actors = new Map<string, Actor>();
  /** The same actors for the sweep, in no order. */
  readonly #ring: Actor[] = [];
  #hand = 0;
  /** Of the ring: actors that have left memory since the sweep last came by. */
  #gone = 0;
  #bytes = 0;
  /** Set after a sweep in vain: what it met has to be settled first. */
  #callsToSkip = 0;

  constructor(options: ResidencyOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#actors.size;
  }

  /** Estimate of the bytes that resident actors take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The actor if it is in memory and loaded. */
  peek(id: string): Actor | undefined {
    const actor = this.#actors.get(id);
    return actor?.isLoaded === true ? actor : undefined;
  }

  /** It was erased; it may have begun again. */
  wasErased(id: string): boolean {
    const { shards } = this.#options;
    const erased = shards[shardOf(id, shards.length)]?.erased;
    return erased?.any === true && erased.find(id) !== undefined;
  }

  /** The actor of an entity; it may still be loading. Errors: INVALID_ARGUMENT for what is no id. */
  actor(id: string): Actor {
    const known = this.#actors.get(id);
    if (known !== undefined) {
      known.isRecent = true;
      return known;
    }
    requireEntityId(id);
    const { shards, folding } = this.#options;
    const shard = shards[shardOf(id, shards.length)];
    if (shard === undefined) throw new WarpError("INVALID_ARGUMENT", "the context has no shards");
    if (this.#bytes > this.#options.bytesMax) this.#sweep();
    const actor = new Actor(id, shard, folding.initialStates());
    this.#actors.set(id, actor);
    this.#ring.push(actor);
    this.#account(actor, actorBytes + 2 * id.length);
    if (shard.ids.mayHave(id)) {
      actor.isLoaded = false;
      actor.suspend();
      void this.#load(actor);
    } else if (shard.erased.any) {
      actor.erasedAt = shard.erased.find(id);
    }
    return actor;
  }

  /** Resolves with the loaded actor. */
  ready(id: string): Promise<Actor> {
    return new Promise((resolve, reject) => {
      try {
        const actor = this.actor(id);
        if (actor.isLoaded) {
          resolve(actor);
          return;
        }
        actor.whenReady(() => {
          const failure = actor.loadFailure;
          if (failure === undefined) resolve(actor);
          else reject(failure);
        });
      } catch (thrown) {
        reject(toWarpError(thrown, "INVALID_ARGUMENT"));
      }
    });
  }

  /**
   * The actor, or what an actor says of an entity whose states cannot be folded: number, newest seq, and why. Errors: those of reading;
   * INVALID_ARGUMENT for what is no id.
   */
  async identityOf(id: string): Promise<Actor> {
    requireEntityId(id);
    try {
      return await this.ready(id);
    } catch (thrown) {
      return await this.#unfolded(id, toWarpError(thrown, "IO_ERROR"));
    }
  }

  /**
   * As {@link identityOf}, in memory: the calls of an entity that cannot be folded fail, and load nothing, until it is erased or
   * {@link dropUnfolded}.
   */
  async readyOrUnfolded(id: string): Promise<Actor> {
    for (;;) {
      const actor = await this.identityOf(id);
      if (actor.loadFailure === undefined || actor.isResident) return actor;
      const known = this.#actors.get(id);
      if (known?.loadFailure !== undefined) return known;
      // Somebody else loads it by now.
      if (known !== undefined) continue;
      actor.isResident = true;
      this.#actors.set(id, actor);
      this.#ring.push(actor);
      this.#account(actor, actorBytes + 2 * id.length);
      return actor;
    }
  }

  /** The next call loads it again, if it could not be folded and was not erased. */
  dropUnfolded(actor: Actor): void {
    if (actor.loadFailure === undefined || actor.holds > 0) return;
    this.#leave(actor);
  }

  /** What is erased leaves memory with its id, unless it is in use: the next call finds that it was erased. */
  dropErased(actor: Actor): void {
    const isErased = actor.erasedAt !== undefined && actor.number === 0;
    if (!isErased || actor.holds > 0 || actor.isWaiting || !actor.isSettled) return;
    if (this.#actors.get(actor.id) === actor) this.#leave(actor);
  }

  #leave(actor: Actor): void {
    if (!actor.isResident) return;
    if (this.#actors.get(actor.id) === actor) this.#actors.delete(actor.id);
    actor.isResident = false;
    actor.handle?.letGo();
    this.#account(actor, 0);
    this.#gone++;
    if (this.#gone < goneMin || this.#gone * 2 < this.#ring.length) return;
    let kept = 0;
    for (const one of this.#ring) if (one.isResident) this.#ring[kept++] = one;
    this.#ring.length = kept;
    this.#hand = 0;
    this.#gone = 0;
  }

  /** Errors: `failure` when there is no such entity. */
  async #unfolded(id: string, failure: WarpError): Promise<Actor> {
    const { shards, reading, folding } = this.#options;
    const shard = shards[shardOf(id, shards.length)];
    const found = shard === undefined ? undefined : await reading.load(shard.index, id, []);
    if (shard === undefined || found === undefined) throw failure;
    const actor = new Actor(id, shard, folding.initialStates());
    actor.isResident = false;
    actor.isLoaded = false;
    actor.loadFailure = failure;
    actor.number = found.number;
    actor.tipSeq = found.seq;
    actor.committedSeq = found.seq;
    return actor;
  }

  /** Estimates the states of an actor again, after they may have grown. */
  remeasure(actor: Actor): void {
    if (!actor.isResident) return;
    this.#account(actor, actorBytes + 2 * actor.id.length + estimateBytes(actor.tipStates));
    if (this.#bytes > this.#options.bytesMax) this.#sweep();
  }

  /** All resident actors, loaded or not. */
  all(): IterableIterator<Actor> {
    return this.#actors.values();
  }

  /** The actor if it is in memory, loaded or not. */
  resident(id: string): Actor | undefined {
    return this.#actors.get(id);
  }

  /** Loads actors that are suspended, and settled, once more; then they go on. */
  async refold(actors: Iterable<Actor>): Promise<void> {
    await Promise.all(Array.from(actors, (actor) => this.#load(actor)));
  }

  #account(actor: Actor, bytes: number): void {
    this.#bytes += bytes - actor.memoryBytes;
    actor.memoryBytes = bytes;
  }

  /** Never rejects: whoever waits for the actor hears of a failure. */
  #load(actor: Actor): Promise<void> {
    return this.#read(actor).then(
      () => actor.resume(),
      (thrown) => {
        actor.loadFailure = toWarpError(thrown, "IO_ERROR", { entity: actor.id });
        this.#leave(actor);
        actor.resume();
      },
    );
  }

  /** Loads it, again when a subject was erased meanwhile of whom its events may speak. */
  async #read(actor: Actor): Promise<void> {
    const { shard } = actor;
    for (;;) {
      while (shard.refolding !== undefined) await shard.refolding;
      const { refolds } = shard;
      const found = await this.#fold(actor);
      if (refolds === shard.refolds) {
        if (this.#options.freeze && found !== undefined) deepFreeze(found.states);
        this.#take(actor, found);
        return;
      }
    }
  }

  /** From its shard's file, and from what the journal held and is not settled yet. */
  async #fold(actor: Actor): Promise<Folded | undefined> {
    const { folding, recovered } = this.#options;
    const { shard, id } = actor;
    for (;;) {
      const wasSettled = recovered.isSettled;
      const settled = await this.#foldSettled(actor);
      if (wasSettled) return settled;
      // It was read before all of it was there.
      if (recovered.isSettled) continue;
      const { number = recovered.numberOf(shard, id), seq = 0 } = settled ?? {};
      const behind = typeof number === "number" ? recovered.behind(shard, number, seq) : number;
      if (behind === undefined) return settled;
      if (behind === "changed") {
        await recovered.whenSettled();
        continue;
      }
      const { covered = [], states = folding.initialStates(), snapshotSeq = 0 } = settled ?? {};
      const due = Array.from(folding.snapshotVersions, (_, slot) => Math.max(seq, covered[slot] ?? 0));
      const folded = behind.pages.reduce((before, page) => folding.foldPage(id, page, before, due), states);
      return { ...behind, states: folded, snapshotSeq };
    }
  }

  async #foldSettled(actor: Actor): Promise<Settled | undefined> {
    for (;;) {
      const settled = await this.#foldSettledOnce(actor);
      if (settled !== "dropped") return settled;
    }
  }

  /** Each page is what the file has by then: "dropped" when retention let go of some that was not read yet. */
  async #foldSettledOnce(actor: Actor): Promise<Settled | "dropped" | undefined> {
    const { reading, folding } = this.#options;
    const { shard } = actor;
    const found = await reading.loadSettled(shard.index, actor.id, folding.snapshotVersions);
    if (found === undefined) return undefined;
    if (found.fault !== undefined) throw WarpError.fromWire(found.fault);
    const begun = folding.begin(actor.id, found.snapshots, found.dropped);
    const { covered } = begun;
    let { states } = begun;
    let page: EntriesPage = found.entries;
    for (;;) {
      states = folding.foldPage(actor.id, page, states, covered);
      if (page.next === undefined) break;
      const from = page.next;
      const { number, seq } = found;
      page = await reading.entries({
        shard: shard.index,
        number,
        from,
        to: seq,
        direction: "forward",
        bytesMax: limits.readPageBytes,
      });
      if (page.dropped !== undefined) return "dropped";
    }
    const snapshotSeq = covered.length === 0 ? found.seq : Math.min(...covered);
    return { number: found.number, seq: found.seq, states, covered, snapshotSeq, tailRow: 0, tipPosition: 0 };
  }

  #take(actor: Actor, found: Folded | undefined): void {
    const { shard } = actor;
    actor.isLoaded = true;
    if (found === undefined) {
      if (shard.erased.any) actor.erasedAt = shard.erased.find(actor.id);
      return;
    }
    actor.number = found.number;
    actor.tipSeq = found.seq;
    actor.committedSeq = found.seq;
    actor.tipStates = found.states;
    actor.committedStates = found.states;
    actor.snapshotSeq = found.snapshotSeq;
    if (found.tailRow > 0) {
      actor.tailRow = found.tailRow;
      actor.tipPosition = found.tipPosition;
    }
    this.remeasure(actor);
  }

  /** Drops idle actors until an eighth of the memory is free again, or every actor was looked at. */
  #sweep(): void {
    const target = this.#options.bytesMax * 0.875;
    if (this.#callsToSkip-- > 0) return;
    let looks = Math.min(this.#ring.length, sweepMax);
    let dropped = 0;
    while (looks-- > 0 && this.#bytes > target && this.#ring.length > 0) {
      if (this.#hand >= this.#ring.length) this.#hand = 0;
      const actor = this.#ring[this.#hand];
      if (actor === undefined) break;
      if (actor.isResident && !this.#mayDrop(actor)) {
        this.#hand++;
        continue;
      }
      this.#drop(actor);
      dropped++;
    }
    if (dropped > 0) return;
    this.#callsToSkip = 64;
    this.#options.onPressure();
  }

  #mayDrop(actor: Actor): boolean {
    if (actor.holds > 0) return false;
    if (actor.isRecent) {
      actor.isRecent = false;
      return false;
    }
    return !actor.isWaiting && actor.committedSeq === actor.tipSeq && actor.isSettled;
  }

  #drop(actor: Actor): void {
    const last = this.#ring.pop();
    if (last !== undefined && last !== actor) this.#ring[this.#hand] = last;
    if (!actor.isResident) {
      this.#gone--;
      return;
    }
    if (this.#actors.get(actor.id) === actor) this.#actors.delete(actor.id);
    actor.isResident = false;
    actor.handle?.letGo();
    this.#account(actor, 0);
  }
}

/** Actors that one sweep looks at, so that it takes well under a millisecond. */
const sweepMax = 512;
/** So many, and half of all, leave the ring together. */
const goneMin = 1024;
