import { expect, test } from "bun:test";
import { erasureSteps } from "../../src/core/erasure-steps.ts";
import { effort, printedSeed } from "../crash/seeded.ts";
import { killAtSteps } from "./kills.ts";

test("a process may end behind any step of an erasure: the next start completes it, and nothing comes back", async () => {
  const { complaints, killed } = await killAtSteps(printedSeed(), effort(erasureSteps.length));
  expect(complaints).toEqual([]);
  expect(Object.keys(killed).sort()).toEqual([...erasureSteps].sort());
}, 600_000);
