/**
 * docs/codes.md says of every code what it is, and of limits what they are.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { limits } from "../src/core/limits.ts";
import { errorCodes } from "../src/index.ts";

const page = readFileSync(join(import.meta.dir, "../docs/codes.md"), "utf8");
const [codes = "", limitsPart = ""] = page.split("\n## Limits\n");

test("the page has every code once, with its advice", () => {
  const rows = [...codes.matchAll(/^\| `([A-Z_]+)` \| (\w+) \|/gm)].map(([, code, advice]) => [code, advice]);
  expect(rows.sort()).toEqual(Object.entries(errorCodes).sort());
});

test("the limits on the page are those of the code", () => {
  const lines = limitsPart.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| what"));
  expect(lines.length).toBeGreaterThan(15);
  for (const line of lines) {
    const [, said = "", name = ""] = /\| ([^|]*) \| `(\w+)` \|$/.exec(line) ?? [];
    const value = limits[name as keyof typeof limits];
    const forms = [value?.toLocaleString("en"), `${value / 2 ** 20} MiB`];
    const [number = ""] = /^[\d,.]+(?: MiB)?/.exec(said) ?? [];
    expect(forms, line).toContain(number);
  }
});
