/**
 * When the client says something only to be heard, and when it takes a connection for dead although it is open.
 */
const pingAfterMs = 10_000;
/** Who is only pushed to has to say something too: a server closes a connection that it hears nothing of. */
const pingAnywayMs = 60_000;
const lostAfterMs = 25_000;
/** Who looks so late was stopped itself, and what has come meanwhile is still to be read. */
const lateMs = 5_000;

export class Heartbeat {
  #heardAt = 0;
  #pingedAt = 0;
  #lookedAt = 0;
  #wasLate = false;

  /** A connection begins, or something has come on it. */
  heard(): void {
    this.#heardAt = performance.now();
  }

  silentMs(now: number): number {
    return now - this.#heardAt;
  }

  isDead(now: number): boolean {
    const isLate = now - this.#lookedAt > lateMs;
    // Between two looks what has come is read.
    if (isLate && !this.#wasLate) this.#heardAt = Math.max(this.#heardAt, now - pingAfterMs);
    this.#wasLate = isLate;
    this.#lookedAt = now;
    return this.silentMs(now) > lostAfterMs;
  }

  /** Whether to ping now; it is taken as done. */
  takePing(now: number): boolean {
    const afterMs = this.silentMs(now) > pingAfterMs ? pingAfterMs : pingAnywayMs;
    if (now - this.#pingedAt <= afterMs) return false;
    this.#pingedAt = now;
    return true;
  }
}
