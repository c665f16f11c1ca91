/**
 * The vault and names.db of a shard, against each other.
 */
import type { Database } from "bun:sqlite";
import { closeSync, openSync, readSync } from "node:fs";
import { entityIdFault } from "../../core/entity-id.ts";
import { isSubjectName } from "../../core/personal.ts";
import type { Meta } from "../sqlite/database.ts";
import { readLedger } from "../files/ledger.ts";
import type { LedgerPlace } from "../files/ledger-format.ts";
import { slotBytes, slotOffset, type Vault } from "../files/vault.ts";
import { shardOf } from "../placement.ts";
import { damage, type Finding, notice } from "./finding.ts";

const scannedSlots = 4096;

/** Which numbers have a name, and which have a key. */
export class EntityMarks {
  readonly #marks: Uint8Array;

  constructor(slots: number) {
    this.#marks = new Uint8Array(slots + 1);
  }

  markNamed(number: number): void {
    this.#marks[number] = (this.#marks[number] ?? 0) | 1;
  }

  markKeyed(number: number): void {
    this.#marks[number] = (this.#marks[number] ?? 0) | 2;
  }

  /** It is in the ledger: what is left of it is about to go. */
  markErased(number: number): void {
    this.#marks[number] = (this.#marks[number] ?? 0) | 4;
  }

  isErased(number: number): boolean {
    return ((this.#marks[number] ?? 0) & 4) !== 0;
  }

  isNamed(number: number): boolean {
    return ((this.#marks[number] ?? 0) & 1) !== 0;
  }

  isKeyed(number: number): boolean {
    return ((this.#marks[number] ?? 0) & 2) !== 0;
  }
}

/** Every slot is zero or opens. `nextNumber` is the first number that was not given out. */
export function* checkVault(
  vault: Vault,
  path: string,
  file: string,
  nextNumber: number,
  marks: EntityMarks,
): Generator<Finding> {
  const bytes = Buffer.alloc(scannedSlots * slotBytes);
  const opened = openSync(path, "r");
  try {
    if (vault.slots < nextNumber - 1) {
      yield damage(file, `it ends before the slot of number ${nextNumber - 1}`, {
        offset: slotOffset(vault.slots + 1),
      });
    }
    for (let first = 1; first <= vault.slots; first += scannedSlots) {
      const read = readSync(opened, bytes, 0, bytes.length, slotOffset(first));
      for (let i = 0; (i + 1) * slotBytes <= read; i++) {
        const number = first + i;
        const at = i * slotBytes;
        const state = vault.slotState(number, bytes.subarray(at, at + slotBytes));
        if (state === "empty") continue;
        // A slot that opens has a key even if no record of its entity was settled: the crash came between.
        if (state === "whole") marks.markKeyed(number);
        else if (number < nextNumber)
          yield damage(file, `the slot of number ${number}: ${state}`, where(number));
        else yield notice(file, `the unused slot of number ${number} is not empty: ${state}`, where(number));
      }
    }
  } finally {
    closeSync(opened);
  }
}

function where(number: number) {
  return { number, offset: slotOffset(number) };
}

/** The ledger is unbroken, has what the shard has carried out, and no key of that is left. */
export function* checkLedger(
  runs: Database,
  place: LedgerPlace,
  file: string,
  marks: EntityMarks,
): Generator<Finding> {
  const { carriedOut } = runs
    .query<{ carriedOut: number }, []>("SELECT coalesce(max(entry), 0) AS carriedOut FROM erasures")
    .get() ?? { carriedOut: 0 };
  for (const { number, index } of readLedger(place, carriedOut)) {
    marks.markErased(number);
    if (index > carriedOut || !marks.isKeyed(number)) continue;
    yield damage(file, `number ${number} is erased by entry ${index}, and its key is there`, where(number));
  }
}

/** Every name is an id that belongs here, and its entity has a key. */
export function* checkNames(
  names: Database,
  file: string,
  place: { readonly shard: number; readonly shardCount: number },
  meta: Meta,
  marks: EntityMarks,
): Generator<Finding> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const rows = names.query<{ number: number; id: Uint8Array }, []>(
    "SELECT number, id FROM names ORDER BY number",
  );
  for (const { number, id } of rows.iterate()) {
    const row = { row: number, number };
    marks.markNamed(number);
    // A subject stands wherever hosts speak of her.
    const isSubject = isSubjectName(id);
    const text = decoded(decoder, isSubject ? id.subarray(1) : id);
    const fault = text === undefined ? "its id is not UTF-8" : entityIdFault(text);
    if (fault !== undefined) yield damage(file, `row ${number}: ${fault}`, row);
    else if (text !== undefined && !isSubject && shardOf(text, place.shardCount) !== place.shard) {
      yield damage(file, `row ${number}: its id belongs to shard ${shardOf(text, place.shardCount)}`, row);
    }
    if (number < 1 || number >= meta.nextNumber) {
      yield damage(file, `row ${number}: numbers were given out only up to ${meta.nextNumber - 1}`, row);
    } else if (!marks.isKeyed(number) && !marks.isErased(number)) {
      yield damage(file, `row ${number}: the vault has no key for it`, row);
    }
  }
}

function decoded(decoder: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    // A fatal decoder has no other way to say that bytes are not UTF-8.
    return undefined;
  }
}
