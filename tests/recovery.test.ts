/**
 * The rows of the table in docs/recovery.md but for those of the journal, which are in recovery-journal.test.ts: what a start
 * finds, and what follows. A test's name begins with its row's label.
 */
import { Database } from "bun:sqlite";
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
import { checkDirectory, start, WarpError } from "../src/index.ts";
import { loadSettings } from "./crash/settings.ts";
import { error, identical } from "./faults/expected.ts";
import { loadInto, makeSample, openChanged, type Sample } from "./faults/flips.ts";
import { garble, liveSegments, slotsOf } from "./faults/journal-files.ts";

const seed = 20_261_122;
let closed: Sample;
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
});

afterAll(() => {
  for (const { home } of [closed, unsettled, unchecked, used]) rmSync(home, { recursive: true });
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
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  await (await start(loadSettings(join(home, "data")))).close();
  const interrupt = (dataDir: string) => {
    writeFileSync(join(dataDir, "warp.json"), text(dataDir, "warp.json").replace('"ready"', '"creating"'));
    for (const name of ["runs.db", "names.db", "ledger", "vault"]) rmSync(join(dataDir, "shards/002", name));
    rmSync(join(dataDir, "shards/001/vault"));
    rmSync(join(dataDir, "journal/keys"));
  };
  expect(await openChanged({ home, lines: [] }, interrupt)).toEqual(identical);
  const interruptEarly = (dataDir: string) => {
    interrupt(dataDir);
    for (const name of ["shards", "journal", "keyring.json"])
      rmSync(join(dataDir, name), { recursive: true });
  };
  expect(await openChanged({ home, lines: [] }, interruptEarly)).toEqual(identical);
  rmSync(home, { recursive: true });
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

test("R25 what the shards do not have yet is served from memory, and settled", async () => {
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
    for (const name of ["runs.db", "names.db", "ledger"])
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
  for (const name of ["runs.db", "names.db", "ledger", "vault"]) {
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
  for (const name of ["runs.db", "names.db", "ledger", "vault"]) {
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

test("R38 while another process keeps a WAL from being copied, nothing of the journal is let go", async () => {
  const copy = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(copy, "data");
  cpSync(join(unchecked.home, "data"), dataDir, { recursive: true });
  const release = holdWal(join(dataDir, "shards/001/runs.db"));
  const former = liveSegments(dataDir).map(({ name }) => name);
  expect(former.length).toBeGreaterThan(0);
  const live = () => new Set(liveSegments(dataDir).map(({ name }) => name));
  const warp = await start(loadSettings(dataDir));
  const tidy = warp.whenTidy();
  // The writer has asked several times for the WAL by then.
  expect(await Promise.race([tidy, Bun.sleep(1000).then(() => "it waits")])).toBe("it waits");
  expect(former.filter((name) => !live().has(name))).toEqual([]);
  release();
  await tidy;
  expect(former.filter((name) => live().has(name))).toEqual([]);
  await warp.close();
  expect(await openChanged({ home: copy, lines: unchecked.lines }, () => {})).toEqual(identical);
  rmSync(copy, { recursive: true });
});

test("a context ends while another process keeps a WAL from being copied, and the journal keeps what the WAL has", async () => {
  const copy = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(copy, "data");
  cpSync(join(unchecked.home, "data"), dataDir, { recursive: true });
  const release = holdWal(join(dataDir, "shards/001/runs.db"));
  const former = liveSegments(dataDir).map(({ name }) => name);
  const warp = await start(loadSettings(dataDir));
  const tidy = codeOf(() => warp.whenTidy());
  await warp.close();
  expect(await Promise.race([tidy, Bun.sleep(5000)])).toBe("CLOSED");
  const left = new Set(liveSegments(dataDir).map(({ name }) => name));
  expect(former.filter((name) => !left.has(name))).toEqual([]);
  release();
  expect(await openChanged({ home: copy, lines: unchecked.lines }, () => {})).toEqual(identical);
  rmSync(copy, { recursive: true });
}, 120_000);

test("R39 a directory that was made and has no journal yet gets one", async () => {
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  await (await start(loadSettings(join(home, "data")))).close();
  const undo = (dataDir: string) => {
    for (const name of readdirSync(join(dataDir, "journal"))) {
      const file = join(dataDir, "journal", name);
      if (name === "keys") writeFileSync(file, Buffer.alloc(readFileSync(file).length));
      else rmSync(file);
    }
  };
  expect(await openChanged({ home, lines: [] }, undo)).toEqual(identical);
  rmSync(home, { recursive: true });
});

test("R40 what several lives left in the journal is replayed, one after the other", async () => {
  const home = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(home, "data");
  cpSync(join(unsettled.home, "data"), dataDir, { recursive: true });
  const names = () => liveSegments(dataDir).map(({ name }) => name);
  const former = names();
  // Who reads an older state keeps what the second life settles out of main files, and so the segments of the first.
  const reader = new Database(join(dataDir, "shards/001/runs.db"), { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM runs").get();
  const order = { dataDir, seed: seed + 2, callers: 10, operations: 300, run: "v", lingers: true };
  const lines = [...unsettled.lines, ...(await loadInto(home, { ...order, isUnsettled: true }))];
  reader.close();
  expect(names().slice(0, former.length)).toEqual(former);
  expect(names().length).toBeGreaterThan(former.length);
  expect(await openChanged({ home, lines }, () => {})).toEqual(identical);
  rmSync(home, { recursive: true });
}, 300_000);

test("R42 a journal that cannot be kept is not let go while another process keeps a WAL from being copied", async () => {
  const sample = await makeSample(seed, "unchecked", { durability: "os" });
  const dataDir = join(sample.home, "data");
  const release = holdWal(join(dataDir, "shards/001/runs.db"));
  expect(await codeOf(() => start({ ...loadSettings(dataDir), durability: "os" }))).toBe("DIRECTORY_LOCKED");
  release();
  expect(await openChanged(sample, () => {}, { durability: "os" })).toEqual(identical);
  rmSync(sample.home, { recursive: true });
});

test("R43 a journal that ends before what the shards have settled is let go before anything is served", async () => {
  const copy = mkdtempSync(join(tmpdir(), "warp-recovery-"));
  const dataDir = join(copy, "data");
  cpSync(join(unchecked.home, "data"), dataDir, { recursive: true });
  const former = liveSegments(dataDir).map(({ name }) => name);
  expect(former.length).toBeGreaterThan(2);
  slotsOf(dataDir).clear(former.at(-1) ?? "");
  const release = holdWal(join(dataDir, "shards/001/runs.db"));
  expect(await codeOf(() => start(loadSettings(dataDir)))).toBe("DIRECTORY_LOCKED");
  release();
  const order = { dataDir, seed: seed + 3, callers: 10, operations: 100, run: "w", lingers: true };
  const lines = [...unchecked.lines, ...(await loadInto(copy, { ...order, isUnsettled: true }))];
  expect(await openChanged({ home: copy, lines }, () => {})).toEqual(identical);
  rmSync(copy, { recursive: true });
});

test("R44 a damaged list of targets is refused, and check finds it", async () => {
  for (const content of ["{", "7", "{}", '{"format":1}', '{"format":1,"targets":[{"target":"there"}]}']) {
    const garbled = (dataDir: string) => writeFileSync(join(dataDir, "backups.json"), content);
    expect(await openChanged(closed, garbled)).toEqual(error("CORRUPT", "backups.json"));
    const copy = join(mkdtempSync(join(tmpdir(), "warp-targets-")), "data");
    cpSync(join(closed.home, "data"), copy, { recursive: true });
    garbled(copy);
    expect([...checkDirectory({ dataDir: copy })]).toMatchObject([
      { severity: "damage", file: "backups.json" },
    ]);
    rmSync(join(copy, ".."), { recursive: true });
  }
});

/** As another process does that reads an older state: nothing behind it is copied until this is called. */
function holdWal(path: string): () => void {
  const reader = new Database(path, { readonly: true });
  reader.run("BEGIN");
  reader.query("SELECT count(*) FROM runs").get();
  // Behind what the reader sees: a WAL is copied up to its oldest reader at most.
  const writer = new Database(path);
  const { user_version: version } = writer
    .query<{ user_version: number }, []>("PRAGMA user_version")
    .get() ?? { user_version: 0 };
  writer.run(`PRAGMA user_version = ${version}`);
  return () => {
    reader.close();
    writer.close();
  };
}

test("the table of docs/recovery.md and the tests have the same rows", () => {
  const labels = (file: string, pattern: RegExp) =>
    [...readFileSync(join(import.meta.dir, file), "utf8").matchAll(pattern)].map((match) => match[1] ?? "");
  const rows = labels("../docs/recovery.md", /^\| (R\d+) \|/gm);
  const tests = ["recovery.test.ts", "recovery-journal.test.ts"].flatMap((file) =>
    labels(file, /^test\(["'](R\d+) /gm),
  );
  const inOrder = tests.sort((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
  expect(inOrder).toEqual(rows);
});
