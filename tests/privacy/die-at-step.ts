/**
 * Loaded before a program and before each of its Workers: ends the process as `SIGKILL` ends it, at a step of an erasure or of a
 * rotation of the keys.
 *
 *   WARP_DIE_AT=key:2 bun --preload tests/privacy/die-at-step.ts PROGRAM
 *
 * It dies when the step was done for the second time in one thread. The program knows nothing of it: steps are heard of
 * on the channels on which every engine publishes them.
 */
import { subscribe } from "node:diagnostics_channel";
import { erasureChannel } from "../../src/core/erasure-steps.ts";
import { rotationChannel } from "../../src/core/rotation-steps.ts";

const [step = "", times = "1"] = (process.env.WARP_DIE_AT ?? "").split(":");
let left = Number(times);

for (const channel of [erasureChannel, rotationChannel]) {
  subscribe(channel, (message) => {
    if ((message as { step: string }).step === step && --left === 0) process.kill(process.pid, "SIGKILL");
  });
}

if (Bun.isMainThread) {
  const Plain = globalThis.Worker;
  globalThis.Worker = class extends Plain {
    constructor(url: string | URL, options: WorkerOptions = {}) {
      super(url, { ...options, preload: [import.meta.path] });
    }
  };
}
