/**
 * What has arrived on the client's connection, given out frame by frame.
 *
 * - After a step of frames the callers that got answers run, in the microtasks that follow; what they ask next can be sent
 *   before the next step. An arrival is given out wholly before the next one comes.
 * - Nothing is given out after {@link drop}, until more is pushed.
 */
import { FrameInput } from "../net/protocol/frame-input.ts";
import { FrameReader } from "../net/protocol/frame-reader.ts";
import { lengthBytes } from "../net/protocol/words.ts";

export interface ArrivalListener {
  /**
   * One frame; `bytes` is what it took on the wire. Returns for how many it counts in its step. What it throws is told by
   * {@link onBroken}.
   */
  onFrame(reader: FrameReader, bytes: number): number;
  /** The callers of a step have run, and there may be more. */
  onStep(): void;
  /** All whole frames are given out. */
  onEnd(): void;
  onBroken(thrown: unknown): void;
}

const framesPerStep = 128;
/** Of all connections of the process: a frame is read before another is begun. */
const reader = new FrameReader();

export class Arrival {
  readonly #listener: ArrivalListener;
  #input = new FrameInput();
  /** True between the steps of an arrival. */
  isUnderWay = false;

  constructor(listener: ArrivalListener) {
    this.#listener = listener;
  }

  /** Takes a chunk, which must not change until the microtasks of this turn have run. */
  push(chunk: Buffer): void {
    this.#input.push(chunk);
    this.#give();
  }

  /** Forgets everything: the connection is gone. */
  drop(): void {
    this.#input = new FrameInput();
  }

  #give(): void {
    const input = this.#input;
    let left = framesPerStep;
    try {
      while (left > 0 && input === this.#input && input.next()) {
        reader.begin(input.bytes, input.frameStart, input.frameEnd);
        left -= this.#listener.onFrame(reader, lengthBytes + input.frameEnd - input.frameStart);
      }
    } catch (thrown) {
      this.#listener.onBroken(thrown);
    }
    this.isUnderWay = left <= 0;
    if (this.isUnderWay) {
      queueMicrotask(this.#goOn);
      return;
    }
    reader.release();
    input.keep();
    this.#listener.onEnd();
  }

  readonly #goOn = (): void => {
    this.#listener.onStep();
    this.#give();
  };
}
