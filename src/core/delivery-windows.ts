/**
 * What a shard's file keeps of delivery sessions, and how what changed in a round goes to its writer: back to back in one
 * piece of memory, without an object for each window.
 */

/** Which session of a client. */
export interface DeliverySession {
  readonly sessionStart: number;
  readonly sessionNumber: number;
}

/** A window as it is stored: one row per session and shard, newest results last. */
export interface DeliveryWindowDraft extends DeliverySession {
  readonly shard: number;
  /** ms since 1970 of its last result. */
  readonly usedAt: number;
  /** Encoded results (the engine's own format); nothing is sealed here: no personal data. */
  readonly results: Uint8Array;
}

/** The windows of a shard that changed in a round. */
export interface DeliveryWindows {
  readonly shard: number;
  /** ms since 1970. */
  readonly usedAt: number;
  /** Of each window: start and number of its session, how many numbers follow, and those: what is stored of it. */
  readonly numbers: Float64Array;
}

/** Numbers of a window before what is stored of it. */
export const numbersOfHead = 3;

/** One by one; their results lie in the memory of all. */
export function* windowsIn({ shard, usedAt, numbers }: DeliveryWindows): Generator<DeliveryWindowDraft> {
  for (let at = 0; at < numbers.length; ) {
    const [sessionStart = 0, sessionNumber = 0, length = 0] = numbers.subarray(at, at + numbersOfHead);
    const from = at + numbersOfHead;
    at = from + length;
    const results = new Uint8Array(numbers.buffer, numbers.byteOffset + from * 8, length * 8);
    yield { shard, sessionStart, sessionNumber, usedAt, results };
  }
}
