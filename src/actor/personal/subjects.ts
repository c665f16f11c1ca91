/**
 * The subjects of personal parts, as the main thread knows them: in each shard that speaks of her, a subject has a number
 * (docs/decisions/0014-personal-parts.md). Actors stand for these numbers; they have no events and no states.
 *
 * - A subject that is being erased is named by nobody: appends wait until that is durable, and are refused then.
 * - One that was erased is named again, in any shard, only when there is an entity with her id again.
 * - Nobody speaks of one whose key is damaged or gone: it could not be settled. She has her number all the same, for her erasure.
 * - What is settled may be forgotten; the shard's names know it.
 */
import { WarpError } from "../../core/errors.ts";
import { type PersonalDraft, subjectName } from "../../core/personal.ts";
import { shardOf } from "../../shard/placement.ts";
import { Actor } from "../actor.ts";
import type { Residency } from "../residency.ts";
import type { Reading } from "../storage/reading.ts";
import type { ShardState } from "../storage/shard-state.ts";

export interface SubjectsParts {
  readonly shards: readonly ShardState[];
  readonly reading: Pick<Reading, "load">;
  readonly residency: Pick<Residency, "actor" | "ready">;
}

/** What has to be waited for before parts can be appended. */
export interface Missing {
  readonly ready: Promise<unknown>;
  /** False when the host has to go on meanwhile: what is waited for may itself wait for hosts. */
  readonly suspends: boolean;
}

/** Subjects in memory, over all shards, before those that are settled are forgotten; twice what stays then, if that is more. */
const subjectsMax = 65_536;

export class Subjects {
  readonly #parts: SubjectsParts;
  readonly #known: readonly Map<string, Actor>[];
  /** Loads under way, by actor. */
  readonly #loads = new Map<Actor, Promise<void>>();
  readonly #fences = new Map<string, Promise<unknown>>();
  #count = 0;
  #forgetsAt = subjectsMax;

  constructor(parts: SubjectsParts) {
    this.#parts = parts;
    this.#known = parts.shards.map(() => new Map());
  }

  /** The subjects of parts in a shard, each once, or what is missing of them. Errors: ERASED, CORRUPT. */
  find(shard: ShardState, drafts: readonly PersonalDraft[]): readonly Actor[] | Missing {
    this.#makeRoom();
    const found = new Map<string, Actor>();
    for (const { subject } of drafts) {
      if (found.has(subject)) continue;
      const fence = this.#fences.get(subject);
      if (fence !== undefined) return { ready: fence, suspends: false };
      const actor = this.#at(shard, subject);
      const load = this.#loads.get(actor);
      if (load !== undefined) return { ready: load, suspends: true };
      if (actor.loadFailure !== undefined) throw actor.loadFailure;
      if (actor.number === 0) {
        const missing = this.#requireNameable(subject);
        if (missing !== undefined) return { ready: missing, suspends: false };
      }
      found.set(subject, actor);
    }
    return [...found.values()];
  }

  /** Nobody names the subject until `until` has ended. */
  fence(subject: string, until: Promise<unknown>): void {
    const fence = until.then(
      () => {},
      () => {},
    );
    this.#fences.set(subject, fence);
    void fence.then(() => {
      if (this.#fences.get(subject) === fence) this.#fences.delete(subject);
    });
  }

  /** Her numbers, one in each shard that speaks of her. */
  async numbersOf(subject: string): Promise<Actor[]> {
    const name = subjectName(subject);
    const shards = this.#parts.shards.filter(
      (shard) => this.#known[shard.index]?.has(subject) === true || shard.ids.mayHave(name),
    );
    const actors = await Promise.all(shards.map((shard) => this.ready(shard, subject)));
    return actors.filter(({ number }) => number > 0);
  }

  /** Shards whose ledger has her as a subject. */
  erasedIn(subject: string): ShardState[] {
    const name = subjectName(subject);
    return this.#parts.shards.filter(({ erased }) => erased.any && erased.find(name) !== undefined);
  }

  /** What stands for her number in a shard; it may have none. */
  async ready(shard: ShardState, subject: string): Promise<Actor> {
    this.#makeRoom();
    const actor = this.#at(shard, subject);
    await this.#loads.get(actor);
    return actor;
  }

  #at(shard: ShardState, subject: string): Actor {
    const known = this.#known[shard.index]?.get(subject);
    if (known !== undefined) return known;
    const actor = new Actor(subjectName(subject), shard, undefined);
    this.#known[shard.index]?.set(subject, actor);
    this.#count++;
    if (shard.ids.mayHave(actor.id)) this.#load(actor, subject);
    return actor;
  }

  #load(actor: Actor, subject: string): void {
    const { shard } = actor;
    const load = this.#parts.reading.load(shard.index, actor.id, []).then(
      (found) => {
        actor.number = found?.number ?? 0;
        if (found?.fault !== undefined) actor.loadFailure = WarpError.fromWire(found.fault);
        this.#loads.delete(actor);
      },
      (thrown) => {
        // Whoever waits for it fails with this; the next one loads again.
        this.#loads.delete(actor);
        if (this.#known[shard.index]?.delete(subject) === true) this.#count--;
        throw thrown;
      },
    );
    load.catch(() => {});
    this.#loads.set(actor, load);
  }

  /** Waits when it is not known whether there is such an entity again. Errors: ERASED. */
  #requireNameable(subject: string): Promise<unknown> | undefined {
    const { shards, residency } = this.#parts;
    const home = shards[shardOf(subject, shards.length)];
    const wasErased =
      this.erasedIn(subject).length > 0 ||
      (home?.erased.any === true && home.erased.find(subject) !== undefined);
    if (!wasErased) return undefined;
    const actor = residency.actor(subject);
    if (!actor.isLoaded) return residency.ready(subject);
    if (actor.number > 0) return undefined;
    const why = `${JSON.stringify(subject)} was erased; she can be named again once there is an entity with her id`;
    throw new WarpError("ERASED", why, { subject });
  }

  /** Never between two subjects of an append: one that has no number yet, and was forgotten, would be given a second one. */
  #makeRoom(): void {
    if (this.#count < this.#forgetsAt) return;
    this.#forgetSettled();
    this.#forgetsAt = Math.max(subjectsMax, 2 * this.#count);
  }

  #forgetSettled(): void {
    for (const known of this.#known) {
      for (const [subject, actor] of known) {
        const isUsed =
          actor.isWaiting || actor.holds > 0 || this.#fences.has(subject) || this.#loads.has(actor);
        if (isUsed || !actor.isSettled) continue;
        known.delete(subject);
        this.#count--;
      }
    }
  }
}
