/**
 * What a benchmark appends: payments of four fields with varied content.
 *
 * Texts come from pools that are filled beforehand: making an event costs little beside appending it.
 */
import type { PaymentData } from "../../../aggregate/ledger.ts";
import type { NewEvent } from "../../../index.ts";
import { Random } from "./random.ts";

export { ledger } from "../../../aggregate/ledger.ts";

/** Small enough to stay in the processor's cache, as the data of an event that has just been made would be. */
const poolSize = 512;
const letters = "abcdefghijklmnopqrstuvwxyz0123456789-";
const firstAt = 1_700_000_000_000;

/** Bytes of JSON around an empty note, for cents of six digits. */
const fixedBytes = JSON.stringify({ cents: 123_456, ref: "ref-0123456789", at: firstAt, note: "" }).length;

export class Payments {
  readonly #random: Random;
  readonly #refs: readonly string[];
  readonly #notes: readonly string[];
  #made = 0;

  /** Data of about `bytes` bytes of JSON each, at least 68. */
  constructor(bytes: number, seed: number) {
    this.#random = new Random(seed);
    const noteLength = Math.max(0, bytes - fixedBytes);
    this.#refs = Array.from({ length: poolSize }, () => `ref-${this.#text(10)}`);
    this.#notes = Array.from({ length: poolSize }, () => this.#text(noteLength));
  }

  data(): PaymentData {
    const random = this.#random;
    return {
      cents: 100_000 + random.below(900_000),
      ref: this.#refs[random.below(poolSize)] ?? "",
      at: firstAt + this.#made++,
      note: this.#notes[random.below(poolSize)] ?? "",
    };
  }

  event(): NewEvent {
    return { type: "Paid", data: this.data() };
  }

  batch(count: number): NewEvent[] {
    const events: NewEvent[] = [];
    for (let i = 0; i < count; i++) events.push(this.event());
    return events;
  }

  #text(length: number): string {
    let text = "";
    for (let i = 0; i < length; i++) text += letters[this.#random.below(letters.length)];
    return text;
  }
}
