import { describe, expect, test } from "bun:test";
import { effort, printedSeed, seededRandom } from "../crash/seeded.ts";
import { whyNoTrace } from "../crash/trace.ts";
import { type DiskError, loadWithDiskError } from "./disk-errors.ts";

const reason = whyNoTrace();
const shards = ["000", "001", "002"];
const segments = ["0001", "0002", "0003", "0004", "0005"];
/** What fails together, and how often a load calls it at least. */
const targets: Record<string, { readonly files: string[]; readonly writes: number; readonly syncs: number }> =
  {
    "journal segments": { files: segments.map((name) => `journal/${name}`), writes: 50, syncs: 50 },
    "journal keys": { files: ["journal/keys"], writes: 6, syncs: 6 },
    vaults: { files: shards.map((shard) => `shards/${shard}/vault`), writes: 8, syncs: 8 },
    "runs.db": { files: both("runs.db"), writes: 150, syncs: 8 },
    "names.db": { files: both("names.db"), writes: 80, syncs: 8 },
  };

function both(name: string): string[] {
  return shards.flatMap((shard) => [`shards/${shard}/${name}`, `shards/${shard}/${name}-wal`]);
}

function faultTest(name: string, work: () => Promise<void>): void {
  if (reason === undefined) test(name, work, 600_000);
  else
    test(`DID NOT RUN (${reason}): ${name}`, () =>
      console.warn(`\nDISK ERRORS WERE NOT TESTED: ${reason}\n`));
}

describe("a disk that fails at some write or sync loses nothing that was acknowledged:", () => {
  for (const [target, { files, writes, syncs }] of Object.entries(targets)) {
    faultTest(target, async () => {
      const seed = printedSeed();
      const random = seededRandom(seed);
      const complaints: string[] = [];
      let hits = 0;
      for (let round = 0; round < effort(4); round++) {
        const call = round % 2 === 0 ? "sync" : "write";
        const nth = 1 + Math.floor(random() * (call === "sync" ? syncs : writes));
        const errno = call === "sync" ? "EIO" : "ENOSPC";
        const error: DiskError = { files, call, errno, nth, goesOn: random() < 0.5 };
        const result = await loadWithDiskError(error, Math.floor(random() * 2 ** 31), random);
        complaints.push(...result.complaints);
        if (result.wasHit) hits++;
      }
      expect(complaints).toEqual([]);
      expect(hits).toBeGreaterThan(0);
    });
  }
});
