import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { Aside } from "./aside.ts";
import { allowedProcessors, currentProcessor, currentThread, runOn } from "./processors.ts";

const isLinux = process.platform === "linux";

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

test("a thread knows its number and the processor that it is on", () => {
  expect(currentThread()).toBe(isLinux ? process.pid : 0);
  if (isLinux) expect(allowedProcessors()).toContain(currentProcessor());
});

test("threads leave a processor to the main thread, another one when it moves, and none when it rests", () => {
  const thread = currentThread();
  const allowed = allowedProcessors();
  const aside = new Aside(() => [0, thread]);
  for (const left of [...allowed, -1]) {
    aside.leave(left);
    const others = allowed.filter((one) => one !== left);
    expect(allowedProcessors()).toEqual(others.length === 0 ? allowed : others);
  }
});

test("a thread that was given processors from outside leaves out one of those alone", () => {
  const thread = currentThread();
  const allowed = allowedProcessors();
  const [first = -1] = allowed;
  const last = allowed.slice(-1);
  const aside = new Aside(() => [thread]);
  aside.leave(last[0] ?? -1);
  expect(runOn(thread, last)).toBe(isLinux);
  aside.leave(first);
  expect(allowedProcessors()).toEqual(last);
  aside.leave(-1);
  expect(allowedProcessors()).toEqual(last);
  expect(runOn(thread, allowed)).toBe(isLinux);
});
