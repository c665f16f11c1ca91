/**
 * Erasing entities, many at once (docs/decisions/0007-erasure.md has the steps).
 *
 * - The fence and the journal are done batch by batch: what arrives meanwhile is the next batch. Rows and names of all
 *   that is fenced are tidied by one loop beside it, in slices, so that a large entity holds nobody up.
 * - A receipt says `erased` only when the key is zeros on the disk, the rows are gone, no journal segment with a key holds
 *   a record of the entity, every follower has passed, and the id is out of names.db and its WAL.
 * - What a process leaves unfinished, the next one finishes: the shard writers know it (`erasures.state`).
 */
import type { Engine } from "../actor/engine.ts";
import type { BackupTargetKnown, DeleteOptions, Receipt } from "../actor/privacy.ts";
import type { Residency } from "../actor/residency.ts";
import { stepDone } from "../core/erasure-steps.ts";
import { WarpError } from "../core/errors.ts";
import type { Holding } from "./holding.ts";
import { Tidying, type TidyingParts, UnderWay } from "./tidying.ts";

export interface ErasuresParts extends TidyingParts {
  readonly engine: Engine;
  readonly residency: Residency;
  readonly holding: Holding;
  readonly journal: { advance(): Promise<number>; retired(): Promise<void> };
  /** Retires all journal segments of which everything is in main database files. */
  readonly retireSegments: () => void;
  readonly backupTargets: () => readonly BackupTargetKnown[];
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

/** Entities that are fenced together at most. */
const batchMax = 1024;

interface Request {
  readonly id: string;
  readonly options: DeleteOptions;
  readonly reference: { readonly reason: string; readonly by: string };
  readonly fenced: PromiseWithResolvers<UnderWay>;
}

interface Begun {
  readonly fenced: Promise<UnderWay>;
  /** The entity is gone; what has its id now is another one. */
  isFenced: boolean;
}

export class Erasures {
  readonly #parts: ErasuresParts;
  readonly #tidying: Tidying;
  #queue: Request[] = [];
  #loop: Promise<void> | undefined;
  #resumed: Promise<void> | undefined;
  readonly #closed = Promise.withResolvers<void>();
  /** Erasures of this process that are not complete, by id: a second call gets the same receipt. */
  readonly #underWay = new Map<string, Begun>();

  constructor(parts: ErasuresParts) {
    this.#parts = parts;
    this.#tidying = new Tidying(parts);
  }

  /** Finishes what earlier lives left, once the keys of their journal segments are zeros on the disk. */
  resume(): void {
    this.#resumed = this.#parts.journal.retired().then(() => this.#tidying.wake());
  }

  /** Erases an entity. */
  async delete(id: string, options: DeleteOptions, reference: Request["reference"]): Promise<Receipt> {
    const known = this.#underWay.get(id);
    const beganAgain = known?.isFenced === true && (this.#parts.residency.peek(id)?.number ?? 0) > 0;
    const erasing =
      known !== undefined && !beganAgain
        ? known.fenced
        : this.#enqueue({ id, options, reference, fenced: Promise.withResolvers() });
    const { failed } = this.#parts;
    const underWay = await Promise.race([erasing, failed]);
    if (underWay instanceof WarpError) throw afterFailure(underWay);
    const complete = Promise.race([underWay.complete, this.#closed.promise]);
    await within(complete, options.waitMs ?? 30_000, failed);
    const receipt = receiptOf(id, underWay, this.#parts.backupTargets());
    if (receipt.status === "erased") stepDone("receipt", receipt.shard);
    return receipt;
  }

  /** Resolves when every erasure is complete and every follower has passed it. */
  async whenTidy(): Promise<void> {
    await this.#resumed;
    await this.#loop;
    await this.#tidying.whenIdle();
  }

  /** The context is about to close: what is not complete is answered as pending, and goes on at the next start. */
  close(): void {
    this.#closed.resolve();
    this.#tidying.close();
    const closed = new WarpError("CLOSED", "this context is closed");
    for (const { fenced } of this.#queue.splice(0)) fenced.reject(closed);
  }

  #enqueue(request: Request): Promise<UnderWay> {
    const { id, fenced } = request;
    const begun: Begun = { fenced: fenced.promise, isFenced: false };
    this.#underWay.set(id, begun);
    const forget = () => {
      if (this.#underWay.get(id) === begun) this.#underWay.delete(id);
    };
    fenced.promise.then((underWay) => {
      begun.isFenced = true;
      return underWay.complete.then(forget);
    }, forget);
    this.#queue.push(request);
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
    });
    return fenced.promise;
  }

  async #run(): Promise<void> {
    // What is asked for in one turn of the program is done together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchMax);
      const fenced = await Promise.all(batch.map((request) => this.#fence(request)));
      const begun = fenced.filter((underWay): underWay is UnderWay => (underWay?.erased.number ?? 0) > 0);
      if (begun.length === 0) continue;
      await this.#emptyJournal();
      this.#forgetKeys(begun);
      this.#tidying.wake();
      for (const underWay of begun) {
        underWay.isOutOfJournal = true;
        underWay.check();
      }
    }
  }

  /** Journals the erasure; undefined when it was refused. */
  async #fence(request: Request): Promise<UnderWay | undefined> {
    const { engine, residency } = this.#parts;
    try {
      this.#parts.holding.requireNotBeingSet(request.id);
      const actor = residency.actor(request.id);
      const draft = { id: request.id, events: 0, erasedAt: 0, ...request.reference };
      const erased = await engine.erase(actor, draft);
      if (erased.number > 0) stepDone("recorded", actor.shard.index);
      const underWay = new UnderWay(actor, erased);
      residency.remeasure(actor);
      if (erased.number > 0) this.#tidying.add(underWay);
      request.fenced.resolve(underWay);
      return underWay;
    } catch (thrown) {
      request.fenced.reject(thrown);
      return undefined;
    }
  }

  /** Gets everything that was journalled until now out of the journal: settled, checkpointed, and the keys destroyed. */
  async #emptyJournal(): Promise<void> {
    const { journal, settlings, retireSegments } = this.#parts;
    const use = await journal.advance();
    await Promise.all(settlings.map((settling) => settling.whenPast(use)));
    stepDone("checkpointed");
    retireSegments();
    await journal.retired();
    stepDone("retired");
  }

  /** The reader may have unwrapped keys that are destroyed by now. */
  #forgetKeys(begun: readonly UnderWay[]): void {
    for (const [shard, underWay] of Map.groupBy(begun, ({ actor }) => actor.shard.index))
      this.#parts.reading.forget(
        shard,
        underWay.map(({ erased }) => erased.number),
      );
  }
}

function receiptOf(
  entity: string,
  { actor, erased, swept, pending }: UnderWay,
  targets: readonly BackupTargetKnown[],
): Receipt {
  const { events, erasedAt, number } = erased;
  const status = number === 0 ? "nothing" : pending.length > 0 ? "pending" : "erased";
  const { runs = 0, snapshots = 0, callerKeys = 0, entry = 0 } = swept ?? {};
  const fingerprint = Buffer.from(swept?.fingerprint ?? new Uint8Array(16)).toString("hex");
  const removed = { events, runs, snapshots, callerKeys };
  const backups = status === "nothing" ? [] : targets;
  const { index: shard } = actor.shard;
  return { status, entity, shard, entry, erasedAt, fingerprint, removed, pending, backups };
}

/** Waits for `work`, but not longer than `ms`. Errors: the one that failed the engine. */
async function within(work: Promise<void>, ms: number, failed: Promise<WarpError>): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  const failure = await Promise.race([work, late, failed]);
  clearTimeout(timer);
  if (failure instanceof WarpError) throw afterFailure(failure);
}

/** An erasure whose record is on the disk goes on at the next start. */
function afterFailure(failure: WarpError): WarpError {
  const why = `the engine failed; an erasure that was recorded goes on at the next start (${failure.message})`;
  return new WarpError("OUTCOME_UNKNOWN", why, { cause: failure.toWire() });
}
