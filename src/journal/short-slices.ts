/**
 * Asks Linux to let this thread run at once when it wakes up.
 *
 * - Its scheduler lets whoever runs finish a slice of about 3 ms, whatever the niceness of both, unless the one that wakes
 *   asks for shorter slices (`sched_setattr` with `sched_runtime`, Linux 6.12 and later; sched(7)). The journal works for
 *   a tenth of a millisecond a turn and every caller waits for it: without this it stands behind a shard writer for
 *   three quarters of the turns when there are two processors (docs/decisions/0013).
 * - A thread that nobody waits for asks for them too: whoever wakes up on its processor then waits for less of it.
 * - It is a hint and no right: no privilege is needed, the share of the processor stays the same. Where it is not to be had
 *   nothing changes but latency.
 */
import { dlopen, ptr } from "bun:ffi";

const sliceNs = 100_000;
const attributeBytes = 56;
/** System call numbers of sched_getattr and sched_setattr. */
const numbers: Readonly<Record<string, { readonly get: number; readonly set: number }>> = {
  x64: { get: 315, set: 314 },
  arm64: { get: 275, set: 274 },
};

/** True when the kernel has taken the hint. */
export function askForShortSlices(): boolean {
  const calls = numbers[process.arch];
  if (process.platform !== "linux" || calls === undefined) return false;
  try {
    const library = dlopen("libc.so.6", {
      syscall: { args: ["i64", "i64", "ptr", "i64", "i64"], returns: "i64" },
    });
    const attributes = new DataView(new ArrayBuffer(attributeBytes));
    attributes.setUint32(0, attributeBytes, true);
    const call = (number: number, size: number): boolean =>
      Number(library.symbols.syscall(number, 0, ptr(attributes.buffer), size, 0)) === 0;
    // What is read is written back, so policy and niceness stay as they are.
    if (!call(calls.get, attributeBytes)) return false;
    attributes.setBigUint64(24, BigInt(sliceNs), true);
    return call(calls.set, 0);
  } catch {
    // A C library of another name, or a system that forbids generated code: then without.
    return false;
  }
}
