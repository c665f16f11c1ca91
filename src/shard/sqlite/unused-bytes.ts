/**
 * Zeroes what SQLite leaves unused in the pages of a database file.
 *
 * `secure_delete` zeroes rows that are deleted. But a page that is split or merged may keep copies of rows that moved to
 * another page, in bytes that nothing refers to. VACUUM gets rid of them by writing the whole file anew; this reads the file, and
 * writes those bytes alone.
 *
 * - The format says what is unused (https://www.sqlite.org/fileformat2.html, 1.3, 1.5 and 1.6): what lies between the cell pointers of
 *   a b-tree page and its cells, in its freeblocks and fragments, and in pages of the freelist. SQLite never reads it.
 * - So a write may be torn at any byte, or be met by a reader: the file says the same before, within and behind it.
 * - Whoever calls is the only writer, has an empty WAL, and keeps no page in memory: it would be written again as it was.
 * - The file stays open until {@link UnusedBytes.close}, which comes last. Closing a file takes from the whole process the locks it
 *   has on it, those of SQLite's connections too (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { toWarpError } from "../../core/errors.ts";

const headerBytes = 100;
const chunkBytes = 1 << 20;
/** SQLite locks bytes from here on; the page around them holds nothing. */
const lockByte = 0x4000_0000;

/** By the place of its first byte, the length of each cell and freeblock of the page that is looked at. */
const lengths = new Uint16Array(65_536);

const kind = { indexInterior: 2, tableInterior: 5, indexLeaf: 10, tableLeaf: 13 } as const;

interface Range {
  readonly from: number;
  readonly to: number;
}

/** What one page leaves unused; undefined when it is none of the kinds known here. */
type Unused = readonly Range[] | undefined;

export class UnusedBytes {
  readonly #path: string;
  readonly #pageBytes: number;
  readonly #zeros: Buffer;
  #file: number | undefined;

  constructor(path: string, pageBytes: number) {
    this.#path = path;
    this.#pageBytes = pageBytes;
    this.#zeros = Buffer.alloc(pageBytes);
  }

  /**
   * True when every unused byte is zero on the disk. False when there is a page that is none of the kinds known here, as
   * rows have that do not fit in one; then some may be left. Errors: IO_ERROR, DISK_FULL.
   */
  zero(): boolean {
    try {
      this.#file ??= openSync(this.#path, "r+");
      return this.#zeroIn(this.#file);
    } catch (thrown) {
      throw toWarpError(thrown, "IO_ERROR", { file: this.#path });
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #zeroIn(file: number): boolean {
    const pageBytes = this.#pageBytes;
    const header = read(file, 0, headerBytes);
    const pages = Math.floor(fstatSync(file).size / pageBytes);
    const reservedBytes = header.readUInt8(20);
    const largestRoot = header.readUInt32BE(52);
    // With auto_vacuum there are pages of pointers in between.
    if (header.readUInt16BE(16) !== pageBytes || reservedBytes !== 0 || largestRoot !== 0) return false;
    const free = this.#freelist(file, header.readUInt32BE(32), pages);
    if (free === undefined) return false;
    let isAllKnown = true;
    for (let first = 1; first <= pages; first += chunkBytes / pageBytes) {
      const count = Math.min(chunkBytes / pageBytes, pages - first + 1);
      const chunk = read(file, (first - 1) * pageBytes, count * pageBytes);
      for (let i = 0; i < count; i++) {
        const number = first + i;
        const at = (number - 1) * pageBytes;
        if (at <= lockByte && lockByte < at + pageBytes) continue;
        const page = chunk.subarray(i * pageBytes, (i + 1) * pageBytes);
        const unused = free.get(number) ?? unusedIn(page, number === 1 ? headerBytes : 0);
        if (unused === undefined) isAllKnown = false;
        for (const { from, to } of unused ?? []) {
          if (page.compare(this.#zeros, 0, to - from, from, to) === 0) continue;
          for (let done = from; done < to; ) done += writeSync(file, this.#zeros, 0, to - done, at + done);
        }
      }
    }
    // Also when nothing was written: zeros may be of a process that was killed before this, and not on the disk yet.
    fdatasyncSync(file);
    return isAllKnown;
  }

  /** By page what pages of the freelist leave unused; undefined when it is not one. */
  #freelist(file: number, trunk: number, pages: number): ReadonlyMap<number, Unused> | undefined {
    const free = new Map<number, Unused>();
    for (let number = trunk; number !== 0; ) {
      if (number > pages || free.has(number)) return undefined;
      const page = read(file, (number - 1) * this.#pageBytes, this.#pageBytes);
      const count = page.readUInt32BE(4);
      const end = 8 + 4 * count;
      if (end > this.#pageBytes) return undefined;
      free.set(number, [{ from: end, to: this.#pageBytes }]);
      for (let at = 8; at < end; at += 4) free.set(page.readUInt32BE(at), [{ from: 0, to: this.#pageBytes }]);
      number = page.readUInt32BE(0);
    }
    return free;
  }
}

function read(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const count = readSync(file, bytes, done, length - done, at + done);
    if (count === 0) throw new Error(`the file ends at ${at + done}, and has pages behind that`);
    done += count;
  }
  return bytes;
}

/** What a b-tree page leaves unused. `start`: where its header begins. */
function unusedIn(page: Buffer, start: number): Unused {
  const type = page.readUInt8(start);
  const isInterior = type === kind.indexInterior || type === kind.tableInterior;
  if (!isInterior && type !== kind.indexLeaf && type !== kind.tableLeaf) return undefined;
  const cells = page.readUInt16BE(start + 3);
  const pointers = start + (isInterior ? 12 : 8);
  const pointersEnd = pointers + 2 * cells;
  const cellsStart = page.readUInt16BE(start + 5) || 65_536;
  if (pointersEnd > cellsStart || cellsStart > page.length) return undefined;
  const unused = [{ from: pointersEnd, to: cellsStart }];
  lengths.fill(0, 0, page.length);
  for (let at = page.readUInt16BE(start + 1); at !== 0; ) {
    if (at < cellsStart || at + 4 > page.length) return undefined;
    const next = page.readUInt16BE(at);
    const length = page.readUInt16BE(at + 2);
    const to = at + length;
    if (length < 4 || to > page.length || (next !== 0 && next < to)) return undefined;
    lengths[at] = length;
    unused.push({ from: at + 4, to });
    at = next;
  }
  const fragmentBytes = page.readUInt8(start + 7);
  if (fragmentBytes === 0) return unused;
  for (let at = pointers; at < pointersEnd; at += 2) {
    const from = page.readUInt16BE(at);
    lengths[from] = cellLength(page, from, type);
  }
  // Fragments are the bytes that belong neither to a cell nor to a freeblock.
  let found = 0;
  for (let at = cellsStart; at < page.length; ) {
    const length = lengths[at] ?? 0;
    if (length === 0) {
      unused.push({ from: at, to: at + 1 });
      found++;
    }
    at += length || 1;
  }
  return found === fragmentBytes ? unused : undefined;
}

/** What a cell takes of its page. One whose payload does not fit there has a wrong length here, as fragments show. */
function cellLength(page: Buffer, from: number, type: number): number {
  const isTable = type === kind.tableLeaf || type === kind.tableInterior;
  const isInterior = type === kind.tableInterior || type === kind.indexInterior;
  let at = from + (isInterior ? 4 : 0);
  let payload = 0;
  if (type !== kind.tableInterior) {
    // A payload that fits in a page has a length of two bytes of seven bits, or of one.
    const first = page[at++] ?? 0;
    payload = first < 0x80 ? first : ((first & 0x7f) << 7) | (page[at++] ?? 0);
  }
  // The row's number: nine bytes at most, all but the last with their highest bit set.
  if (isTable) for (let i = 0; i < 9 && (page[at++] ?? 0) >= 0x80; i++);
  return Math.max(4, at - from + payload);
}
