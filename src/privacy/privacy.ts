/**
 * The privacy of a context's entities, as handles offer it (actor/privacy.ts).
 */
import type {
  DeleteOptions,
  DeletePlan,
  ErasureListed,
  ErasuresQuery,
  ExportCursor,
  ExportPage,
  Hold,
  HoldOptions,
  Privacy,
  Receipt,
} from "../actor/privacy.ts";
import type { ShardState } from "../actor/storage/shard-state.ts";
import { idHash } from "../core/erasure.ts";
import { WarpError } from "../core/errors.ts";
import { withManifest } from "../core/export-digest.ts";
import { limits } from "../core/limits.ts";
import { subjectName } from "../core/personal.ts";
import { raceLasting } from "../core/race-lasting.ts";
import { requireWait } from "../core/receipt.ts";
import type { ListedEntry } from "../shard/read/privacy.ts";
import { Erasures, type ErasuresParts } from "./erasures.ts";
import { type ExportParts, exportPage, exportPages } from "./export.ts";
import { Holding, held } from "./holding.ts";
import { type Spoken, spokenOfUnlessFailed } from "./hosts.ts";
import { referenceOf } from "./reference.ts";

/** Entries of a ledger that are read at once. */
const ledgerPage = 1000;

export type PrivacyParts = Omit<ErasuresParts, "holding"> &
  ExportParts & { readonly shards: number; readonly idHashKey: Uint8Array };

export class ContextPrivacy implements Privacy {
  readonly #parts: PrivacyParts;
  readonly #erasures: Erasures;
  readonly #holding: Holding;

  constructor(parts: PrivacyParts) {
    this.#parts = parts;
    this.#holding = new Holding(parts);
    this.#erasures = new Erasures({ ...parts, holding: this.#holding });
  }

  resume(): void {
    this.#erasures.resume();
  }

  close(): void {
    this.#erasures.close();
  }

  /** As somebody of whom others speak: holds of entities are known to their shards' writers. */
  async isHeldAsSubject(id: string): Promise<boolean> {
    return (await this.#holding.findOfSubject(id)) !== undefined;
  }

  whenTidy(): Promise<void> {
    return this.#erasures.whenTidy();
  }

  async delete(id: string, options: DeleteOptions): Promise<Receipt> {
    const reference = referenceOf(id, options.reason, options.by);
    const waitMs = requireWait(options.waitMs ?? limits.receiptMs);
    const hold = await this.#holding.find(id);
    if (hold !== undefined) throw held(id, hold);
    const receipt = await this.#erasures.delete(id, options, reference);
    if (receipt.status !== "nothing") return receipt;
    return (await this.#formerReceipt(id, waitMs)) ?? receipt;
  }

  /** The receipt of an erasure that is over, from the ledgers. */
  async #formerReceipt(id: string, waitMs: number): Promise<Receipt | undefined> {
    const { residency, subjects, backupTargets } = this.#parts;
    const { erasedAt, shard } = await residency.identityOf(id);
    const own = erasedAt === undefined ? undefined : await this.#entryOf(shard, id);
    const shards = subjects.erasedIn(id);
    const found = await Promise.all(shards.map((one) => this.#entryOf(one, subjectName(id))));
    const spoken = found.filter((listed) => listed !== undefined);
    const all = own === undefined ? spoken : [own, ...spoken];
    if (all.length === 0) return undefined;
    const pending = all.every((listed) => listed.isComplete) ? [] : ["its rows or its name"];
    if (!(await this.#erasures.whetherResumed(waitMs))) pending.push("the journal's segments");
    const nothing = { events: 0, runs: 0, snapshots: 0, callerKeys: 0 };
    return {
      status: pending.length === 0 ? "erased" : "pending",
      entity: id,
      shard: shard.index,
      entry: own?.entry ?? 0,
      erasedAt: Math.max(...all.map((listed) => listed.erasedAt)),
      fingerprint: own?.fingerprint ?? "0".repeat(32),
      removed: own?.removed ?? nothing,
      personal: {
        parts: spoken.reduce((parts, { removed }) => parts + removed.events, 0),
        hosts: spoken.length === 0 ? 0 : undefined,
        keys: spoken.map(({ shard, entry, fingerprint }) => ({ shard, entry, fingerprint })),
      },
      pending,
      backups: backupTargets(),
    };
  }

  /** The newest entry of a shard's ledger under a name. */
  async #entryOf({ index, erased }: ShardState, name: string): Promise<ErasureListed | undefined> {
    const erasedAt = erased.find(name);
    if (erasedAt === undefined) return undefined;
    const found = await this.#parts.reading.erasure(index, erasedAt, idHash(this.#parts.idHashKey, name));
    return found === undefined ? undefined : listedOf(index, found);
  }

  async plan(id: string): Promise<DeletePlan> {
    const { residency, reading, followers } = this.#parts;
    const actor = await residency.identityOf(id);
    const { index } = actor.shard;
    const { bytes, runs, snapshots, callerKeys } = await reading.sizes(index, actor.number, false);
    const spoken = await spokenOfUnlessFailed(this.#parts, id);
    const sum = (of: (one: Spoken) => number) => spoken.reduce((total, one) => total + of(one), 0);
    return {
      entity: id,
      events: actor.committedSeq,
      runs,
      snapshots,
      callerKeys,
      bytes,
      personal: { parts: sum(({ parts }) => parts), hosts: sum(({ hosts }) => hosts) },
      hold: await this.#holding.find(id),
      followers: followers.all.map(({ name }) => name),
    };
  }

  export(id: string): AsyncGenerator<string> {
    return withManifest(exportPages(this.#parts, id));
  }

  exportPage(id: string, cursor: ExportCursor | undefined): Promise<ExportPage> {
    return exportPage(this.#parts, id, cursor);
  }

  hold(id: string, options: HoldOptions): Promise<Hold> {
    return this.#unlessFailed(this.#holding.set(id, options));
  }

  release(id: string): Promise<void> {
    return this.#unlessFailed(this.#holding.release(id));
  }

  /** What waits for a writer would wait for ever once the engine has failed. Errors: OUTCOME_UNKNOWN. */
  async #unlessFailed<Result>(work: Promise<Result>): Promise<Result> {
    work.catch(() => {});
    const done = await raceLasting(work, this.#parts.failed);
    if (!(done instanceof WarpError)) return done;
    const why = `the engine failed before this was on the disk (${done.message})`;
    throw new WarpError("OUTCOME_UNKNOWN", why, { cause: done.toWire() });
  }

  holdOf(id: string): Promise<Hold | undefined> {
    return this.#holding.find(id);
  }

  async *erasures(query: ErasuresQuery): AsyncGenerator<ErasureListed> {
    const { reading, shards } = this.#parts;
    const all = Array.from({ length: shards }, (_, shard) => shard);
    for (const shard of query.shard === undefined ? all : [query.shard]) {
      for (let after = query.after ?? 0; ; after += ledgerPage) {
        const { entries, hasMore } = await reading.ledger(shard, after, ledgerPage);
        for (const entry of entries) yield listedOf(shard, entry);
        if (!hasMore) break;
      }
    }
  }
}

function listedOf(shard: number, listed: ListedEntry): ErasureListed {
  const { index, kind, number, position, erasedAt, reason, by, isComplete } = listed;
  const { events, runs, snapshots, callerKeys } = listed;
  return {
    ...{ shard, entry: index, kind, number, position, erasedAt, reason, by, isComplete },
    fingerprint: Buffer.from(listed.fingerprint).toString("hex"),
    idHash: Buffer.from(listed.idHash).toString("hex"),
    removed: { events, runs, snapshots, callerKeys },
  };
}
