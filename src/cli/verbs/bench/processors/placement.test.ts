import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { allowedProcessors, keepApart, runOn } from "./placement.ts";

const isLinux = process.platform === "linux";
const isApart = isLinux && allowedProcessors().length > 1;

/** What the system says of this thread. How many processors it may use at once is another matter: a quota makes that fewer. */
function listedProcessors(): number[] {
  const list =
    /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/thread-self/status", "utf8"))?.[1] ?? "";
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

test("a thread runs on the processors it is given, and on all of them again", () => {
  const allowed = allowedProcessors();
  expect(allowed).toEqual(isLinux ? listedProcessors() : []);
  const one = allowed.slice(-1);
  expect(runOn(0, one)).toBe(isLinux);
  expect(allowedProcessors()).toEqual(one);
  expect(runOn(0, allowed)).toBe(isLinux);
  expect(allowedProcessors()).toEqual(allowed);
});

test("no thread runs on no processor", () => {
  const allowed = allowedProcessors();
  expect(runOn(0, [])).toBe(false);
  expect(allowedProcessors()).toEqual(allowed);
});

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
