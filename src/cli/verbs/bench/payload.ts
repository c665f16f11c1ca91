/**
 * What a benchmark appends: payments of four fields with varied content; of two or one where four do not fit.
 *
 * Texts come from pools that are filled beforehand and taken in turn: making an event costs little beside appending it. The
 * texts of the next events are looked at some events ahead, many in one go: when they are used they are in the processor's
 * caches, as those of an event that has just been made would be.
 */
import type { PaymentData } from "../../../aggregate/ledger.ts";
import type { NewEvent } from "../../../index.ts";
import { Random } from "./random.ts";

export { ledger } from "../../../aggregate/ledger.ts";

const poolSizeMax = 512;
const aheadEvery = 64;
/** Of large events there are fewer. */
const poolBytesMax = 32_000_000;
const letters = "abcdefghijklmnopqrstuvwxyz0123456789-";
const firstAt = 1_700_000_000_000;

/** Bytes of JSON around an empty note, for cents of six digits. */
const fixedBytes = JSON.stringify({ cents: 123_456, ref: "ref-0123456789", at: firstAt, note: "" }).length;
const twoFieldsBytes = JSON.stringify({ cents: 123_456, note: "" }).length;
const oneFieldBytes = JSON.stringify({ cents: 123_456 }).length;

/** Bytes of JSON that an event has at least. */
export const eventBytesMin = oneFieldBytes;

export class Payments {
  readonly #random: Random;
  readonly #refs: readonly string[];
  readonly #notes: readonly string[];
  readonly #fields: 1 | 2 | 4;
  #made = 0;

  /** Data of about `bytes` bytes of JSON each, at least {@link eventBytesMin}. */
  constructor(bytes: number, seed: number) {
    this.#random = new Random(seed);
    this.#fields = bytes >= fixedBytes ? 4 : bytes >= twoFieldsBytes ? 2 : 1;
    const noteLength = Math.max(0, bytes - (this.#fields === 4 ? fixedBytes : twoFieldsBytes));
    const poolSize = Math.max(16, Math.min(poolSizeMax, Math.floor(poolBytesMax / bytes)));
    // One less, so that a pair of texts comes back only after the product of both.
    this.#refs = Array.from({ length: poolSize - 1 }, () => `ref-${this.#text(10)}`);
    this.#notes = Array.from({ length: poolSize }, () => this.#text(noteLength));
  }

  data(): PaymentData {
    const random = this.#random;
    const cents = 100_000 + random.below(900_000);
    if (this.#fields === 1) return { cents };
    const made = this.#made++;
    if (made % aheadEvery === 0) this.#lookAhead(made);
    const note = this.#notes[made % this.#notes.length] ?? "";
    if (this.#fields === 2) return { cents, note };
    return { cents, ref: this.#refs[made % this.#refs.length] ?? "", at: firstAt + made, note };
  }

  event(): NewEvent {
    return { type: "Paid", data: this.data() };
  }

  batch(count: number): NewEvent[] {
    const events: NewEvent[] = [];
    for (let i = 0; i < count; i++) events.push(this.event());
    return events;
  }

  /** Reads a letter of each text that the next events take; the processor fetches several of them at a time. */
  #lookAhead(made: number): void {
    let seen = 0;
    for (let i = made; i < made + aheadEvery; i++) {
      seen += (this.#refs[i % this.#refs.length] ?? "").charCodeAt(0);
      seen += (this.#notes[i % this.#notes.length] ?? "").charCodeAt(0);
    }
    // Never so, but it keeps the reads from being left out.
    if (seen < 0) throw new Error("a letter below zero");
  }

  #text(length: number): string {
    let text = "";
    for (let i = 0; i < length; i++) text += letters[this.#random.below(letters.length)];
    return text;
  }
}
