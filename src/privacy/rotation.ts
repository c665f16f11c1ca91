/**
 * Rotating the period keys of an open context, beside its callers (docs/decisions/0015-rotation.md).
 *
 *   new period, durable → every vault wrapped by it, in pieces → journal without the older ones → they are destroyed
 *
 * - All threads see the new period at once: what is new is wrapped by it from then on, and the older ones still open.
 * - Interrupted anywhere, every start opens what is there; the next rotation goes on. Nothing is ever under no key.
 * - No backup is made meanwhile: one under two periods would need both.
 */
import { join } from "node:path";
import type { Settling } from "../actor/storage/settling.ts";
import { WarpError } from "../core/errors.ts";
import {
  addPeriod,
  dropOldPeriods,
  type RootKeySource,
  readKeyring,
  readRootKeyAside,
} from "../core/keyring.ts";
import type { Logger } from "../core/logger.ts";
import { PeriodKeys } from "../core/period-keys.ts";
import type { PeriodStatus, RotationReport } from "../core/period-status.ts";
import { rotationStepDone } from "../core/rotation-steps.ts";
import type { Journal } from "../journal/journal.ts";
import { slotBytes } from "../shard/files/vault.ts";
import { vaultHeaderBytes } from "../shard/files/vault-header.ts";
import { shardDirectory } from "../shard/shard.ts";

export interface RotationParts {
  readonly dataDir: string;
  readonly context: string;
  readonly shards: number;
  readonly rootKey: RootKeySource | undefined;
  /** The period keys that all threads share. */
  readonly periods: SharedArrayBuffer;
  readonly settlings: readonly Settling[];
  readonly journal: Pick<Journal<never>, "advance" | "retired">;
  readonly retireSegments: () => void;
  /** Does something while no backup is made. */
  readonly apart: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
  readonly logger: Logger;
}

/** Slots that are looked at together when keys are counted. */
const countedSlots = 16_384;
/** What takes so long waits for another process. */
const longMs = 30_000;
/** What only waits for the disk is done by then, when the context closes. */
const graceMs = 2000;

export class Rotation {
  readonly #parts: RotationParts;
  readonly #periods: PeriodKeys;
  /** A rotation of this process has begun and was not finished: the next one adds no period of its own. */
  #hasBegun = false;
  #isClosing = false;
  readonly #closing = Promise.withResolvers<WarpError>();

  constructor(parts: RotationParts) {
    this.#parts = parts;
    this.#periods = new PeriodKeys(parts.periods);
  }

  /** Errors: ROOT_KEY_MISSING, ROOT_KEY_WRONG, CORRUPT, IO_ERROR, DISK_FULL, ENGINE_FAILED, CLOSED. */
  run(): Promise<RotationReport> {
    return this.#parts.apart(async () => {
      const { failed } = this.#parts;
      const before = await Promise.race([failed, undefined]);
      const end = before ?? (await Promise.race([this.#run(), failed]));
      if (end instanceof WarpError) throw end;
      return end;
    });
  }

  async #run(): Promise<RotationReport> {
    const startedAt = Date.now();
    if (this.#isClosing) throw closed();
    const { dataDir, shards, settlings, journal, retireSegments } = this.#parts;
    if (!this.#hasBegun) {
      const root = await readRootKeyAside(this.#parts);
      this.#periods.add(addPeriod(this.#parts, root));
      this.#hasBegun = true;
    }
    rotationStepDone("added");
    let keys = 0;
    for (let shard = 0; shard < shards; shard++) {
      keys += (await settlings.find((settling) => settling.owns(shard))?.rewrap(shard)) ?? 0;
      rotationStepDone("shard");
    }
    // The segment that this begins stands under the new period, and those before go.
    const use = await this.#untilClosed(journal.advance());
    await this.#untilClosed(Promise.all(settlings.map((settling) => settling.whenPast(use))));
    retireSegments();
    await this.#untilClosed(journal.retired());
    rotationStepDone("retired");
    dropOldPeriods(dataDir);
    this.#periods.dropOld();
    this.#hasBegun = false;
    rotationStepDone("dropped");
    return { period: this.#periods.current.period, keys, elapsedMs: Date.now() - startedAt };
  }

  /** One that waits for the journal or for checkpoints, which another process may hold up, is left to the next. */
  close(): void {
    this.#isClosing = true;
    setTimeout(() => this.#closing.resolve(closed()), graceMs).unref();
  }

  async #untilClosed<Result>(work: Promise<Result>): Promise<Result> {
    const timer = setTimeout(() => this.#sayLate(), longMs);
    try {
      const end = await Promise.race([work, this.#closing.promise]);
      if (end instanceof WarpError) throw end;
      return end;
    } finally {
      clearTimeout(timer);
    }
  }

  #sayLate(): void {
    try {
      const why = "a rotation waits for checkpoints, perhaps because another process reads a shard";
      this.#parts.logger.warn(`${why}; backups wait for it`, {});
    } catch {
      // It is the program's.
    }
  }

  status(): Promise<PeriodStatus[]> {
    return periodStatus(this.#parts);
  }
}

function closed(): WarpError {
  return new WarpError("CLOSED", "this context is closed; the next rotation goes on");
}

/** The periods, and how many keys of entities stand under each; read beside whoever has the directory open. */
export async function periodStatus({
  dataDir,
  shards,
}: Pick<RotationParts, "dataDir" | "shards">): Promise<PeriodStatus[]> {
  const { periods } = readKeyring(dataDir);
  const counts = new Map<number, number>();
  for (let shard = 0; shard < shards; shard++) await countKeys(shardDirectory(dataDir, shard), counts);
  const newest = periods.at(-1)?.number;
  return periods.map(({ number, createdAt }) => ({
    period: number,
    createdAt,
    keys: counts.get(number) ?? 0,
    isCurrent: number === newest,
  }));
}

/** Adds up how many slots of a shard's vault each period wraps: a slot of zeros has no key, and periods begin at 1. */
async function countKeys(directory: string, counts: Map<number, number>): Promise<void> {
  const vault = Bun.file(join(directory, "vault"));
  const chunkBytes = countedSlots * slotBytes;
  for (let from = vaultHeaderBytes; from < vault.size; from += chunkBytes) {
    const bytes = new DataView(await vault.slice(from, from + chunkBytes).arrayBuffer());
    for (let at = 0; at + slotBytes <= bytes.byteLength; at += slotBytes) {
      const period = bytes.getUint16(at, true);
      if (period > 0) counts.set(period, (counts.get(period) ?? 0) + 1);
    }
  }
}
