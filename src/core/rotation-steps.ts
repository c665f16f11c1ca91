/**
 * The steps of a rotation of the period keys, in their order, each done when the one behind it begins. They can be followed on
 * the diagnostics channel `warp:rotation` of the main thread, and a process may end behind any of them and within any:
 * every start opens what is there, and the next rotation goes on.
 */
import { channel } from "node:diagnostics_channel";

export const rotationSteps = [
  /** keyring.json has the new period, and what is new is wrapped by it. */
  "added",
  /** The slots of one shard's vault stand under it, on the disk. */
  "shard",
  /** No segment of the journal is sealed under an older one. */
  "retired",
  /** The older periods are destroyed. */
  "dropped",
] as const;

export type RotationStep = (typeof rotationSteps)[number];

export const rotationChannel = "warp:rotation";

const done = channel(rotationChannel);

export function rotationStepDone(step: RotationStep): void {
  if (done.hasSubscribers) done.publish({ step });
}
