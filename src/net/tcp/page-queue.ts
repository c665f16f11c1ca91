/**
 * The requests of one connection that collect pages: a few are under way, the others wait in line.
 *
 * - They begin in the order in which they came, none before one that waits, and none while too many replies are unread.
 * - Requests of other kinds pass them. Beyond `connectionQueueBytes` of waiting ones the connection is not read.
 * - Nothing is held while none waits.
 */
import { limits } from "../../core/limits.ts";

/** What a waiting request takes beside the bytes of its frame. */
const waitingBytes = 512;

interface WaitingPage {
  readonly bytes: number;
  /** What is given back with its end. */
  readonly held: number;
  readonly answer: () => Promise<void>;
}

export class PageQueue {
  readonly #waiting: WaitingPage[] = [];
  readonly #onEnd: (held: number) => void;
  #underWay = 0;
  #bytes = 0;

  /** `onEnd` hears of every request that has been answered, or forgotten. */
  constructor(onEnd: (held: number) => void) {
    this.#onEnd = onEnd;
  }

  /** Memory of those that wait, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.#bytes >= limits.connectionQueueBytes;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Puts a request in line, whose frame had so many bytes; `held` goes to `onEnd`. `answer` must not reject. */
  add(frameBytes: number, held: number, answer: () => Promise<void>): void {
    // Text that was decoded may take two bytes for one of the frame.
    const bytes = waitingBytes + 2 * frameBytes;
    this.#bytes += bytes;
    this.#waiting.push({ bytes, held, answer });
  }

  /** Begins the first ones in line, as many as may be under way. */
  begin(): void {
    while (this.#underWay < limits.connectionPagesMax) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#bytes -= next.bytes;
      this.#underWay++;
      void this.#perform(next);
    }
  }

  /** Forgets those that wait. */
  drop(): void {
    this.#bytes = 0;
    for (const { held } of this.#waiting.splice(0)) this.#onEnd(held);
  }

  async #perform({ held, answer }: WaitingPage): Promise<void> {
    await answer();
    this.#underWay--;
    this.#onEnd(held);
  }
}
