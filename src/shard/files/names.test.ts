import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { WarpError } from "../../core/errors.ts";
import { sampleDirectory } from "../sample.ts";
import { endOfPrefix, Names } from "./names.ts";

const base = sampleDirectory();
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

function freshNames(ids: readonly string[] = []): Names {
  const directory = join(base, String(++count));
  mkdirSync(directory);
  const names = Names.open({ directory, shard: 0, access: "write", durability: "fsync", cacheBytes: 1e6 });
  names.settle(ids.length, ids.length + 1, ({ insert }) => {
    for (const [i, id] of ids.entries()) insert.run(i + 1, Buffer.from(id));
  });
  return names;
}

const exotic = [
  "a",
  "A",
  "ab",
  "a%",
  "a_b",
  "a\u007f",
  "aÿ",
  "a\u0800",
  "a￿",
  "a😀",
  "a\u{10ffff}",
  "a\u{10ffff}\u{10ffff}",
  "b",
  "á",
  "a\u0301",
  "\u{10ffff}",
  "\u{10ffff}x",
  "￾",
  "'; DROP TABLE names; --",
  " ",
  "\u0001",
  "ß",
  "ss",
  "İ",
  "i",
];

describe("names", () => {
  test("are listed in the order of their UTF-8 bytes, whatever they are made of", () => {
    const names = freshNames(exotic);
    const sorted = exotic.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    const listed = names.list("", undefined, 1000).map(({ id }) => Buffer.from(id).toString());
    expect(listed).toEqual(sorted);
    names.close();
  });

  test("with a prefix are those that begin with its bytes, page by page", () => {
    const names = freshNames(exotic);
    const sorted = exotic.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    for (const prefix of ["a", "A", "a%", "a_", "a\u{10ffff}", "\u{10ffff}", "a￿", "ab", "zz", "ß"]) {
      const expected = sorted.filter((id) => id.startsWith(prefix));
      const listed: string[] = [];
      for (let after: string | undefined; ; after = listed.at(-1)) {
        const page = names.list(prefix, after, 2);
        listed.push(...page.map(({ id }) => Buffer.from(id).toString()));
        if (page.length < 2) break;
      }
      expect(listed).toEqual(expected);
    }
    names.close();
  });

  test("after an id begin behind it, even when it is not there or before the prefix", () => {
    const names = freshNames(["a", "b", "ba", "bb", "c"]);
    const list = (prefix: string, after: string) =>
      names.list(prefix, after, 10).map(({ id }) => Buffer.from(id).toString());
    expect(list("", "b")).toEqual(["ba", "bb", "c"]);
    expect(list("b", "a")).toEqual(["b", "ba", "bb"]);
    expect(list("b", "b0")).toEqual(["ba", "bb"]);
    expect(list("b", "z")).toEqual([]);
    names.close();
  });

  test("are found by exactly their bytes", () => {
    const names = freshNames(exotic);
    for (const [i, id] of exotic.entries()) expect(names.find(id)).toBe(i + 1);
    for (const id of ["aB", "AB", "", "a ", "é"]) expect(names.find(id)).toBeUndefined();
    names.close();
  });

  test("cannot be given twice, and a failed transaction leaves nothing of itself", () => {
    const names = freshNames(["a"]);
    const twice = () =>
      names.settle(9, 9, ({ insert }) => {
        insert.run(2, Buffer.from("b"));
        insert.run(3, Buffer.from("a"));
      });
    expect(twice).toThrow(WarpError);
    expect(names.namedPosition).toBe(1);
    expect(names.find("b")).toBeUndefined();
    names.settle(2, 3, ({ insert }) => insert.run(2, Buffer.from("b")));
    expect(names.find("b")).toBe(2);
    names.close();
  });

  test("that are released while somebody reads an older state are gone when that ends", () => {
    const names = freshNames(["alice-who-goes", "bob"]);
    names.settle(3, 3, ({ erase }) => erase(1, Buffer.from("alice-who-goes"), 3));
    const reader = new Database(names.path, { readonly: true });
    reader.run("BEGIN");
    reader.query("SELECT count(*) FROM names").get();
    expect(names.release([1])).toBe(false);
    const grown = statSync(`${names.path}-wal`).size;
    expect(names.release([1])).toBe(false);
    expect(statSync(`${names.path}-wal`).size).toBe(grown);
    reader.close();
    expect(names.release([1])).toBe(true);
    for (const file of [names.path, `${names.path}-wal`])
      expect(readFileSync(file).includes("alice-who-goes")).toBe(false);
    expect(names.erasing(1)).toBeUndefined();
    names.close();
  });

  test("that are released leave nothing, also where something else is in the file that spans pages", () => {
    const ids = Array.from({ length: 3000 }, (_, i) => `${((i * 7919) % 3000).toString(36)}-somebody-${i}-`);
    const names = freshNames(ids);
    const other = new Database(names.path);
    other.run("CREATE TABLE other (text TEXT)");
    other.query("INSERT INTO other VALUES (?)").run("y".repeat(50_000));
    other.close();
    const gone = Array.from({ length: 300 }, (_, i) => i * 10 + 1);
    names.settle(3001, 3001, ({ erase }) => {
      for (const number of gone) erase(number, Buffer.from(ids[number - 1] ?? ""), 3001);
    });
    expect(names.release(gone)).toBe(true);
    const bytes = readFileSync(names.path);
    expect(gone.filter((number) => bytes.includes(`-somebody-${number - 1}-`))).toEqual([]);
    expect(names.count).toBe(2700);
    names.close();
  });

  test("know the end of a prefix, also when its last bytes are the highest", () => {
    expect(endOfPrefix(Buffer.from("ab"))).toEqual(Buffer.from("ac"));
    expect(endOfPrefix(Buffer.from([1, 0xff, 0xff]))).toEqual(Buffer.from([2]));
    expect(endOfPrefix(Buffer.from([0xff]))).toBeUndefined();
    expect(endOfPrefix(Buffer.alloc(0))).toBeUndefined();
  });
});
