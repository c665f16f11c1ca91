/**
 * Waits until the servers under this process have nothing left to do, so that what one system does behind its
 * acknowledgements does not fall into the other's window.
 */
import { readdirSync, readFileSync } from "node:fs";

const pollMs = 200;
/** So long without a pause. Warp begins to settle what is journalled after two seconds at the latest. */
const quietMs = 2400;
const waitMsMax = 20_000;
/** Busy so many hundredths of a second in one poll, or less, is idle. */
const idleTicks = 1;

/** False when they were still busy after 20 s. */
export async function untilQuiet(): Promise<boolean> {
  const begun = performance.now();
  let quietSince = begun;
  let before = ticksBelow(process.pid);
  for (let now = begun; now - quietSince < quietMs && now - begun < waitMsMax; now = performance.now()) {
    await Bun.sleep(pollMs);
    const after = ticksBelow(process.pid);
    if (after - before > idleTicks) quietSince = performance.now();
    before = after;
  }
  return performance.now() - quietSince >= quietMs;
}

/** Processor time of this process and of all processes below it so far, in the kernel's ticks; 0 where nobody tells. */
function ticksBelow(root: number): number {
  if (process.platform !== "linux") return 0;
  const parents = new Map<number, { readonly parent: number; readonly ticks: number }>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const ticks = Number(fields[11]) + Number(fields[12]);
      parents.set(Number(name), { parent: Number(fields[1]), ticks });
    } catch {
      // It has ended meanwhile.
    }
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid === root || (pid !== undefined && pid > 1 && isBelow(parents.get(pid)?.parent));
  return [...parents].reduce((sum, [pid, { ticks }]) => (isBelow(pid) ? sum + ticks : sum), 0);
}
