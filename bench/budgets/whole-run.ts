/** Whole runs, as `warp bench` does them: what of the processor a call takes on some of the threads, ns. */
import { join } from "node:path";

interface Line {
  readonly eventsPerSecond: number;
  readonly readsPerSecond: number;
  readonly processor: { readonly threads: readonly { readonly name: string; readonly busy: number }[] };
}

/** 256 callers, 10,000 entities, events of 100 bytes, with a journal that is not synced: the disk is another matter. */
export async function wholeRun(threads: readonly string[], ...options: readonly string[]): Promise<number> {
  const load = [
    "--callers",
    "256",
    "--durability",
    "os",
    "--seconds",
    "4",
    "--warmup",
    "4",
    "--yardstick",
    "0",
  ];
  const command = [process.execPath, join(import.meta.dir, "../../src/main.ts"), "bench", "--json"];
  const child = Bun.spawn([...command, ...load, ...options], { stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`the whole run failed: warp bench ${options.join(" ")}`);
  const { processor, eventsPerSecond, readsPerSecond } = JSON.parse(text) as Line;
  let busy = 0;
  for (const thread of processor.threads) if (threads.includes(thread.name)) busy += thread.busy;
  return (busy / (options.includes("--read") ? readsPerSecond : eventsPerSecond)) * 1e9;
}
