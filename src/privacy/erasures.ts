/**
 * Erasing entities, many at once (docs/decisions/0007-erasure.md has the steps).
 *
 * - The fence is done batch by batch: what arrives meanwhile is the next batch. All that is fenced while the journal is emptied
 *   goes together the next time, so that many erasures take few segments of it.
 * - Rows and names are tidied by one loop beside that, in slices, so that a large entity holds nobody up.
 * - A receipt says `erased` only when the key is zeros on the disk, the rows are gone, no journal segment with a key holds
 *   a record of the entity, every follower has passed, and the id is out of names.db and its WAL.
 * - What a process leaves unfinished, the next one finishes: the shard writers know it (`erasures.state`).
 */
import type { Actor } from "../actor/actor.ts";
import type { BackupTargetKnown, DeleteOptions, Receipt } from "../actor/privacy.ts";
import { stepDone } from "../core/erasure-steps.ts";
import { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { raceLasting } from "../core/race-lasting.ts";
import { Deletion } from "./deletion.ts";
import type { Holding } from "./holding.ts";
import { engineFailed, type HostsParts, Refolding, type Spoken, spokenOf } from "./hosts.ts";
import { Tidying, type TidyingParts, UnderWay } from "./tidying.ts";

export interface ErasuresParts extends TidyingParts, HostsParts {
  readonly reading: HostsParts["reading"];
  readonly settlings: HostsParts["settlings"];
  readonly holding: Holding;
  readonly journal: { advance(): Promise<number>; retired(): Promise<void> };
  /** Retires all journal segments of which everything is in main database files. */
  readonly retireSegments: () => void;
  /** Of these numbers of a shard nothing that was read before is handed out any more. */
  readonly withdraw: (shard: number, numbers: readonly number[]) => void;
  readonly backupTargets: () => readonly BackupTargetKnown[];
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

/** Entities that are fenced together at most. */
const batchMax = 4096;

interface Request {
  readonly id: string;
  readonly options: DeleteOptions;
  readonly reference: { readonly reason: string; readonly by: string };
  readonly fenced: PromiseWithResolvers<Deletion>;
}

interface Begun {
  readonly fenced: Promise<Deletion>;
  /** The entity is gone; what has its id now is another one. */
  isFenced: boolean;
}

export class Erasures {
  readonly #parts: ErasuresParts;
  readonly #tidying: Tidying;
  #queue: Request[] = [];
  #fencing: Promise<void> | undefined;
  /** Fenced, and in the journal. */
  #fenced: UnderWay[] = [];
  #emptying: Promise<void> | undefined;
  #resumed: Promise<void> | undefined;
  #hasResumed = false;
  readonly #closed = Promise.withResolvers<void>();
  /** Erasures of this process that are not complete, by id: a second call gets the same receipt. */
  readonly #underWay = new Map<string, Begun>();

  constructor(parts: ErasuresParts) {
    this.#parts = parts;
    this.#tidying = new Tidying(parts);
  }

  /** Finishes what earlier lives left, once the keys of their journal segments are zeros on the disk. */
  resume(): void {
    this.#resumed = this.#clearJournal(0).then(() => {
      this.#hasResumed = true;
      this.#tidying.wake();
    });
  }

  /** Whether, within so many ms, no segment of an earlier life can be read, which may hold records of what is erased. */
  async whetherResumed(ms: number): Promise<boolean> {
    if (!this.#hasResumed) {
      const resumed = raceLasting(Promise.resolve(this.#resumed), this.#closed.promise);
      await within(resumed, ms, this.#parts.failed);
    }
    return this.#hasResumed;
  }

  /** Erases an entity. */
  async delete(id: string, options: DeleteOptions, reference: Request["reference"]): Promise<Receipt> {
    let known = this.#underWay.get(id);
    if (known?.isFenced === true) {
      // The id may have begun again behind it.
      const { number } = await this.#parts.residency.identityOf(id);
      const now = this.#underWay.get(id);
      known = now === known && number > 0 ? undefined : now;
    }
    const erasing =
      known?.fenced ?? this.#enqueue({ id, options, reference, fenced: Promise.withResolvers() });
    const { failed } = this.#parts;
    const underWay = await raceLasting(erasing, failed);
    if (underWay instanceof WarpError) throw afterFailure(underWay);
    const complete = raceLasting(underWay.complete, this.#closed.promise);
    await within(complete, options.waitMs ?? limits.receiptMs, failed);
    const receipt = underWay.receipt(id, this.#parts.backupTargets());
    if (receipt.status === "erased") stepDone("receipt", receipt.shard);
    return receipt;
  }

  /** Resolves when every erasure is complete and every follower has passed it. Errors: CLOSED, ENGINE_FAILED. */
  async whenTidy(): Promise<void> {
    const { failed } = this.#parts;
    const begun = async () => {
      await this.#resumed;
      await this.#fencing;
      await this.#emptying;
      return true;
    };
    const end = await raceLasting(raceLasting(begun(), this.#closed.promise), failed);
    if (end instanceof WarpError) throw engineFailed(end);
    if (end !== true) throw new WarpError("CLOSED", "this context is closed");
    const failure = await raceLasting(this.#tidying.whenIdle(), failed);
    if (failure instanceof WarpError) throw engineFailed(failure);
  }

  /** The context is about to close: what is not complete is answered as pending, and goes on at the next start. */
  close(): void {
    this.#closed.resolve();
    this.#tidying.close();
    const closed = new WarpError("CLOSED", "this context is closed");
    for (const { fenced } of this.#queue.splice(0)) fenced.reject(closed);
  }

  #enqueue(request: Request): Promise<Deletion> {
    const { id, fenced } = request;
    const begun: Begun = { fenced: fenced.promise, isFenced: false };
    this.#underWay.set(id, begun);
    const forget = () => {
      if (this.#underWay.get(id) === begun) this.#underWay.delete(id);
    };
    fenced.promise.then((underWay) => {
      begun.isFenced = true;
      return underWay.complete.then(() => {
        forget();
        for (const { actor } of underWay.all) this.#parts.residency.dropErased(actor);
      });
    }, forget);
    this.#queue.push(request);
    this.#fencing ??= this.#fenceQueued().finally(() => {
      this.#fencing = undefined;
    });
    return fenced.promise;
  }

  async #fenceQueued(): Promise<void> {
    // What is asked for in one turn of the program is done together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchMax);
      for (const { id, fenced } of batch) this.#parts.subjects.fence(id, fenced.promise);
      const spoken = await Promise.all(batch.map((request) => this.#spokenOf(request)));
      const alone = batch.filter((_, i) => spoken[i]?.length === 0);
      const others = batch.flatMap((request, i) => {
        const of = spoken[i] ?? [];
        return of.length === 0 ? [] : [{ request, spoken: of }];
      });
      const fenced = await Promise.all([
        ...alone.map((request) => this.#fenceAlone(request)),
        this.#fenceSubjects(others),
      ]);
      const begun = fenced.flat().filter(({ erased }) => erased.number > 0);
      if (begun.length === 0) continue;
      this.#fenced.push(...begun);
      this.#emptying ??= this.#emptyJournal().finally(() => {
        this.#emptying = undefined;
      });
    }
  }

  #letGo(actor: Actor | undefined): void {
    if (actor === undefined) return;
    actor.holds--;
    this.#parts.residency.dropUnfolded(actor);
  }

  /** Where what is to be erased is spoken of; undefined when that could not be found out, and the request was refused. */
  async #spokenOf({ id, fenced }: Request): Promise<Spoken[] | undefined> {
    try {
      return await spokenOf(this.#parts, id);
    } catch (thrown) {
      fenced.reject(thrown);
      return undefined;
    }
  }

  async #fenceAlone(request: Request): Promise<UnderWay[]> {
    const actor = await this.#keep(request);
    const begun = await this.#fence(request, [], actor);
    this.#letGo(actor);
    return begun;
  }

  /** As {@link #fence}, for subjects: their hosts stand still until the erasures are settled. */
  async #fenceSubjects(
    subjects: readonly { readonly request: Request; readonly spoken: readonly Spoken[] }[],
  ): Promise<UnderWay[]> {
    if (subjects.length === 0) return [];
    const numbers = subjects.flatMap(({ spoken }) => spoken.map(({ actor }) => actor));
    const refolding = new Refolding(this.#parts, numbers);
    let begun: UnderWay[] = [];
    // A load that begins within the refolding ends behind it: who is erased has to be in memory before, and to stay there.
    const actors = await Promise.all(subjects.map(({ request }) => this.#keep(request)));
    try {
      await refolding.begin(new Set(subjects.map(({ request }) => request.id)));
      const fenced = await Promise.all(
        subjects.map(({ request, spoken }, i) => this.#fence(request, spoken, actors[i])),
      );
      begun = fenced.flat();
      const refused = subjects.filter((_, i) => fenced[i]?.length === 0).map(({ request }) => request.id);
      const work =
        begun.length === 0 ? undefined : refolding.end().then(() => refolding.refoldRefused(refused));
      const failure = work && (await raceLasting(work, this.#parts.failed));
      // Refused, or failed: nothing will be settled.
      if (work === undefined || failure instanceof WarpError) refolding.release();
    } catch (thrown) {
      for (const { request } of subjects) request.fenced.reject(thrown);
      refolding.release();
    } finally {
      for (const actor of actors) this.#letGo(actor);
    }
    return begun;
  }

  /** Her actor, loaded, which stays in memory until {@link #letGo}; undefined when the request was refused. */
  async #keep({ id, fenced }: Request): Promise<Actor | undefined> {
    try {
      for (;;) {
        const actor = await this.#parts.residency.readyOrUnfolded(id);
        if (!actor.isResident) continue;
        actor.holds++;
        return actor;
      }
    } catch (thrown) {
      fenced.reject(thrown);
      return undefined;
    }
  }

  /** Journals the erasure; nothing is under way when it was, or is, refused. */
  async #fence(request: Request, spoken: readonly Spoken[], actor: Actor | undefined): Promise<UnderWay[]> {
    const { engine, residency, holding } = this.#parts;
    if (actor === undefined) return [];
    try {
      const { reference } = request;
      const requireErasable = () => holding.requireNotBeingSet(request.id);
      const subjects = spoken.length === 0 ? [] : await this.#withHome(actor, spoken);
      const erasing = subjects.map((one) => ({
        actor: one.actor,
        events: one.parts,
        isMade: true,
        ...reference,
      }));
      const [erased, ...others] = await engine.erase([{ actor, ...reference, requireErasable }, ...erasing]);
      if (erased === undefined) return [];
      for (const { number, shard } of [erased, ...others].map((one, i) => {
        return { number: one.number, shard: (subjects[i - 1]?.actor ?? actor).shard.index };
      }))
        if (number > 0) stepDone("recorded", shard);
      const personal = subjects.map(({ actor, hosts }, i) => {
        const { number, position, events, erasedAt } = others[i] ?? erased;
        return { underWay: new UnderWay(actor, { number, position, events, erasedAt }), hosts };
      });
      const deletion = new Deletion(new UnderWay(actor, erased), personal);
      residency.remeasure(actor);
      for (const underWay of deletion.all) if (underWay.erased.number > 0) this.#tidying.add(underWay);
      request.fenced.resolve(deletion);
      return deletion.all;
    } catch (thrown) {
      request.fenced.reject(thrown);
      return [];
    }
  }

  /**
   * Followers hear of an id's erasure in its own shard, in order with what else becomes of it there: who is no entity is
   * erased there as a subject, be she spoken of in it or not.
   */
  async #withHome(entity: Actor, spoken: readonly Spoken[]): Promise<readonly Spoken[]> {
    const { shard, number, id } = entity;
    if (number > 0 || spoken.some(({ actor }) => actor.shard === shard)) return spoken;
    return [...spoken, { actor: await this.#parts.subjects.ready(shard, id), parts: 0, hosts: 0 }];
  }

  /** Gets all that is fenced out of the journal: settled, checkpointed, and the keys of its segments destroyed. */
  async #emptyJournal(): Promise<void> {
    while (this.#fenced.length > 0) {
      const begun = this.#fenced.splice(0);
      await this.#clearJournal(await this.#parts.journal.advance());
      stepDone("retired");
      this.#forgetKeys(begun);
      this.#tidying.wake();
      for (const underWay of begun) {
        underWay.isOutOfJournal = true;
        underWay.check();
      }
    }
  }

  /** Gets what was journalled up to a use out of the journal; up to 0: what earlier lives left. */
  async #clearJournal(use: number): Promise<void> {
    const { journal, settlings, retireSegments } = this.#parts;
    await Promise.all(settlings.map((settling) => settling.whenPast(use)));
    if (use > 0) stepDone("checkpointed");
    retireSegments();
    await journal.retired();
  }

  /** The reader may have unwrapped keys that are destroyed by now, and followers pages that were read with them. */
  #forgetKeys(begun: readonly UnderWay[]): void {
    for (const [shard, underWay] of Map.groupBy(begun, ({ actor }) => actor.shard.index)) {
      const numbers = underWay.map(({ erased }) => erased.number);
      this.#parts.reading.forget(shard, numbers);
      this.#parts.withdraw(shard, numbers);
    }
  }
}

/** Waits for `work`, but not longer than `ms`. Errors: the one that failed the engine. */
async function within(work: Promise<unknown>, ms: number, failed: Promise<WarpError>): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  const failure = await raceLasting(Promise.race([work, late]), failed);
  clearTimeout(timer);
  if (failure instanceof WarpError) throw afterFailure(failure);
}

/** An erasure whose record is on the disk goes on at the next start. */
function afterFailure(failure: WarpError): WarpError {
  const why = `the engine failed; an erasure that was recorded goes on at the next start (${failure.message})`;
  return new WarpError("OUTCOME_UNKNOWN", why, { cause: failure.toWire() });
}
