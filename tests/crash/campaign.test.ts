import { expect, test } from "bun:test";
import { runCampaign } from "./campaign.ts";
import { effort, printedSeed } from "./seeded.ts";

test("whatever moment a process is killed at, the next start finds what was acknowledged, once and whole", async () => {
  const kills = effort(12);
  const result = await runCampaign(printedSeed(), kills);
  expect(result.complaints).toEqual([]);
  expect(result.kills).toBe(kills);
}, 600_000);
