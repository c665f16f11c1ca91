/**
 * The key set and the ledger of one shard, brought up to date in the target.
 *
 * - An object is due when it has new entities, when one of its entities is in the ledger since, or when its keyring has
 *   other periods than that of now. It is made from the vault and overwrites the one before: what was erased is in no backup any more.
 * - Of a damaged slot the key stays as the target has it, as long as the keyring opens it. What the target does not have is named in
 *   the head, and its object is due each time until the slot is whole or the entity erased.
 * - The order of reading is ledger, names, slots; that of writing is ledger, key set. An entity that goes meanwhile is
 *   then missing from the keys, and the ledger beside them says why. One that has a name, no key and no entry in the ledger
 *   as it is behind the slots has lost its key: its slot is damaged.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { idHash } from "../../core/erasure.ts";
import { WarpError } from "../../core/errors.ts";
import { walkLedger } from "../../shard/files/ledger.ts";
import { slotBytes, slotOffset, Vault } from "../../shard/files/vault.ts";
import { decodeBlocks, decodeHeader, encodeBlock, encodeEnd, encodeHeader } from "../format/container.ts";
import { SealedIds } from "../format/key-rows.ts";
import {
  type HeadHeader,
  headObject,
  type KeysHeader,
  keysObject,
  keysPerObject,
  ledgerObject,
} from "../format/objects.ts";
import { BlockDraft, rowsOf, shapeOf, tables } from "../format/tables.ts";
import type { BackupTarget } from "../target/target.ts";
import type { BackupTask } from "../work/messages.ts";
import type { StopFlag } from "../work/stop-flag.ts";
import type { ShardSource } from "./shard-source.ts";

const cachedKeysMax = 256;

export interface KeySetWritten {
  /** Entries of the ledger that the whole key set has taken notice of. */
  readonly ledger: number;
  /** Numbers whose keys it does not have, and what is wrong with their slots. */
  readonly damaged: ReadonlyMap<number, WarpError>;
}

type KeyRow = readonly [number: number, slot: Uint8Array, idHash: Uint8Array, id: Uint8Array];

export class KeySetBackup {
  readonly #target: BackupTarget;
  readonly #source: ShardSource;
  /** Numbers in the ledger, in its order. */
  #erased: number[] = [];
  #isErased = new Set<number>();
  #ledgerBytes = 0;
  /** Entries that the target's ledger has, as far as this object knows. */
  #ledgerInTarget = -1;
  written = 0;

  constructor(target: BackupTarget, source: ShardSource) {
    this.#target = target;
    this.#source = source;
  }

  /** The target may be another than it was. */
  forgetTarget(): void {
    this.#ledgerInTarget = -1;
  }

  async run(task: BackupTask, head: HeadHeader, nextNumber: number, stop: StopFlag): Promise<KeySetWritten> {
    const ledger = this.#readLedger(task).count;
    // It would take the place of a longer one, which keeps more of the erased out.
    if (ledger < head.ledger) throw otherHistory(this.#target, task.shard, "some of the erasures");
    const due = this.#due(task, head, nextNumber);
    const path = this.#vaultPath;
    const { shard, context, periods } = task;
    const vault = Vault.open({ path, shard, context, periods, cachedKeysMax }, "read");
    const damaged = new Map<number, WarpError>();
    try {
      for (const first of due) {
        stop.requireUnset();
        const parts = await this.#object(task, vault, first, nextNumber, ledger, damaged);
        await this.putLedger(task);
        await this.#target.replace(keysObject(shard, first), parts);
      }
    } finally {
      vault.close();
    }
    await this.putLedger(task);
    this.written = due.length;
    return { ledger, damaged };
  }

  /** First numbers of the objects to be written, rising. */
  #due(task: BackupTask, head: HeadHeader, nextNumber: number): number[] {
    const firsts = new Set<number>();
    // A rotation that was tried again adds no period, so the newest alone says nothing of the older ones.
    const hasPeriods = JSON.stringify(head.periods) === JSON.stringify(periodsOf(task));
    const from = hasPeriods ? head.nextNumber : 1;
    for (let first = firstOf(from); from < nextNumber && first < nextNumber; first += keysPerObject)
      firsts.add(first);
    // What was erased since; also of a number that was never backed up, whose object is due anyway.
    for (const number of this.#erased.slice(head.ledger)) firsts.add(firstOf(number));
    for (const number of head.damaged ?? []) firsts.add(firstOf(number));
    return [...firsts].sort((a, b) => a - b);
  }

  /** The object of the numbers from `first` on; adds to `damaged`. */
  async #object(
    task: BackupTask,
    vault: Vault,
    first: number,
    nextNumber: number,
    ledger: number,
    damaged: Map<number, WarpError>,
  ): Promise<Buffer[]> {
    const { shard, context, incarnation, keyring, idHashKey } = task;
    const end = Math.min(first + keysPerObject, nextNumber);
    const ids = this.#source.names(first, end - 1);
    const slots = this.#source.slots(first, keysPerObject);
    const sealed = new SealedIds(context, shard);
    const periods = new Set(keyring.periods.map(({ number }) => number));
    const draft = new BlockDraft(tables.keys);
    let inTarget: ReadonlyMap<number, KeyRow> | undefined;
    for (let number = first; number < end; number++) {
      if (this.#isErased.has(number)) continue;
      const slot = slots.subarray((number - first) * slotBytes, (number - first + 1) * slotBytes);
      const id = ids.get(number);
      const key = vault.openSlot(number, slot) ?? (id === undefined ? undefined : this.#lost(task, number));
      if (key === undefined) continue;
      if (key instanceof WarpError) {
        inTarget ??= await this.#inTarget(shard, first);
        const kept = inTarget.get(number);
        if (kept !== undefined && opens(vault, kept)) draft.add(kept);
        else damaged.set(number, key);
        continue;
      }
      if (id === undefined) {
        throw new WarpError("CORRUPT", `shard ${shard}: number ${number} has a key and no name`, {
          shard,
          number,
        });
      }
      if (!periods.has(slot.readUInt16LE(0))) {
        throw new WarpError("ABORTED", "the keys were rotated while the backup was made", { shard, number });
      }
      draft.add([number, slot, idHash(idHashKey, id), sealed.seal(key, number, id)]);
    }
    const header: KeysHeader = { kind: "keys", shard, incarnation, first, ledger, keyring };
    const blocks = draft.rows === 0 ? [] : encodeBlock(draft.take());
    return [encodeHeader(header), ...blocks, encodeEnd(blocks.length === 0 ? 0 : 1)];
  }

  get #vaultPath(): string {
    return join(this.#source.directory, "vault");
  }

  /** What is wrong with the empty slot of a number that has a name; undefined when it was erased meanwhile. */
  #lost(task: BackupTask, number: number): WarpError | undefined {
    this.#readLedger(task);
    if (this.#isErased.has(number)) return undefined;
    const file = this.#vaultPath;
    const offset = slotOffset(number);
    const why = `${file}: the slot of number ${number} at ${offset} is empty, and no erasure of it is known`;
    return new WarpError("CORRUPT", why, { file, offset, number });
  }

  /** The rows of an object as the target has it. Errors: CORRUPT with the object. */
  async #inTarget(shard: number, first: number): Promise<ReadonlyMap<number, KeyRow>> {
    const object = keysObject(shard, first);
    const bytes = await this.#target.get(object);
    const rows = new Map<number, KeyRow>();
    if (bytes === undefined) return rows;
    const { end } = decodeHeader<KeysHeader>(bytes, object);
    for (const block of decodeBlocks(bytes, end, object, shapeOf)) {
      for (const [number, slot, hash, id] of rowsOf(block) as Iterable<KeyRow>)
        rows.set(number, [number, slot, hash, id]);
    }
    return rows;
  }

  /** Writes the ledger as it is now, unless the target has it; also of entities that the key set still has. */
  async putLedger(task: BackupTask): Promise<void> {
    const { count, bytes } = this.#readLedger(task);
    if (count === this.#ledgerInTarget) return;
    await this.#target.replace(ledgerObject(task.shard), [bytes()]);
    this.#ledgerInTarget = count;
  }

  /** Takes notice of what is in the ledger now. */
  #readLedger({ shard, context }: BackupTask): { readonly count: number; readonly bytes: () => Buffer } {
    const path = join(this.#source.directory, "ledger");
    const file = Bun.file(path);
    const bytes = () => readFileSync(path).subarray(0, this.#ledgerBytes);
    if (file.size === this.#ledgerBytes) return { count: this.#erased.length, bytes };
    const content = readFileSync(path);
    const read = (offset: number, length: number) => content.subarray(offset, offset + length);
    const erased: number[] = [];
    const walk = walkLedger(read, { path, context, shard }, this.#erased.length);
    let step = walk.next();
    for (; !step.done; step = walk.next()) erased.push(step.value.number);
    this.#ledgerBytes = content.length - step.value.torn;
    this.#erased = erased;
    this.#isErased = new Set(erased);
    return { count: erased.length, bytes };
  }
}

/** The directory was put back to an older state and has gone on from there: its backup would mix two histories. */
export function otherHistory(target: BackupTarget, shard: number, lacks: string): WarpError {
  const object = headObject(shard);
  const why = `${object} is of another history of the data directory, which lacks ${lacks}`;
  const when = "as when an older copy was put in its place; choose another target";
  return new WarpError("CONFIG_MISMATCH", `${target.name}: ${why}, ${when}`, { target: target.name, object });
}

/** The periods that a key set has which is written now. */
export function periodsOf({ keyring }: BackupTask): number[] {
  return keyring.periods.map(({ number }) => number);
}

/** Whether the keyring of now opens it. */
function opens(vault: Vault, [number, slot]: KeyRow): boolean {
  return vault.openSlot(number, Buffer.from(slot.buffer, slot.byteOffset, slot.length)) instanceof Uint8Array;
}

/** The first number of the object that holds a number. */
function firstOf(number: number): number {
  return number - ((number - 1) % keysPerObject);
}
