import { expect, test } from "bun:test";
import { effort, printedSeed } from "../crash/seeded.ts";
import { whyNoTrace } from "../crash/trace.ts";
import { endBetweenCalls } from "./between-calls.ts";

const reason = whyNoTrace();
const name =
  "a process may end between any two calls of an erasure: the next start completes it, and nothing comes back";

/** Without strace nothing can be proved here; the run says so in its output and in the test's name. */
if (reason === undefined) {
  test(name, async () => {
    const { complaints, states, calls } = await endBetweenCalls(printedSeed(), effort(8));
    expect(complaints).toEqual([]);
    expect(states).toBe(Math.min(calls, effort(8)));
    expect(calls).toBeGreaterThan(50);
  }, 600_000);
} else {
  test(`DID NOT RUN (${reason}): ${name}`, () => console.warn(`\nNOT TESTED: ${reason}\n`));
}
