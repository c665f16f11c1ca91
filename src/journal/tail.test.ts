import { describe, expect, test } from "bun:test";
import { seededRandom } from "../shard/sample.ts";
import { Tail } from "./tail.ts";
import { TailIndex } from "./tail-index.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

interface Held {
  readonly turn: number;
  readonly start: number;
  readonly end: number;
  readonly mark: number;
}

const overlaps = (one: { start: number; end: number }, other: { start: number; end: number }) =>
  one.start < other.end && other.start < one.end;

describe("a tail", () => {
  test("never gives out bytes that are held, whatever is reserved, closed and freed", () => {
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    for (let run = 0; run < 40; run++) {
      const capacity = 200 + Math.floor(random() * 2000);
      const tail = new Tail(capacity);
      /** Records that are not freed, each filled with a mark of its own. */
      let held: Held[] = [];
      let wrapped: { start: number; length: number }[] = [];
      let turn = 1;
      let freed = 0;
      let taken = 0;
      for (let step = 0; step < 1500; step++) {
        const choice = random();
        if (choice < 0.6) {
          const bytes = 1 + Math.floor(random() * (capacity / 3));
          const at = tail.reserve(bytes, turn, (start, length) => wrapped.push({ start, length }));
          if (at < 0) continue;
          // The reservation is a bound; what is written may be shorter.
          const end = at + 1 + Math.floor(random() * bytes);
          expect(end).toBeLessThanOrEqual(capacity);
          const record = { turn, start: at, end: at + bytes, mark: step & 0xff };
          for (const other of held) expect(overlaps(record, other)).toBe(false);
          tail.bytes.buffer.fill(record.mark, at, end);
          tail.commit(end);
          held.push({ ...record, end });
          taken++;
        } else if (choice < 0.85) {
          const last = tail.close(turn);
          const ranges = last.length > 0 ? [...wrapped, last] : wrapped;
          wrapped = [];
          const own = held.filter((record) => record.turn === turn);
          const bytes = own.reduce((sum, { start, end }) => sum + end - start, 0);
          expect(ranges.reduce((sum, { length }) => sum + length, 0)).toBe(bytes);
          for (const { start, end } of own) {
            const isCovered = ranges.some(
              (range) => range.start <= start && end <= range.start + range.length,
            );
            expect(isCovered).toBe(true);
          }
          turn++;
        } else if (freed < turn - 1) {
          freed += 1 + Math.floor(random() * (turn - 1 - freed));
          for (const { turn: of, start, end, mark } of held) {
            if (of > freed) continue;
            expect(tail.bytes.buffer.subarray(start, end).every((byte) => byte === mark)).toBe(true);
          }
          held = held.filter((record) => record.turn > freed);
          tail.free(freed);
        }
        expect(tail.heldBytes + tail.openBytes).toBe(
          held.reduce((sum, { start, end }) => sum + end - start, 0),
        );
      }
      expect(taken).toBeGreaterThan(50);
    }
  });

  test("has room for anything up to its size once all is freed", () => {
    const tail = new Tail(1000);
    const reserve = (bytes: number, turn: number) => tail.reserve(bytes, turn, () => {});
    tail.commit(reserve(700, 1) + 700);
    expect(reserve(400, 1)).toBe(-1);
    tail.close(1);
    expect(reserve(400, 2)).toBe(-1);
    tail.free(1);
    expect(reserve(1000, 2)).toBe(0);
    expect(reserve(1001, 2)).toBe(-1);
  });
});

describe("the index of a tail", () => {
  test("has the unsettled entries of each entity, oldest first, and nothing of others", () => {
    const random = seededRandom(seed);
    const index = new TailIndex(60 * 64, 60);
    const newest = new Map<number, number>();
    const rows: { entity: number; at: number; firstSeq: number; position: number }[] = [];
    for (let position = 1; position <= 3000; position++) {
      const entity = Math.floor(random() * 8);
      const row = { entity, at: position * 3, firstSeq: position * 2, position };
      newest.set(entity, index.add(row.at, row.firstSeq, position, newest.get(entity) ?? 0));
      rows.push(row);
      // No more entries are unsettled than a tail can hold.
      const settled = position - Math.floor(random() * Math.min(60, position));
      for (const [other, row] of newest) {
        const expected = rows.filter((one) => one.entity === other && one.position > settled);
        expect(index.chain(row, settled)).toEqual(expected.map(({ entity: _, ...entry }) => entry));
      }
    }
    expect(index.chain(0, 0)).toEqual([]);
  });
});
