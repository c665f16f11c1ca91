import { expect, test } from "bun:test";
import { effort, printedSeed } from "../crash/seeded.ts";
import { whyNoTrace } from "../crash/trace.ts";
import { failPowerBehindReceipts, ledgersAheadOfJournal } from "./power-loss.ts";

const reason = whyNoTrace();

/** Without strace nothing can be proved here; the run says so in its output and in the test's name. */
function powerTest(name: string, work: () => Promise<void>): void {
  if (reason === undefined) test(name, work, 600_000);
  else
    test(`DID NOT RUN (${reason}): ${name}`, () => console.warn(`\nPOWER LOSS WAS NOT TESTED: ${reason}\n`));
}

powerTest(
  "what a receipt calls erased does not come back with a power failure, not even until the next start",
  async () => {
    const seed = printedSeed();
    for (const durability of ["fsync", "os"] as const) {
      const { complaints, receipts } = await failPowerBehindReceipts(seed, durability, effort(10));
      expect(complaints).toEqual([]);
      expect(receipts).toBeGreaterThan(10);
    }
  },
);

powerTest(
  'under durability "os" an erasure is on the disk as a whole before any shard carries it out',
  async () => {
    const { entries, ahead } = await ledgersAheadOfJournal(printedSeed());
    expect(entries).toBeGreaterThan(10);
    expect(ahead).toBe(0);
  },
);
