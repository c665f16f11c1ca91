/**
 * Delivery ids: which request of which session a write is, so that a repeat of it counts once (docs/protocol.md).
 *
 * A session ends long before the server forgets it; a write keeps the session it was made in.
 */
import { limits } from "../core/limits.ts";
import type { Delivery } from "../net/protocol/outcomes.ts";

export class Session {
  /** Server's clock minus ours, ms. */
  #offset = 0;
  #endsAt = 0;
  readonly #delivery: { sessionStart: number; sessionNumber: number; counter: number } = {
    sessionStart: 0,
    sessionNumber: 0,
    counter: 0,
  };

  /** Takes the server's clock, by which sessions grow old. */
  adjust(serverNow: number): void {
    this.#offset = serverNow - Date.now();
  }

  /** The delivery id of a write; the object is reused for the next one. Counters never repeat in a client. */
  delivery(counter: number, now: number): Delivery {
    const delivery = this.#delivery;
    // A clock that was set back must not make a session live on.
    if (now >= this.#endsAt || now < this.#endsAt - limits.clientSessionMs) {
      delivery.sessionStart = Math.floor(now + this.#offset);
      delivery.sessionNumber = randomNumber();
      this.#endsAt = now + limits.clientSessionMs;
    }
    delivery.counter = counter;
    return delivery;
  }
}

/** A random whole number below 2^53. */
function randomNumber(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high & 0x1f_ffff) * 2 ** 32 + low;
}
