import { afterAll, describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DirectoryRequest, type Identity, openDataDirectory, readIdentity } from "./data-directory.ts";
import { WarpError } from "./errors.ts";

const base = mkdtempSync(join(tmpdir(), "warp-directory-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;
const freshPath = () => join(base, String(++count), "deep", "data");

const request = (path: string, change: Partial<DirectoryRequest> = {}): DirectoryRequest => ({
  path,
  context: undefined,
  shards: undefined,
  create: true,
  ...change,
});

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    return thrown instanceof WarpError ? thrown.code : String(thrown);
  }
  return "no error";
}

function made(): string {
  const path = freshPath();
  const directory = openDataDirectory(request(path, { context: "banking", shards: 4 }));
  directory.markReady();
  directory.unlock();
  return path;
}

describe("a data directory", () => {
  test("is begun with an identity of its own, and says when it is complete", () => {
    const path = freshPath();
    const directory = openDataDirectory(request(path));
    expect(directory.identity).toMatchObject({
      format: 1,
      state: "creating",
      context: "default",
      shards: 16,
    });
    expect(readIdentity(path).state).toBe("creating");
    directory.markReady();
    directory.unlock();
    const again = openDataDirectory(request(path));
    expect(again.identity).toEqual({ ...directory.identity, state: "ready" });
    again.unlock();
    const other = openDataDirectory(request(freshPath()));
    expect(other.identity.nodeId).not.toBe(directory.identity.nodeId);
    expect(other.identity.incarnation).not.toBe(directory.identity.incarnation);
    other.unlock();
  });

  test("that was not finished is gone on with", () => {
    const path = freshPath();
    const first = openDataDirectory(request(path, { shards: 3 }));
    first.unlock();
    const again = openDataDirectory(request(path));
    expect(again.identity).toEqual(first.identity);
    again.unlock();
  });

  test("is held by one at a time, and free again after a refusal", () => {
    const path = made();
    const held = openDataDirectory(request(path));
    expect(codeOf(() => openDataDirectory(request(path)))).toBe("DIRECTORY_LOCKED");
    held.unlock();
    expect(codeOf(() => openDataDirectory(request(path, { shards: 5 })))).toBe("CONFIG_MISMATCH");
    expect(codeOf(() => openDataDirectory(request(path, { context: "other" })))).toBe("CONFIG_MISMATCH");
    const again = openDataDirectory(request(path, { shards: 4, context: "banking" }));
    again.unlock();
  });

  test("that another process makes, and lets go, between the look and the lock stays as it was made", () => {
    const path = freshPath();
    const mkdir = fs.mkdirSync;
    const made: Identity[] = [];
    const hook = spyOn(fs, "mkdirSync").mockImplementation((directory, options) => {
      hook.mockRestore();
      const other = openDataDirectory(request(path, { context: "banking", shards: 4 }));
      other.markReady();
      mkdir(join(path, "journal"));
      other.unlock();
      made.push(readIdentity(path));
      return mkdir(directory, options);
    });
    const directory = openDataDirectory(request(path));
    expect(made).toMatchObject([{ state: "ready", shards: 4 }]);
    expect([directory.identity]).toEqual(made);
    directory.unlock();
    expect([readIdentity(path)]).toEqual(made);
  });

  test("refuses impossible shards and contexts, and leaves nothing that looks like one", () => {
    for (const change of [
      { shards: 0 },
      { shards: 257 },
      { shards: 1.5 },
      { context: "" },
      { context: "a/b" },
    ]) {
      const path = freshPath();
      expect(codeOf(() => openDataDirectory(request(path, change)))).toBe("INVALID_ARGUMENT");
      expect(existsSync(join(path, "warp.json"))).toBe(false);
    }
    expect(codeOf(() => openDataDirectory(request(freshPath(), { create: false })))).toBe("INVALID_ARGUMENT");
  });

  test("that lost its identity is CORRUPT and never made anew", () => {
    for (const remains of ["keyring.json", "journal", "shards"]) {
      const path = made();
      rmSync(join(path, "warp.json"));
      mkdirSync(join(path, remains));
      expect(codeOf(() => openDataDirectory(request(path)))).toBe("CORRUPT");
      expect(existsSync(join(path, "warp.json"))).toBe(false);
    }
  });

  test("with an identity that is damaged or of another format is refused and left alone", () => {
    const path = made();
    const file = join(path, "warp.json");
    const whole = readFileSync(file, "utf8");
    for (const [text, code] of [
      ["", "CORRUPT"],
      ["null", "CORRUPT"],
      [whole.slice(0, 30), "CORRUPT"],
      [whole.replace('"shards": 4', '"shards": "4"'), "CORRUPT"],
      [whole.replace('"format": 1', '"format": 2'), "FORMAT_UNSUPPORTED"],
    ] as const) {
      writeFileSync(file, text);
      expect(codeOf(() => openDataDirectory(request(path)))).toBe(code);
      expect(readFileSync(file, "utf8")).toBe(text);
    }
    writeFileSync(file, whole);
    const again = openDataDirectory(request(path));
    expect(again.identity.shards).toBe(4);
    again.unlock();
  });
});
