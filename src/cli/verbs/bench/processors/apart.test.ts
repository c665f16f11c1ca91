import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { allowedProcessors } from "../../../../core/processors.ts";
import { keepApart } from "./apart.ts";

const isApart = allowedProcessors().length > 1;

test("another process and this one are kept apart, until this one is let go", async () => {
  const other = Bun.spawn([process.execPath, "-e", "await Bun.stdin.text()"], { stdin: "pipe" });
  try {
    if (!isApart) {
      expect(() => keepApart(other.pid)).toThrow("two processors");
      return;
    }
    const allowed = allowedProcessors();
    const release = keepApart(other.pid);
    const ofOther = readFileSync(`/proc/${other.pid}/status`, "utf8");
    expect(ofOther).toMatch(new RegExp(`^Cpus_allowed_list:\\s*${allowed[0]}$`, "m"));
    expect(allowedProcessors()).toEqual(allowed.slice(-1));
    release();
    expect(allowedProcessors()).toEqual(allowed);
  } finally {
    await other.stdin.end();
    await other.exited;
  }
});
