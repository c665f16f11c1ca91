import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WarpError } from "../../../core/errors.ts";
import { writeNewFile } from "./export.ts";

const folder = mkdtempSync(join(tmpdir(), "warp-export-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function* piecesOf(...texts: string[]): AsyncGenerator<string> {
  yield* texts;
}

test("an export is in a new file that only its owner reads", async () => {
  const path = join(folder, "new.ndjson");
  expect(await writeNewFile(path, piecesOf("é\n", "x".repeat(3_000_000), "end\n"))).toBe(3_000_007);
  expect(readFileSync(path, "utf8")).toBe(`é\n${"x".repeat(3_000_000)}end\n`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("an export leaves a file that is there as it is", async () => {
  const path = join(folder, "old.ndjson");
  writeFileSync(path, "old");
  // The pieces come from a disk too, so the file is found to exist while they are waited for.
  async function* slowly(): AsyncGenerator<string> {
    for (let i = 0; i < 20; i++) yield `${(await stat(path)).size}`;
  }
  const failed = writeNewFile(path, slowly());
  expect(failed).rejects.toMatchObject({ code: "IO_ERROR", details: { file: path, errno: "EEXIST" } });
  await failed.catch(() => undefined);
  expect(readFileSync(path, "utf8")).toBe("old");
});

test("an export that fails leaves no file behind", async () => {
  const path = join(folder, "failed.ndjson");
  async function* failing(): AsyncGenerator<string> {
    yield "alice\n";
    throw new WarpError("ERASED", "she was erased");
  }
  const failed = writeNewFile(path, failing());
  expect(failed).rejects.toMatchObject({ code: "ERASED" });
  await failed.catch(() => undefined);
  expect(existsSync(path)).toBe(false);
});
