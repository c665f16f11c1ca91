import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WarpError } from "./errors.ts";
import { openKeyring } from "./keyring.ts";

const base = mkdtempSync(join(tmpdir(), "warp-keyring-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;
const freshDir = () => join(base, String(++count));

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof WarpError ? error.code : String(error);
  }
  return "no error";
}

describe("the keyring", () => {
  test("of a new directory gets a root key file that only the owner reads, and one period", () => {
    const dataDir = freshDir();
    const keyring = openKeyring({ dataDir, context: "banking", create: true });
    expect(keyring.current.period).toBe(1);
    expect(keyring.keyOf(1)).toEqual(keyring.current.key);
    expect(keyring.keyOf(2)).toBeUndefined();
    expect(statSync(join(dataDir, "root.key")).mode & 0o777).toBe(0o600);
    expect(statSync(join(dataDir, "keyring.json")).mode & 0o777).toBe(0o600);
  });

  test("opens again with the same period keys", () => {
    const dataDir = freshDir();
    const first = openKeyring({ dataDir, context: "banking", create: true });
    const again = openKeyring({ dataDir, context: "banking", create: false });
    expect(again.current).toEqual(first.current);
    expect(openKeyring({ dataDir, context: "banking", create: true }).current).toEqual(first.current);
  });

  test("holds no key that is not wrapped", () => {
    const dataDir = freshDir();
    const { current } = openKeyring({ dataDir, context: "banking", create: true });
    const file = readFileSync(join(dataDir, "keyring.json"));
    const wrapped = Buffer.from(JSON.parse(file.toString()).periods[0].wrapped, "base64");
    for (const bytes of [file, wrapped]) expect(bytes.includes(Buffer.from(current.key))).toBe(false);
  });

  test("takes the root key from a file, an environment variable or a command, as base64 or hex", () => {
    const key = Buffer.alloc(32, 0xa7);
    const dataDir = freshDir();
    const made = openKeyring({
      dataDir,
      context: "c",
      create: true,
      rootKey: { command: `echo ${key.toString("hex")}` },
    });
    expect(existsSync(join(dataDir, "root.key"))).toBe(false);
    writeFileSync(join(dataDir, "mine"), `${key.toString("base64")}\n`);
    process.env.WARP_TEST_ROOT_KEY = key.toString("base64url");
    for (const rootKey of [
      { file: "mine" },
      { file: join(dataDir, "mine") },
      { env: "WARP_TEST_ROOT_KEY" },
    ]) {
      expect(openKeyring({ dataDir, context: "c", create: false, rootKey }).current).toEqual(made.current);
    }
    delete process.env.WARP_TEST_ROOT_KEY;
  });

  test("with a wrong root key, another context or a key that is no key is ROOT_KEY_WRONG", () => {
    const dataDir = freshDir();
    openKeyring({ dataDir, context: "banking", create: true });
    const rootKey = { command: `echo ${Buffer.alloc(32, 1).toString("hex")}` };
    expect(codeOf(() => openKeyring({ dataDir, context: "banking", create: false, rootKey }))).toBe(
      "ROOT_KEY_WRONG",
    );
    expect(codeOf(() => openKeyring({ dataDir, context: "other", create: false }))).toBe("ROOT_KEY_WRONG");
    const short = { command: "echo c2hvcnQ=" };
    expect(codeOf(() => openKeyring({ dataDir, context: "banking", create: false, rootKey: short }))).toBe(
      "ROOT_KEY_WRONG",
    );
  });

  test("of an existing directory is never made anew: a missing part is ROOT_KEY_MISSING", () => {
    const dataDir = freshDir();
    const options = { dataDir, context: "banking", create: false };
    expect(codeOf(() => openKeyring(options))).toBe("ROOT_KEY_MISSING");
    expect(existsSync(dataDir)).toBe(false);
    openKeyring({ ...options, create: true });
    rmSync(join(dataDir, "root.key"));
    expect(codeOf(() => openKeyring(options))).toBe("ROOT_KEY_MISSING");
    expect(codeOf(() => openKeyring({ ...options, create: true }))).toBe("ROOT_KEY_MISSING");
    expect(existsSync(join(dataDir, "root.key"))).toBe(false);
    expect(codeOf(() => openKeyring({ ...options, rootKey: { env: "WARP_TEST_NOT_SET" } }))).toBe(
      "ROOT_KEY_MISSING",
    );
    expect(codeOf(() => openKeyring({ ...options, rootKey: { command: "exit 3" } }))).toBe(
      "ROOT_KEY_MISSING",
    );
  });

  test("of another format or a damaged one is refused and left alone", () => {
    const dataDir = freshDir();
    openKeyring({ dataDir, context: "c", create: true });
    const path = join(dataDir, "keyring.json");
    const whole = readFileSync(path, "utf8");
    for (const [text, code] of [
      [whole.replace('"format": 1', '"format": 2'), "FORMAT_UNSUPPORTED"],
      [whole.slice(0, -20), "CORRUPT"],
      ['{"format": 1, "periods": []}', "CORRUPT"],
      ["null", "CORRUPT"],
    ] as const) {
      writeFileSync(path, text);
      expect(codeOf(() => openKeyring({ dataDir, context: "c", create: true }))).toBe(code);
      expect(readFileSync(path, "utf8")).toBe(text);
    }
  });
});
