/**
 * The one timer of all connections of a process. Each with a timer of its own would wake a program of a thousand
 * connections ten thousand times a second.
 */
const sweepMs = 100;
const sweeps = new Set<() => void>();
let timer: NodeJS.Timeout | undefined;

/** Calls `sweep`, which does not throw, every 100 ms until {@link endSweeping}. Keeps no process alive. */
export function beginSweeping(sweep: () => void): void {
  sweeps.add(sweep);
  if (timer !== undefined) return;
  timer = setInterval(() => {
    for (const each of sweeps) each();
  }, sweepMs);
  timer.unref();
}

export function endSweeping(sweep: () => void): void {
  sweeps.delete(sweep);
  if (sweeps.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
