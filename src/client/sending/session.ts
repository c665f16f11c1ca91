/**
 * Delivery ids: which request of which session a write is, so that a repeat of it counts once (docs/protocol.md).
 *
 * A session's age is told by the server's clock, since the server forgets by it; it ends long before that. A write
 * keeps the session it was made in.
 */
import { limits } from "../../core/limits.ts";
import type { Delivery } from "../../net/protocol/outcomes.ts";

/** The server's clock is known only as well as its answers are quick. */
const inaccuracyMs = 60_000;

export class Session {
  /** Server's clock minus ours, ms. */
  #offset = 0;
  readonly #delivery = { sessionStart: Number.NEGATIVE_INFINITY, sessionNumber: 0, counter: 0, behind: 0 };

  /** Takes the server's clock; `now` is ours, of any origin, as {@link delivery} is given it. */
  adjust(serverNow: number, now: number): void {
    this.#offset = serverNow - now;
  }

  /**
   * The delivery id of a write, while no write older than `oldestWrite` waits for its answer; the object is reused for the
   * next one. Counters never repeat in a client.
   */
  delivery(counter: number, oldestWrite: number, now: number): Delivery {
    const delivery = this.#delivery;
    const serverNow = now + this.#offset;
    const ageMs = serverNow - delivery.sessionStart;
    if (ageMs >= limits.clientSessionMs || ageMs < -inaccuracyMs) {
      delivery.sessionStart = Math.floor(serverNow);
      delivery.sessionNumber = randomNumber();
    }
    delivery.counter = counter;
    delivery.behind = counter - oldestWrite;
    return delivery;
  }
}

/** A random whole number below 2^53. */
function randomNumber(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1f_ffff) * 2 ** 32 + low;
}
