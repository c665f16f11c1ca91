/**
 * What an event type may be called.
 */
import { droppedType } from "../core/dropped.ts";
import { limits } from "../core/limits.ts";

/** Why `type` cannot name an event type, as the end of a sentence; undefined when it can. */
export function eventTypeProblem(type: unknown): string | undefined {
  if (typeof type !== "string") return "is not a string";
  if (type === "") return "is empty";
  // Types are keys of states such as that of `document`.
  if (type === "__proto__") return "is reserved";
  // What history has in the place of events that were dropped (core/dropped.ts).
  if (type === droppedType) return "is reserved";
  if (!type.isWellFormed()) return "has a lone surrogate, which UTF-8 cannot hold";
  if (type.length * 3 <= limits.eventTypeBytesMax) return undefined;
  return Buffer.byteLength(type) <= limits.eventTypeBytesMax
    ? undefined
    : `is longer than ${limits.eventTypeBytesMax} bytes`;
}
