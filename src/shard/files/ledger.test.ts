import { afterAll, beforeAll, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { idHash, keyFingerprint } from "../../core/erasure.ts";
import { WarpError } from "../../core/errors.ts";
import { findInLedger, Ledger, readLedger, readLedgerPage } from "./ledger.ts";
import { type LedgerDraft, ledgerEntryBytes, ledgerHeaderBytes } from "./ledger-format.ts";

let directory = "";
let made = 0;
const idHashKey = new Uint8Array(32).fill(7);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "erasure-ledger-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function place() {
  return { path: join(directory, `ledger-${made++}`), context: "banking", shard: 3 };
}

function draft(number: number): LedgerDraft {
  return {
    kind: number % 2 === 0 ? "subject" : "entity",
    number,
    position: number * 10,
    erasedAt: 1_700_000_000_000 + number,
    fingerprint: keyFingerprint(new Uint8Array(32).fill(number)),
    idHash: idHash(idHashKey, `customer-${number}`),
    reason: "art-17",
    by: "ticket-4711",
  };
}

function written(count: number) {
  const at = place();
  Ledger.create(at);
  const ledger = Ledger.open(at, "write", 0, () => {});
  for (let number = 1; number <= count; number++) ledger.append([draft(number)]);
  ledger.close();
  return at;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof WarpError ? `${error.code} ${error.details.offset ?? ""}`.trim() : String(error);
  }
  return "nothing";
}

test("what a killed process wrote is on the disk before it is relied on", () => {
  const at = written(2);
  const sync = spyOn(fs, "fdatasyncSync");
  try {
    Ledger.open(at, "read", 2, () => {}).close();
    expect(sync).toHaveBeenCalledTimes(0);
    Ledger.open(at, "write", 2, () => {}).close();
    expect(sync).toHaveBeenCalledTimes(1);
  } finally {
    sync.mockRestore();
  }
});

test("what was appended is read back, in order, whether it came alone or together", () => {
  const at = written(2);
  const ledger = Ledger.open(at, "write", 2, () => {});
  ledger.append([draft(3), draft(4)]);
  ledger.close();
  const entries = readLedger(at, 4);
  expect(entries.map(({ index, number, position }) => [index, number, position])).toEqual([
    [1, 1, 10],
    [2, 2, 20],
    [3, 3, 30],
    [4, 4, 40],
  ]);
  expect(entries[3]).toEqual({
    ...draft(4),
    index: 4,
    fingerprint: Uint8Array.from(draft(4).fingerprint),
    idHash: Uint8Array.from(draft(4).idHash),
  });
});

test("many entries are read in chunks", () => {
  const at = place();
  Ledger.create(at);
  const ledger = Ledger.open(at, "write", 0, () => {});
  ledger.append(Array.from({ length: 1000 }, (_, i) => draft((i % 250) + 1)));
  const { chain } = ledger;
  ledger.close();
  const again = Ledger.open(at, "read", 1000, () => {});
  expect(again.count).toBe(1000);
  expect(again.chain).toEqual(chain);
  again.close();
});

test("a last entry that was cut off counts for nothing, and the next one takes its place", () => {
  const at = written(2);
  appendFileSync(at.path, readFileSync(at.path).subarray(ledgerHeaderBytes, ledgerHeaderBytes + 100));
  expect(readLedger(at)).toHaveLength(2);
  const ledger = Ledger.open(at, "write", 2, () => {});
  ledger.append([draft(3)]);
  ledger.close();
  expect(readLedger(at, 3)).toHaveLength(3);
  expect(statSync(at.path).size).toBe(ledgerHeaderBytes + 3 * ledgerEntryBytes);
});

test("an entry that somebody relied on is damage when it is cut off or changed", () => {
  const at = written(2);
  const whole = readFileSync(at.path);
  writeFileSync(at.path, whole.subarray(0, whole.length - 1));
  expect(readLedger(at)).toHaveLength(1);
  expect(codeOf(() => readLedger(at, 2))).toBe(`CORRUPT ${ledgerHeaderBytes + ledgerEntryBytes}`);
  writeFileSync(at.path, whole.subarray(0, ledgerHeaderBytes + ledgerEntryBytes));
  expect(codeOf(() => readLedger(at, 2))).toBe(`CORRUPT ${ledgerHeaderBytes + ledgerEntryBytes}`);
});

test("every changed byte before the last entry is found", () => {
  const at = written(3);
  const whole = readFileSync(at.path);
  for (let offset = 0; offset < whole.length - ledgerEntryBytes; offset += 7) {
    const changed = Buffer.from(whole);
    changed[offset] = (changed[offset] ?? 0) ^ 1;
    writeFileSync(at.path, changed);
    expect(codeOf(() => readLedger(at)).split(" ")[0]).toBe("CORRUPT");
  }
});

test("an entry that was taken out is found", () => {
  const at = written(3);
  const whole = readFileSync(at.path);
  const without = Buffer.concat([
    whole.subarray(0, ledgerHeaderBytes + ledgerEntryBytes),
    whole.subarray(ledgerHeaderBytes + 2 * ledgerEntryBytes),
  ]);
  writeFileSync(at.path, without);
  expect(codeOf(() => readLedger(at, 2))).toBe(`CORRUPT ${ledgerHeaderBytes + ledgerEntryBytes}`);
});

test("the ledger of another shard or context is refused", () => {
  const at = written(1);
  expect(codeOf(() => readLedger({ ...at, shard: 4 }))).toBe("CONFIG_MISMATCH");
  expect(codeOf(() => readLedger({ ...at, context: "other" }))).toBe("CONFIG_MISMATCH");
});

/** A ledger with two entries, and three more of one write. */
function writtenTogether() {
  const at = written(2);
  const ledger = Ledger.open(at, "write", 2, () => {});
  ledger.append([draft(3), draft(4), draft(5)]);
  ledger.close();
  return at;
}

test("entries of one write that a power failure tore, in whatever order, count for nothing and are written again", () => {
  for (let lost = 1; lost < 8; lost++) {
    const at = writtenTogether();
    const torn = readFileSync(at.path);
    const isLost = (i: number) => (lost & (1 << i)) !== 0;
    for (const i of [0, 1, 2].filter(isLost)) {
      const from = ledgerHeaderBytes + (2 + i) * ledgerEntryBytes;
      torn.fill(0, from, from + ledgerEntryBytes);
    }
    writeFileSync(at.path, torn);
    const kept = 2 + [0, 1, 2].findIndex(isLost);
    expect(readLedger(at, 2)).toHaveLength(kept);
    const ledger = Ledger.open(at, "write", 2, () => {});
    expect(ledger.count).toBe(kept);
    ledger.append([draft(9)]);
    ledger.close();
    expect(readLedger(at, kept + 1).map(({ number }) => number)).toEqual([
      ...[1, 2, 3, 4, 5].slice(0, kept),
      9,
    ]);
  }
});

test("a bad entry is damage when it was relied on, when a later write is behind it, or something that is no entry", () => {
  const at = writtenTogether();
  const whole = readFileSync(at.path);
  const third = ledgerHeaderBytes + 2 * ledgerEntryBytes;
  const bad = Buffer.from(whole).fill(0, third, third + ledgerEntryBytes);
  writeFileSync(at.path, bad);
  expect(readLedger(at, 2)).toHaveLength(2);
  expect(codeOf(() => readLedger(at, 3))).toBe(`CORRUPT ${third}`);
  writeFileSync(at.path, whole);
  const again = Ledger.open(at, "write", 5, () => {});
  again.append([draft(6)]);
  again.close();
  const longer = readFileSync(at.path).fill(0, third, third + ledgerEntryBytes);
  writeFileSync(at.path, longer);
  expect(codeOf(() => readLedger(at, 2))).toBe(`CORRUPT ${third}`);
  const strange = Buffer.from(bad).fill(7, third + ledgerEntryBytes, third + 2 * ledgerEntryBytes);
  writeFileSync(at.path, strange);
  expect(codeOf(() => readLedger(at, 2))).toBe(`CORRUPT ${third}`);
});

test("pages show every entry once, and a page does not believe what is before it changed", () => {
  const at = place();
  Ledger.create(at);
  const ledger = Ledger.open(at, "write", 0, () => {});
  ledger.append(Array.from({ length: 700 }, (_, i) => draft((i % 250) + 1)));
  ledger.close();
  const seen: number[] = [];
  for (let hasMore = true; hasMore; ) {
    const page = readLedgerPage(at, seen.length, 300, 700);
    seen.push(...page.entries.map(({ index }) => index));
    hasMore = page.hasMore;
  }
  expect(seen).toEqual(Array.from({ length: 700 }, (_, i) => i + 1));
  const changed = readFileSync(at.path);
  const chainOf300 = ledgerHeaderBytes + 299 * ledgerEntryBytes + 230;
  changed[chainOf300] = (changed[chainOf300] ?? 0) ^ 1;
  writeFileSync(at.path, changed);
  expect(codeOf(() => readLedgerPage(at, 300, 10, 700))).toBe(
    `CORRUPT ${ledgerHeaderBytes + 300 * ledgerEntryBytes}`,
  );
});

test("an id is found by the time of its erasure, the newest of several", () => {
  const at = place();
  Ledger.create(at);
  const ledger = Ledger.open(at, "write", 0, () => {});
  const erasedAt = (i: number) => 1_700_000_000_000 + Math.floor(i / 5);
  ledger.append(Array.from({ length: 200 }, (_, i) => ({ ...draft((i % 7) + 1), erasedAt: erasedAt(i) })));
  ledger.close();
  for (let i = 0; i < 200; i++) {
    const { idHash: hash } = draft((i % 7) + 1);
    expect(findInLedger(at, erasedAt(i), hash)?.index).toBe(i + 1);
  }
  expect(findInLedger(at, erasedAt(0), draft(6).idHash)).toBeUndefined();
  expect(findInLedger(at, erasedAt(300), draft(1).idHash)).toBeUndefined();
});
