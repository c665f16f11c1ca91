import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { effort, printedSeed, seededRandom } from "../crash/seeded.ts";
import { damage, filesOf, makeSample, type Sample } from "./flips.ts";

const samples: Sample[] = [];
afterAll(() => {
  for (const { home } of samples) rmSync(home, { recursive: true });
});

async function sampleOf(seed: number, how: Parameters<typeof makeSample>[1]): Promise<Sample> {
  const sample = await makeSample(seed, how);
  samples.push(sample);
  return sample;
}

/** Half of the offsets lie where the file has content. */
function offsetIn(content: Buffer, random: () => number): number {
  for (let tries = 0; tries < 50; tries++) {
    const offset = Math.floor(random() * content.length);
    if (content[offset] !== 0 || tries === 49) return offset;
  }
  return 0;
}

describe("one flipped byte is never fewer events in silence:", () => {
  for (const how of ["closed", "killed", "unsettled"] as const) {
    test(`in a directory that is ${how}`, async () => {
      const seed = printedSeed();
      const random = seededRandom(seed);
      const sample = await sampleOf(seed, how);
      const outcomes: Record<string, number> = {};
      const silent: string[] = [];
      const files = filesOf(sample);
      for (let flip = 0; flip < effort(12); flip++) {
        const file = files[Math.floor(random() * files.length)] ?? "warp.json";
        let offset = 0;
        const outcome = await damage(sample, file, (content) => {
          offset = offsetIn(content, random);
          if (content.length > 0) content[offset] = (content[offset] ?? 0) ^ (1 << Math.floor(random() * 8));
          return content;
        });
        outcomes[outcome.kind] = (outcomes[outcome.kind] ?? 0) + 1;
        if (outcome.kind === "silent") silent.push(`${file} at ${offset}: ${outcome.what}`);
      }
      console.log(how, outcomes);
      expect(silent).toEqual([]);
    }, 600_000);
  }

  test("a file that was cut to nothing is never taken for a new one", async () => {
    const seed = printedSeed();
    const sample = await sampleOf(seed, "closed");
    const silent: string[] = [];
    for (const file of filesOf(sample)) {
      const outcome = await damage(sample, file, () => Buffer.alloc(0));
      if (outcome.kind === "silent" || outcome.kind === "found") silent.push(`${file}: ${outcome.what}`);
    }
    expect(silent).toEqual([]);
  });
});
