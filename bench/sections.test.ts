import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { partOf, writeSection } from "./sections.ts";

const directory = mkdtempSync(join(tmpdir(), "warp-sections-"));
const page = join(directory, "RESULTS.md");
afterEach(() => rmSync(page, { force: true }));
afterAll(() => rmSync(directory, { recursive: true }));
const read = () => readFileSync(page, "utf8");

describe("a page of several writers", () => {
  test("each replaces its own part and leaves those of the others", () => {
    writeSection("scenarios", "warp alone", page);
    writeSection("peers", "beside others", page);
    writeSection("scenarios", "warp alone, again", page);
    expect(partOf(read(), "peers")).toBe("beside others");
    expect(partOf(read(), "scenarios")).toBe("warp alone, again");
    expect(read()).not.toContain("warp alone\n");
  });

  test("parts stand in one order, whoever wrote first", () => {
    writeSection("flat", "flat", page);
    writeSection("peers", "peers", page);
    expect(read().indexOf("peers begins")).toBeLessThan(read().indexOf("flat begins"));
  });

  test("a page without marks has no parts, and its text is replaced", () => {
    writeFileSync(page, "# before\n");
    expect(partOf(read(), "peers")).toBeUndefined();
    writeSection("peers", "new", page);
    expect(read()).not.toContain("# before");
  });
});
