/**
 * The hosts of subjects that are erased: their states have folded what they say of her, and are folded again without it.
 *
 * - From before the erasure is recorded until it is settled, hosts in memory are suspended as if they were being loaded, and
 *   loads in their shards wait. So no state, and no record that was decided on one, comes behind the erasure.
 * - Subjects are erased one batch after the other: two batches could each hold hosts that the other waits for.
 */
import type { Actor } from "../actor/actor.ts";
import type { Engine } from "../actor/engine.ts";
import type { Subjects } from "../actor/personal/subjects.ts";
import type { Residency } from "../actor/residency.ts";
import type { Reading } from "../actor/storage/reading.ts";
import type { Settling } from "../actor/storage/settling.ts";
import type { ShardState } from "../actor/storage/shard-state.ts";
import { WarpError } from "../core/errors.ts";
import { raceLasting } from "../core/race-lasting.ts";

export interface HostsParts {
  readonly engine: Engine;
  readonly subjects: Subjects;
  readonly residency: Residency;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
}

/** A subject's number in a shard, and how much there speaks of her. */
export interface Spoken {
  readonly actor: Actor;
  readonly parts: number;
  readonly hosts: number;
}

const hostsAtOnce = 1000;

/** Where a subject is spoken of; all of that is settled. */
export async function spokenOf(parts: HostsParts, subject: string): Promise<Spoken[]> {
  const actors = await parts.subjects.numbersOf(subject);
  await Promise.all(actors.map((actor) => parts.engine.whenDurable(actor)));
  await whenSettled(
    parts,
    actors.filter((actor) => !actor.isSettled),
  );
  return await Promise.all(
    actors.map(async (actor) => {
      const { parts: count, hosts } = await parts.reading.subject(actor.shard.index, actor.number);
      return { actor, parts: count, hosts };
    }),
  );
}

/** As {@link spokenOf}. Errors: ENGINE_FAILED: nothing is settled any more. */
export async function spokenOfUnlessFailed(
  parts: HostsParts & { readonly failed: Promise<WarpError> },
  subject: string,
): Promise<Spoken[]> {
  const spoken = await raceLasting(spokenOf(parts, subject), parts.failed);
  if (!(spoken instanceof WarpError)) return spoken;
  throw engineFailed(spoken);
}

export function engineFailed({ message }: WarpError): WarpError {
  return new WarpError("ENGINE_FAILED", `the engine has failed: ${message}`);
}

/** Resolves when everything durable in the shards of these is settled. */
async function whenSettled({ settlings }: HostsParts, actors: readonly Actor[]): Promise<void> {
  const writers = new Set(actors.map(({ shard }) => shard.writer));
  await Promise.all([...writers].map((writer) => settlings[writer]?.whenCaughtUp()));
}

export class Refolding {
  readonly #parts: HostsParts;
  readonly #subjects: readonly Actor[];
  /** Their numbers, which are gone once they are erased. */
  readonly #numbers: ReadonlyMap<ShardState, readonly number[]>;
  readonly #suspended = new Set<Actor>();
  readonly #ends: (() => void)[] = [];

  constructor(parts: HostsParts, subjects: readonly Actor[]) {
    this.#parts = parts;
    this.#subjects = subjects;
    const byShard = Map.groupBy(subjects, ({ shard }) => shard);
    this.#numbers = new Map(
      [...byShard].map(([shard, actors]) => [shard, actors.map(({ number }) => number)]),
    );
  }

  /** Suspends the hosts that are in memory, but for those that are erased themselves. Errors: OVERLOADED. */
  async begin(erased: ReadonlySet<string>): Promise<void> {
    for (const shard of this.#numbers.keys()) this.#ends.push(shard.beginRefolding());
    const shards = [...this.#numbers].map(([shard, numbers]) => this.#beginIn(shard, numbers, erased));
    // Also when it fails in one of them: nobody would let go of a host that is suspended behind that.
    const ends = await Promise.allSettled(shards);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #beginIn(
    { index }: ShardState,
    numbers: readonly number[],
    erased: ReadonlySet<string>,
  ): Promise<void> {
    for (const number of numbers) {
      for (let after: number | undefined = 0; after !== undefined; ) {
        const page = await this.#parts.reading.hosts(index, number, after, hostsAtOnce);
        for (const id of page.ids) if (!erased.has(id)) await this.#suspend(id);
        after = page.next;
      }
    }
  }

  /** The erasures are durable: when they are settled, the hosts are loaded again and go on. */
  async end(): Promise<void> {
    await whenSettled(this.#parts, this.#subjects);
    for (const [{ index }, numbers] of this.#numbers) this.#parts.reading.forget(index, numbers);
    for (const end of this.#ends.splice(0)) end();
    await this.#refold();
  }

  /** These were to be erased with the others, and were refused: they are folded again as well. */
  async refoldRefused(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#suspend(id);
    const actors = [...this.#suspended];
    await Promise.all(actors.map((actor) => this.#parts.engine.whenDurable(actor)));
    await whenSettled(this.#parts, actors);
    await this.#refold();
  }

  async #refold(): Promise<void> {
    const hosts = [...this.#suspended];
    this.#suspended.clear();
    await this.#parts.residency.refold(hosts);
  }

  /** Nothing was erased, or the engine failed: the hosts go on as they are. What they have recorded may not be settled. */
  release(): void {
    for (const end of this.#ends.splice(0)) end();
    for (const actor of this.#suspended) {
      actor.isLoaded = true;
      actor.resume();
    }
    this.#suspended.clear();
  }

  /** Suspends it once nothing else does. One that is being loaded waits already, and for the end of this. */
  async #suspend(id: string): Promise<void> {
    const actor = this.#parts.residency.resident(id);
    if (actor?.isLoaded !== true || this.#suspended.has(actor)) return;
    await new Promise<void>((resolve) => {
      actor.whenReady(() => {
        resolve();
        if (!actor.isResident || actor.number === 0 || !actor.isLoaded) return;
        actor.suspend();
        actor.isLoaded = false;
        this.#suspended.add(actor);
      });
    });
  }
}
