import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compiledBinary, root } from "../e2e/command.ts";
import { effort, printedSeed } from "./seeded.ts";
import { runServerCampaign } from "./server-campaign.ts";

const folder = mkdtempSync(join(tmpdir(), "warp-binary-"));
afterAll(() => rmSync(folder, { recursive: true }));

function compile(): string {
  const binary = join(folder, "warp");
  const built = Bun.spawnSync([process.execPath, "scripts/build.ts", `--outfile=${binary}`], { cwd: root });
  expect(built.stderr.toString()).toBe("");
  return binary;
}

test("whenever the compiled server is killed, what its clients were told is true, and each call counts once", async () => {
  const kills = effort(24);
  const result = await runServerCampaign(printedSeed(), kills, [compiledBinary ?? compile()]);
  expect(result.complaints).toEqual([]);
  expect(result.kills).toBe(kills);
}, 600_000);
