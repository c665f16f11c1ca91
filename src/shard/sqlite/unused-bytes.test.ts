/**
 * Files of random histories: rows come and go, pages split and merge. What was removed must be nowhere in the file, and what was not
 * must be there as it was.
 */
import { Database } from "bun:sqlite";
import { afterAll, describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../../cli/verbs/bench/random.ts";
import { sampleDirectory } from "../sample.ts";
import { checkpoint, openDatabase, pageBytes } from "./database.ts";
import { UnusedBytes } from "./unused-bytes.ts";

const base = sampleDirectory();
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

interface Sample {
  readonly path: string;
  readonly database: Database;
  /** Texts of the rows that are there, by number. */
  readonly rows: Map<number, string>;
  readonly removed: number[];
}

/** Random rows come and go, in transactions; some of the texts are long. */
function randomFile(
  random: Random,
  { transactions, longest }: { transactions: number; longest: number },
): Sample {
  const directory = join(base, String(++count));
  mkdirSync(directory);
  const path = join(directory, "sample.db");
  const database = openDatabase(path, { access: "write", synchronous: "NORMAL", cacheBytes: 1e6 });
  database.run("PRAGMA secure_delete = ON");
  database.run("CREATE TABLE sample (number INTEGER PRIMARY KEY, text BLOB NOT NULL UNIQUE) STRICT");
  const insert = database.query("INSERT INTO sample VALUES (?, ?)");
  const remove = database.query("DELETE FROM sample WHERE number = ?");
  const rows = new Map<number, string>();
  const removed: number[] = [];
  let number = 0;
  for (let i = 0; i < transactions; i++) {
    database.run("BEGIN");
    const isGrowing = random.below(3) > 0;
    for (let j = 0; j < 200; j++) {
      if (isGrowing) {
        const length = random.below(4) === 0 ? random.below(longest) : random.below(20);
        const text = `${random.below(1e9).toString(36)}|${++number}|${"x".repeat(length)}`;
        insert.run(number, Buffer.from(text));
        rows.set(number, text);
      } else {
        const chosen = 1 + random.below(Math.max(1, number));
        if (!rows.delete(chosen)) continue;
        remove.run(chosen);
        removed.push(chosen);
      }
    }
    database.run("COMMIT");
    if (random.below(4) === 0) checkpoint(database, path, "TRUNCATE");
  }
  checkpoint(database, path, "TRUNCATE");
  return { path, database, rows, removed };
}

/** Numbers of removed rows whose texts stand in the file, in whole or but for their first bytes. */
function remainsIn({ path, removed }: Sample): number[] {
  const bytes = readFileSync(path).toString("latin1");
  const found = new Set(Array.from(bytes.matchAll(/\|(\d+)\|/g), ([, number]) => Number(number)));
  return removed.filter((number) => found.has(number));
}

function expectIntact({ path, rows }: Sample): void {
  const reader = new Database(path, { readonly: true });
  expect(reader.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
  const found = reader
    .query<{ number: number; text: Uint8Array }, []>("SELECT * FROM sample ORDER BY number")
    .all();
  expect(found.map(({ number, text }) => [number, Buffer.from(text).toString()])).toEqual(
    [...rows].toSorted(([one], [other]) => one - other),
  );
  reader.close();
}

describe("unused bytes", () => {
  test("hold nothing of removed rows when they were zeroed, and the file says what it said", () => {
    let before = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const sample = randomFile(new Random(seed), { transactions: 30, longest: 500 });
      before += remainsIn(sample).length;
      sample.database.close();
      const unused = new UnusedBytes(sample.path, pageBytes);
      expect(unused.zero()).toBe(true);
      unused.close();
      expect({ seed, remains: remainsIn(sample) }).toEqual({ seed, remains: [] });
      expectIntact(sample);
    }
    // Without it there is something to be found.
    expect(before).toBeGreaterThan(0);
  });

  test("stay zero when the file goes on growing, if SQLite keeps no page", () => {
    for (let seed = 1; seed <= 4; seed++) {
      const sample = randomFile(new Random(seed), { transactions: 20, longest: 200 });
      const { path, database, rows } = sample;
      database.query("SELECT sum(length(text)) FROM sample").get();
      database.run("PRAGMA shrink_memory");
      const unused = new UnusedBytes(path, pageBytes);
      expect(unused.zero()).toBe(true);
      // Touches every page.
      database.run("UPDATE sample SET number = -number");
      for (const [number, text] of [...rows]) {
        rows.delete(number);
        rows.set(-number, text);
      }
      checkpoint(database, path, "TRUNCATE");
      database.close();
      unused.close();
      expect({ seed, remains: remainsIn(sample) }).toEqual({ seed, remains: [] });
      expectIntact(sample);
    }
  });

  test("are zeroed in a file of many free pages, and in an empty one", () => {
    const sample = randomFile(new Random(99), { transactions: 40, longest: 500 });
    const { path, database, rows, removed } = sample;
    removed.push(...rows.keys());
    rows.clear();
    database.run("DELETE FROM sample");
    checkpoint(database, path, "TRUNCATE");
    const { size } = statSync(path);
    database.close();
    const unused = new UnusedBytes(path, pageBytes);
    expect(unused.zero()).toBe(true);
    unused.close();
    expect(statSync(path).size).toBe(size);
    expect(remainsIn(sample)).toEqual([]);
    expectIntact(sample);
  });

  test("that are zero already are synced too: whoever wrote them may have been killed before its sync", () => {
    const sample = randomFile(new Random(5), { transactions: 10, longest: 100 });
    sample.database.close();
    const sync = spyOn(fs, "fdatasyncSync");
    try {
      for (let starts = 1; starts <= 2; starts++) {
        const unused = new UnusedBytes(sample.path, pageBytes);
        expect(unused.zero()).toBe(true);
        unused.close();
        expect(sync).toHaveBeenCalledTimes(starts);
      }
    } finally {
      sync.mockRestore();
    }
  });

  test("are said not to be known where a row does not fit in its page, and the file stays as it is otherwise", () => {
    const sample = randomFile(new Random(7), { transactions: 20, longest: 20_000 });
    sample.database.close();
    const unused = new UnusedBytes(sample.path, pageBytes);
    expect(unused.zero()).toBe(false);
    unused.close();
    expectIntact(sample);
  });

  test("of a file that is not a database are an error, or not known", () => {
    const path = join(base, "absent.db");
    expect(() => new UnusedBytes(path, pageBytes).zero()).toThrow(/ENOENT|no such file/);
  });
});
