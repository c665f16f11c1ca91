/**
 * A journal for tests.
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { PeriodKeys } from "../core/period-keys.ts";
import { blockHeaderBytes, decodeBlockHeader } from "./format.ts";
import { Journal } from "./journal.ts";
import { replayJournal } from "./replay.ts";
import { createKeySlots } from "./ring-files.ts";
import { Tail } from "./tail.ts";

const periodKey = new Uint8Array(32).fill(3);
const segmentBytes = 64 * 1024;

/** A journal over two tails; `take` appends a text, and `durable` has them in the order they became so. */
export class Sample {
  readonly directory: string;
  readonly tails: readonly Tail[];
  readonly durable: string[] = [];
  readonly turns: { readonly id: number; readonly texts: number; readonly use: number }[] = [];
  readonly failures: WarpError[] = [];
  readonly journal: Journal<string>;
  retires = true;

  /** `directory` does not exist. `scale` multiplies the sizes: segments of 64 KiB, blocks of half of that, tails of 256 KiB. */
  constructor(directory: string, segmentsMax = 4, scale = 1) {
    this.directory = directory;
    this.tails = [new Tail(scale * 256 * 1024), new Tail(scale * 256 * 1024)];
    mkdirSync(this.directory);
    createKeySlots(this.directory, segmentsMax);
    const sizes = { segmentBytes: scale * segmentBytes };
    const start = {
      periods: PeriodKeys.of([{ period: 1, key: periodKey }]).memory,
      retiredUse: 0,
      lastUse: 0,
      lastSequence: 0,
    };
    this.journal = new Journal<string>({
      segments: { directory: this.directory, context: "c", durability: "fsync", ...sizes, ...start },
      segmentCount: 0,
      segmentsMax,
      firstTurn: 1,
      blockBytesMax: scale * 32 * 1024,
      tails: this.tails,
      writerThreads: () => [],
      onDurable: (turn, use) => {
        this.durable.push(...turn.completions);
        this.turns.push({ id: turn.id, texts: turn.completions.length, use });
        for (const tail of this.tails) tail.free(turn.id);
        if (this.retires) this.journal.retire(use - 1);
      },
      onFailed: (error) => this.failures.push(error),
    });
  }

  take(text: string, tail = 0): boolean {
    const at = this.journal.reserve(tail, text.length);
    if (at < 0) return false;
    this.tails[tail]?.bytes.buffer.write(text, at, "latin1");
    this.journal.commit(tail, at, at + text.length);
    this.journal.complete(text);
    return true;
  }

  replayed(): string {
    const blocks = replayJournal({ directory: this.directory, context: "c", keyOf: () => periodKey });
    return [...blocks].map((block) => block.toString("latin1")).join("");
  }

  /** Bytes of the bodies of the blocks in the files behind this sequence, in their order; markers have none. Segments that were retired are written over. */
  blocks(after = 0): number[] {
    return this.#headers()
      .filter(({ sequence }) => sequence > after)
      .map(({ bodyBytes }) => bodyBytes);
  }

  get lastSequence(): number {
    return this.#headers().at(-1)?.sequence ?? 0;
  }

  #headers() {
    const found: { readonly sequence: number; readonly bodyBytes: number }[] = [];
    for (const name of readdirSync(this.directory).filter((one) => /^\d{4}$/.test(one))) {
      const contents = readFileSync(join(this.directory, name));
      for (let at = 0; at < contents.length; at += limits.sectorBytes) {
        const header = decodeBlockHeader(contents.subarray(at, at + blockHeaderBytes));
        if (header !== undefined) found.push(header);
      }
    }
    return found.sort((a, b) => a.sequence - b.sequence);
  }
}
