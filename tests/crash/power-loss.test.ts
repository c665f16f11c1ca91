import { expect, test } from "bun:test";
import { failPower } from "./power-loss.ts";
import { effort, printedSeed } from "./seeded.ts";
import { whyNoTrace } from "./trace.ts";

const reason = whyNoTrace();

/** Without strace nothing can be proved here; the run says so in its output and in the test's name. */
function powerTest(name: string, work: () => Promise<void>): void {
  if (reason === undefined) test(name, work, 600_000);
  else
    test(`DID NOT RUN (${reason}): ${name}`, () => console.warn(`\nPOWER LOSS WAS NOT TESTED: ${reason}\n`));
}

powerTest(
  "after a power failure every acknowledged append is there, in a directory in use and in a new one",
  async () => {
    const seed = printedSeed();
    for (const isUsed of [true, false]) {
      const result = await failPower({ seed, states: effort(6), durability: "fsync", isUsed });
      expect(result.complaints).toEqual([]);
      expect(result.lost).toBe(0);
    }
  },
);

powerTest(
  'under durability "os" a power failure loses appends, which shows that this test can see it, and damages nothing',
  async () => {
    const seed = printedSeed();
    let lost = 0;
    for (let round = 0; round < 3 && lost === 0; round++) {
      const result = await failPower({
        seed: seed + round,
        states: effort(6),
        durability: "os",
        isUsed: true,
      });
      expect(result.complaints).toEqual([]);
      lost += result.lost;
    }
    expect(lost).toBeGreaterThan(0);
  },
);
