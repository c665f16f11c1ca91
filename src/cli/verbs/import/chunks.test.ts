import { describe, expect, test } from "bun:test";
import { limits } from "../../../core/limits.ts";
import { type Chunk, ChunkCutter, chunkBytes, chunkRows } from "./chunks.ts";

interface Given {
  readonly bytes?: number;
  readonly entity?: string;
  readonly type?: string;
  readonly isSkipped?: boolean;
}

/** Cuts rows that stand one a line, from line 1. */
function cut(rows: readonly Given[]): Chunk[] {
  const cutter = new ChunkCutter();
  const chunks: (Chunk | undefined)[] = [];
  rows.forEach(({ bytes = 10, entity = "a", type = "T", isSkipped = false }, i) => {
    const row = { line: i + 1, bytes };
    chunks.push(isSkipped ? cutter.skip(row) : cutter.add(row, entity, { type, data: i }));
  });
  chunks.push(cutter.end());
  return chunks.filter((chunk) => chunk !== undefined);
}

const rowsOf = (count: number, row: Given = {}): Given[] => Array.from({ length: count }, () => row);
const spans = (chunks: readonly Chunk[]) =>
  chunks.map(({ firstLine, lastLine, rows }) => [firstLine, lastLine, rows]);

describe("a chunk", () => {
  test("ends after a fixed number of rows", () => {
    expect(spans(cut(rowsOf(chunkRows * 2 + 1)))).toEqual([
      [1, chunkRows, chunkRows],
      [chunkRows + 1, chunkRows * 2, chunkRows],
      [chunkRows * 2 + 1, chunkRows * 2 + 1, 1],
    ]);
    expect(cut(rowsOf(chunkRows))).toHaveLength(1);
    expect(cut([])).toEqual([]);
  });

  test("ends where it would become too large for one append", () => {
    const half = { bytes: chunkBytes / 2 };
    expect(spans(cut([half, half, half, { bytes: chunkBytes * 2 }, half]))).toEqual([
      [1, 2, 2],
      [3, 3, 1],
      [4, 4, 1],
      [5, 5, 1],
    ]);
  });

  test("ends where it would have more types than one append may have", () => {
    const rows = Array.from({ length: limits.appendTypesMax + 2 }, (_, i) => ({ type: `T${i}` }));
    expect(spans(cut([...rows, { type: "T0" }]))).toEqual([
      [1, limits.appendTypesMax, limits.appendTypesMax],
      [limits.appendTypesMax + 1, limits.appendTypesMax + 3, 3],
    ]);
  });

  test("ends at the same row whether rows in it are skipped or not", () => {
    const kept = rowsOf(chunkRows + 5);
    const skipped = kept.map((row, i) => ({ ...row, isSkipped: i % 3 === 0 }));
    expect(spans(cut(skipped))).toEqual(spans(cut(kept)));
    expect(cut(rowsOf(3, { isSkipped: true }))[0]?.groups.size).toBe(0);
  });

  test("groups its events by entity, in the order of the rows", () => {
    const [chunk] = cut([
      { entity: "a" },
      { entity: "b" },
      { entity: "a" },
      { isSkipped: true },
      { entity: "b" },
    ]);
    expect([...(chunk?.groups ?? [])]).toEqual([
      [
        "a",
        [
          { type: "T", data: 0 },
          { type: "T", data: 2 },
        ],
      ],
      [
        "b",
        [
          { type: "T", data: 1 },
          { type: "T", data: 4 },
        ],
      ],
    ]);
  });
});
