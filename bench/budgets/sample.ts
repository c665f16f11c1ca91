/**
 * What the steps work on: an engine in a directory of its own, and entities that are chosen at random, so that they are as cold
 * in the processor's caches as in a run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { idOf } from "../../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../../src/cli/verbs/bench/payload.ts";
import { Random } from "../../src/cli/verbs/bench/random.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { start, type Warp } from "../../src/index.ts";

export const entities = 10_000;
export const payments = new Payments(100, 1);
export const events = Array.from({ length: 1024 }, () => payments.event());
export const ids = Array.from({ length: entities }, (_, i) => idOf(i));
const random = new Random(1);
export const order = Uint32Array.from({ length: 1 << 16 }, () => random.below(entities));

export interface Sample {
  readonly directory: string;
  readonly warp: Warp;
  close(): Promise<void>;
}

/** An engine with an event in each entity; what it acknowledges is with the operating system. */
export async function openSample(): Promise<Sample> {
  const directory = mkdtempSync(join(tmpdir(), "warp-budgets-"));
  const warp = await start({
    context: "bench",
    aggregates: [ledger],
    dataDir: join(directory, "data"),
    durability: "os",
    logger: silentLogger,
  });
  for (let from = 0; from < entities; from += 1000) {
    const some = ids.slice(from, from + 1000);
    await Promise.all(some.map((id) => warp.entity(id).append(payments.event())));
  }
  const close = async () => {
    await warp.close();
    rmSync(directory, { recursive: true, force: true });
  };
  return { directory, warp, close };
}
