import { expect, test } from "bun:test";
import { runCampaign } from "./campaign.ts";
import { printedSeed } from "./seeded.ts";

test("whatever moment a process is killed at, the next start finds what was acknowledged, once and whole", async () => {
  const result = await runCampaign(printedSeed(), 24);
  expect(result.complaints).toEqual([]);
  expect(result.kills).toBe(24);
}, 180_000);
