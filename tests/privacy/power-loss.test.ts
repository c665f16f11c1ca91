import { expect, test } from "bun:test";
import { effort, printedSeed } from "../crash/seeded.ts";
import { whyNoTrace } from "../crash/trace.ts";
import { failPowerBehindReceipts } from "./power-loss.ts";

const reason = whyNoTrace();
const name =
  "what a receipt calls erased does not come back with a power failure, not even until the next start";

if (reason === undefined) {
  test(name, async () => {
    const seed = printedSeed();
    for (const durability of ["fsync", "os"] as const) {
      const { complaints, receipts } = await failPowerBehindReceipts(seed, durability, effort(10));
      expect(complaints).toEqual([]);
      expect(receipts).toBeGreaterThan(10);
    }
  }, 600_000);
} else {
  test(`DID NOT RUN (${reason}): ${name}`, () => console.warn(`\nPOWER LOSS WAS NOT TESTED: ${reason}\n`));
}
