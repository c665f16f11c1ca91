/**
 * Keeps the ring of segment files supplied: two at the start, and one more, made in the background, whenever all are in use, up to
 * `segmentsMax`.
 */
import type { JournalControl } from "./control.ts";
import { createSegment, createSegmentNow, growKeySlots } from "./ring-files.ts";

export interface SpareSegmentsOptions {
  readonly directory: string;
  readonly segmentBytes: number;
  readonly segmentsMax: number;
  /** Segment files that exist already. */
  readonly count: number;
  readonly onFailed: (thrown: unknown) => void;
}

export class SpareSegments {
  readonly #control: JournalControl;
  readonly #options: SpareSegmentsOptions;
  #count: number;
  #creating: Promise<void> | undefined;
  #lastSeenUse = 0;
  #closed = false;

  constructor(control: JournalControl, options: SpareSegmentsOptions) {
    this.#control = control;
    this.#options = options;
    this.#count = options.count;
    growKeySlots(options.directory, options.segmentsMax);
    while (this.#count < 2) createSegmentNow(options.directory, ++this.#count, options.segmentBytes);
    control.publishSegments(this.#count);
  }

  /** Called whenever something became durable: makes a file when the ring is short of free ones. */
  keep(): void {
    const use = this.#control.currentUse;
    if (use === this.#lastSeenUse || this.#creating !== undefined || this.#closed) return;
    this.#lastSeenUse = use;
    const inUse = use - this.#control.retiredUse;
    const { directory, segmentBytes, segmentsMax, onFailed } = this.#options;
    if (inUse < this.#count || this.#count >= segmentsMax) return;
    this.#creating = createSegment(directory, this.#count + 1, segmentBytes)
      .then(() => this.#control.publishSegments(++this.#count))
      .catch(onFailed)
      .finally(() => {
        this.#creating = undefined;
        this.#lastSeenUse = 0;
      });
  }

  /** Makes no more files; resolves when none is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#creating;
  }
}
