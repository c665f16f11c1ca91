/**
 * The names of the machine code that the JavaScript compiler made, from the dump that it writes while it runs
 * (`BUN_JSC_useJITDump`; the format is Linux' tools/perf/Documentation/jitdump-specification.txt).
 */
import { readFileSync } from "node:fs";

interface Code {
  readonly start: number;
  readonly end: number;
  /** ns since the machine's start. */
  readonly loadedAt: number;
  readonly name: string;
}

const loadRecord = 0;
const headerSizeAt = 8;
/** Kind and length of a record, and its time. */
const recordHeaderBytes = 16;
/** Behind that, of a load: pid, tid, two addresses, the code's size and a number. */
const loadBytes = 40;

export class JitDump {
  /** By their start. */
  readonly #codes: readonly Code[];
  readonly #longest: number;

  constructor(path: string) {
    this.#codes = readCodes(readFileSync(path)).sort((a, b) => a.start - b.start);
    this.#longest = this.#codes.reduce((longest, { start, end }) => Math.max(longest, end - start), 0);
  }

  /** What lay at an address at a time; memory is used again for other code. */
  nameAt(address: number, at: number): string | undefined {
    let found: Code | undefined;
    for (let i = this.#upTo(address) - 1; i >= 0; i--) {
      const code = this.#codes[i];
      if (code === undefined || address - code.start > this.#longest) break;
      if (address >= code.end || code.loadedAt > at) continue;
      if (found === undefined || code.loadedAt > found.loadedAt) found = code;
    }
    return found?.name;
  }

  /** How many begin at or before an address. */
  #upTo(address: number): number {
    let from = 0;
    let to = this.#codes.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.#codes[middle]?.start ?? 0) <= address) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

function readCodes(bytes: Buffer): Code[] {
  const codes: Code[] = [];
  let at = bytes.readUInt32LE(headerSizeAt);
  while (at + recordHeaderBytes <= bytes.length) {
    const kind = bytes.readUInt32LE(at);
    const length = bytes.readUInt32LE(at + 4);
    // The last record of a process that still runs may be a part of one.
    if (length === 0 || at + length > bytes.length) break;
    if (kind === loadRecord) {
      const load = at + recordHeaderBytes;
      const start = Number(bytes.readBigUInt64LE(load + 16));
      const end = start + Number(bytes.readBigUInt64LE(load + 24));
      const nameAt = load + loadBytes;
      const name = bytes.toString("utf8", nameAt, bytes.indexOf(0, nameAt));
      codes.push({ start, end, loadedAt: Number(bytes.readBigUInt64LE(at + 8)), name });
    }
    at += length;
  }
  return codes;
}
