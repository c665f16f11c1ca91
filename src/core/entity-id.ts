/**
 * What may be an entity id: 1 to 512 bytes of well-formed UTF-8 without NUL.
 *
 * NUL is refused because too many programs end a text there; lone surrogates because UTF-8 cannot hold them, and
 * two ids must never become one.
 */
import { WarpError } from "./errors.ts";
import { limits } from "./limits.ts";

/** Why a value is not an entity id, or undefined when it is one. */
export function entityIdFault(id: unknown): string | undefined {
  if (typeof id !== "string") return "an entity id is a string";
  if (id.length === 0) return "an entity id is not empty";
  // A UTF-16 code unit makes at most three bytes, so most ids need no measuring.
  if (id.length * 3 > limits.entityIdBytesMax && Buffer.byteLength(id, "utf8") > limits.entityIdBytesMax) {
    return `an entity id has at most ${limits.entityIdBytesMax} bytes of UTF-8`;
  }
  if (!id.isWellFormed()) return "an entity id has no lone surrogate";
  if (id.includes("\0")) return "an entity id has no NUL character";
  return undefined;
}

/** Refuses what is not an entity id: INVALID_ARGUMENT. */
export function requireEntityId(id: unknown): asserts id is string {
  const fault = entityIdFault(id);
  if (fault !== undefined) throw new WarpError("INVALID_ARGUMENT", fault, { id });
}
