/**
 * Every row of the table in docs/recovery.md: what a start finds, and what follows. A test's name begins with its row's label.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { limits } from "../src/core/limits.ts";
import { start, WarpError } from "../src/index.ts";
import { loadSettings } from "./crash/settings.ts";
import { loadInto, makeSample, type Outcome, openChanged, type Sample } from "./faults/flips.ts";
import { type Block, blocksOf, garble, liveSegments, slotsOf, zero } from "./faults/journal-files.ts";

const seed = 20_261_122;
let closed: Sample;
/** All in the journal alone, over several segments. */
let unsettled: Sample;
/** All settled, nothing in a main database file. */
let unchecked: Sample;
/** Loaded and closed twice, then killed: what shards have settled is long gone from the journal. */
let used: Sample;

beforeAll(async () => {
  closed = await makeSample(seed, "closed");
  unsettled = await makeSample(seed, "unsettled", { operations: 1200 });
  unchecked = await makeSample(seed, "unchecked");
  const first = await makeSample(seed, "closed", { operations: 60 });
  cpSync(join(first.home, "data"), join(first.home, "before"), { recursive: true });
  const order = { dataDir: join(first.home, "data"), seed: seed + 1, callers: 10, operations: 300 };
  const second = await loadInto(first.home, { ...order, run: "t" });
  const third = await loadInto(first.home, { ...order, run: "u", isUnsettled: true, lingers: true });
  used = { home: first.home, lines: [...first.lines, ...second, ...third] };
}, 60_000);

afterAll(() => {
  for (const { home } of [closed, unsettled, unchecked, used]) rmSync(home, { recursive: true });
});

const identical: Outcome = { kind: "identical", what: "" };
/** A WarpError with this code whose details have these words, in this order. */
const error = (code: string, ...words: string[]): Outcome => ({
  kind: "error",
  what: expect.stringMatching(new RegExp([code, ...words].join(".*"))) as unknown as string,
});
const remove = (file: string) => (dataDir: string) => rmSync(join(dataDir, file));
const text = (dataDir: string, file: string) => readFileSync(join(dataDir, file), "utf8");

async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "no error";
  } catch (thrown) {
    return thrown instanceof WarpError ? thrown.code : String(thrown);
  }
}

test("R1 a path without anything becomes a data directory, unless the caller says that there must be one", async () => {
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(home, "a", "b");
  expect(await codeOf(() => start({ ...loadSettings(dataDir), create: false }))).toBe("INVALID_ARGUMENT");
  await (await start(loadSettings(dataDir))).close();
  await (await start({ ...loadSettings(dataDir), create: false })).close();
  rmSync(home, { recursive: true });
});

test("R2 a directory that lost warp.json is not taken for a new one", async () => {
  expect(await openChanged(closed, remove("warp.json"), { create: true })).toEqual(
    error("CORRUPT", "warp.json"),
  );
});

test("R3 a directory whose making was interrupted is made whole", async () => {
  const creating = (dataDir: string) => {
    writeFileSync(join(dataDir, "warp.json"), text(dataDir, "warp.json").replace('"ready"', '"creating"'));
    for (const name of ["runs.db", "names.db", "vault"]) rmSync(join(dataDir, "shards/002", name));
    rmSync(join(dataDir, "journal/keys"));
  };
  const empty = await makeSample(seed, "closed", { operations: 1, callers: 1 });
  const outcome = await openChanged(empty, creating);
  rmSync(empty.home, { recursive: true });
  expect(outcome.kind === "identical" || outcome.what.includes("was acknowledged")).toBe(true);
});

test("R4 a damaged warp.json is refused", async () => {
  const cut = (dataDir: string) => writeFileSync(join(dataDir, "warp.json"), '{"format": 1, "state');
  expect(await openChanged(closed, cut)).toEqual(error("CORRUPT", "warp.json"));
});

test("R5 a directory of another format is refused", async () => {
  const newer = (dataDir: string) =>
    writeFileSync(
      join(dataDir, "warp.json"),
      text(dataDir, "warp.json").replace('"format": 1', '"format": 2'),
    );
  expect(await openChanged(closed, newer)).toEqual(error("FORMAT_UNSUPPORTED", "warp.json"));
});

test("R6 a directory that is open is not opened again", async () => {
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const warp = await start(loadSettings(home));
  expect(await codeOf(() => start(loadSettings(home)))).toBe("DIRECTORY_LOCKED");
  await warp.close();
  rmSync(home, { recursive: true });
});

test("R7 the lock of a process that is gone holds nobody back", async () => {
  expect(existsSync(join(unsettled.home, "data/lock.db"))).toBe(true);
  expect(await openChanged(unsettled, () => {})).toEqual(identical);
});

test("R8 a directory never gets a new keyring", async () => {
  expect(await openChanged(closed, remove("keyring.json"))).toEqual(
    error("ROOT_KEY_MISSING", "keyring.json"),
  );
});

test("R9 a directory never gets a new root key", async () => {
  expect(await openChanged(closed, remove("root.key"))).toEqual(error("ROOT_KEY_MISSING"));
});

test("R10 another root key is refused", async () => {
  const other = (dataDir: string) => writeFileSync(join(dataDir, "root.key"), `${"5a".repeat(32)}\n`);
  expect(await openChanged(closed, other)).toEqual(error("ROOT_KEY_WRONG", "keyring.json"));
});

test("R11 a damaged keyring is refused", async () => {
  const cut = (dataDir: string) => writeFileSync(join(dataDir, "keyring.json"), "{");
  expect(await openChanged(closed, cut)).toEqual(error("CORRUPT", "keyring.json"));
});

test("R12 a retired segment is not looked at", async () => {
  const spoil = (dataDir: string) => {
    for (const name of ["0001", "0002"]) garble(join(dataDir, "journal", name), 8192, 4096);
  };
  expect(await openChanged(closed, spoil)).toEqual(identical);
});

test("R13 a damaged key slot is refused with its offset", async () => {
  const spoil = (dataDir: string) => garble(join(dataDir, "journal/keys"), 30, 4);
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/keys", '"offset":0'));
});

test("R14 a segment file that is missing and in use is refused", async () => {
  const lose = (dataDir: string) => rmSync(join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? ""));
  expect(await openChanged(unsettled, lose)).toEqual(error("CORRUPT", "journal/0"));
});

test("R15 a segment that was only just begun is empty", async () => {
  const unbegin = (dataDir: string) => {
    const [last] = liveSegments(dataDir).slice(-1);
    const next = `${Number(last?.name) + 1}`.padStart(4, "0");
    const contents = Buffer.alloc(64 * 1024);
    writeFileSync(join(dataDir, "journal", next), contents);
    slotsOf(dataDir).copy(last?.name ?? "", next);
  };
  const outcome = await openChanged(unsettled, unbegin);
  // A copied slot is of another segment, so its key does not open: only a slot of its own is believed.
  expect(outcome).toEqual(error("CORRUPT", "journal/keys"));
  const headless = (dataDir: string) => {
    const [last] = liveSegments(dataDir).slice(-1);
    zero(join(dataDir, "journal", last?.name ?? ""), 0, 64 * 1024);
  };
  const lost = await openChanged(unsettled, headless);
  expect(lost.what).toContain("was acknowledged and is not there");
});

test("R16 a segment that has blocks and lost its header is refused", async () => {
  const spoil = (dataDir: string) =>
    garble(join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? ""), 0, 64);
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", '"offset":0'));
});

/** The last blocks of the journal: the marker behind everything, and the records before it. */
function lastBlocks(dataDir: string): { path: string; records: Block; marker: Block } {
  const name = liveSegments(dataDir).at(-1)?.name ?? "";
  const path = join(dataDir, "journal", name);
  const [records, marker] = blocksOf(path).slice(-2);
  if (records === undefined || marker === undefined) throw new Error("the sample has no two blocks");
  return { path, records, marker };
}

test("R17 a torn write at the end was never acknowledged, and the journal ends before it", async () => {
  const tear = (dataDir: string) => {
    const { path, marker } = lastBlocks(dataDir);
    garble(path, marker.offset + 40, 16);
  };
  expect(await openChanged(unsettled, tear)).toEqual(identical);
});

test("R18 a bad block with a good one behind it is refused with its offset", async () => {
  const spoil = (dataDir: string) => {
    const name = liveSegments(dataDir)[0]?.name ?? "";
    const [, second] = blocksOf(join(dataDir, "journal", name));
    garble(join(dataDir, "journal", name), (second?.offset ?? 0) + 70, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R19 a bad block at the end of a segment that another one follows is refused", async () => {
  const spoil = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    garble(path, (blocksOf(path).at(-1)?.offset ?? 0) + 70, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R20 a segment that is missing between two others is refused", async () => {
  const lose = (dataDir: string) => slotsOf(dataDir).clear(liveSegments(dataDir)[1]?.name ?? "");
  expect(liveSegments(join(unsettled.home, "data")).length).toBeGreaterThan(2);
  expect(await openChanged(unsettled, lose)).toEqual(error("CORRUPT", "journal/0"));
});

test("R21 behind a marker, damage to the last acknowledged record is told from a torn write", async () => {
  const spoil = (dataDir: string) => {
    const { path, records } = lastBlocks(dataDir);
    garble(path, records.offset + 70, 1);
  };
  expect(await openChanged(unsettled, spoil)).toEqual(error("CORRUPT", "journal/0", "offset"));
});

test("R22 before the marker, damage to the last acknowledged record is taken for a torn write", async () => {
  expect(limits.idleMarkerMs).toBe(50);
  const spoil = (dataDir: string) => {
    const { path, records, marker } = lastBlocks(dataDir);
    zero(path, marker.offset, 4096);
    garble(path, records.offset + 70, 1);
  };
  const outcome = await openChanged(unsettled, spoil);
  expect(outcome.kind).toBe("silent");
  expect(outcome.what).toContain("was acknowledged and is not there");
});

test('R23 under durability "os" the journal ends at the first bad block, whatever is behind it', async () => {
  const sample = await makeSample(seed, "unsettled", { durability: "os" });
  const spoil = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    garble(path, (blocksOf(path)[2]?.offset ?? 0) + 70, 1);
  };
  const outcome = await openChanged(sample, spoil, { durability: "os" });
  rmSync(sample.home, { recursive: true });
  expect(outcome.what).toContain("was acknowledged and is not there");
});

test("R24 a segment that is shorter than its header says is refused", async () => {
  const cut = (dataDir: string) => {
    const path = join(dataDir, "journal", liveSegments(dataDir)[0]?.name ?? "");
    writeFileSync(path, readFileSync(path).subarray(0, 40_960));
  };
  expect(await openChanged(unsettled, cut)).toEqual(error("CORRUPT", "journal/0"));
});

test("R25 what the shards do not have yet is settled before anything is served", async () => {
  expect(await openChanged(unsettled, () => {})).toEqual(identical);
});

test("R26 names that a power failure took are named again", async () => {
  const lose = (dataDir: string) => {
    for (const shard of ["000", "001", "002"]) rmSync(join(dataDir, "shards", shard, "names.db-wal"));
  };
  expect(await openChanged(unchecked, lose)).toEqual(identical);
});

test("R27 runs that a power failure took are settled again", async () => {
  const lose = (dataDir: string) => {
    for (const shard of ["000", "001", "002"]) rmSync(join(dataDir, "shards", shard, "runs.db-wal"));
  };
  expect(await openChanged(unchecked, lose)).toEqual(identical);
});

/** Of a shard only the vault is as it was: its databases are as new. */
function loseWals(dataDir: string): void {
  for (const shard of readdirSync(join(dataDir, "shards"))) {
    for (const name of ["runs.db-wal", "names.db-wal"]) rmSync(join(dataDir, "shards", shard, name));
  }
}

test("R28 keys whose entities were not named yet are taken as they are", async () => {
  expect(await openChanged(unchecked, loseWals)).toEqual(identical);
});

test("R29 a torn key slot of an entity that was not named yet is made anew", async () => {
  const tear = (dataDir: string) => {
    loseWals(dataDir);
    garble(join(dataDir, "shards/000/vault"), 4096, 40);
  };
  expect(await openChanged(unchecked, tear)).toEqual(identical);
});

test("R30 a damaged key slot of an entity that is there is refused, with file and offset, when it is read", async () => {
  const spoil = (dataDir: string) => garble(join(dataDir, "shards/000/vault"), 4096 + 20, 1);
  expect(await openChanged(closed, spoil)).toEqual(error("CORRUPT", "vault", '"offset":4096'));
});

test("R31 a shard that went back to an older state than the journal begins with is refused", async () => {
  const goBack = (dataDir: string) => {
    const shard = join(dataDir, "shards/000");
    for (const name of readdirSync(shard)) if (!name.startsWith("vault")) rmSync(join(shard, name));
    for (const name of ["runs.db", "names.db"])
      cpSync(join(used.home, "before/shards/000", name), join(shard, name));
  };
  expect(await openChanged(used, () => {})).toEqual(identical);
  expect(await openChanged(used, goBack)).toEqual(error("CORRUPT", '"shard":0'));
});

test("R32 filters that are missing or damaged are built again", async () => {
  const lose = (dataDir: string) => {
    for (const shard of ["000", "001"]) rmSync(join(dataDir, "shards", shard, "ids.filter"), { force: true });
    garble(join(dataDir, "shards/002/ids.filter"), 100, 8);
    garble(join(dataDir, "shards/002/keys.filter"), 100, 8);
  };
  expect(await openChanged(closed, lose)).toEqual(identical);
});

test("R33 a shard that lost a file is refused", async () => {
  for (const name of ["runs.db", "names.db", "vault"]) {
    expect(await openChanged(closed, remove(`shards/001/${name}`))).toEqual(error("CORRUPT", name));
  }
});

test("R34 a database that lost its tables is refused, never made anew", async () => {
  for (const name of ["runs.db", "names.db"]) {
    const empty = (dataDir: string) => writeFileSync(join(dataDir, "shards/001", name), "");
    expect(await openChanged(closed, empty)).toEqual(error("CORRUPT", name));
  }
});

test("R35 the files of another shard are refused", async () => {
  for (const name of ["runs.db", "names.db", "vault"]) {
    const swap = (dataDir: string) => {
      const [one, other] = [join(dataDir, "shards/000", name), join(dataDir, "shards/001", name)];
      renameSync(one, `${one}.kept`);
      renameSync(other, one);
      renameSync(`${one}.kept`, other);
    };
    expect(await openChanged(closed, swap)).toEqual(error("CONFIG_MISMATCH", name));
  }
});

test("R36 files that were being made and have no name yet are ignored", async () => {
  const leave = (dataDir: string) => {
    for (const file of ["warp.json.new", "keyring.json.new", "journal/0003.new", "shards/000/vault.new"]) {
      writeFileSync(join(dataDir, file), "half");
    }
  };
  expect(await openChanged(unsettled, leave)).toEqual(identical);
});

test("R37 other settings than the directory was made with are refused", async () => {
  expect(await openChanged(closed, () => {}, { shards: 4 })).toEqual(error("CONFIG_MISMATCH"));
  expect(await openChanged(closed, () => {}, { context: "other" })).toEqual(error("CONFIG_MISMATCH"));
});

test("the table of docs/recovery.md and the tests of this file have the same rows", () => {
  const labels = (file: string, pattern: RegExp) =>
    [...readFileSync(file, "utf8").matchAll(pattern)].map((match) => match[1]);
  const rows = labels(join(import.meta.dir, "../docs/recovery.md"), /^\| (R\d+) \|/gm);
  expect(labels(import.meta.path, /^test\(["'](R\d+) /gm)).toEqual(rows);
});
