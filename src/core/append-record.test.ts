import { describe, expect, test } from "bun:test";
import {
  appendRecordBound,
  entryOfOneAt,
  entryOfPart,
  type PartDraft,
  readPartHeads,
  readRecordHead,
  recordOfOneBound,
  writePart,
  writePartOfOne,
  writeRecordHeader,
} from "./append-record.ts";
import { bytesOf, readEntry } from "./entry.ts";
import { partHeaderBytes, recordHeaderBytes, recordKind } from "./record.ts";

const entry = {
  count: 2,
  types: [{ name: "Noted", utf8: Buffer.from("Noted"), version: 1 }],
  typeIndexes: undefined,
  occurred: undefined,
  data: '["ä","🦊"]',
  isMsgpack: false,
};
const nothing = { ...entry, count: 0, types: [], data: "[]" };
const key = { text: "gehälter-11", contentHash: new Uint8Array(16).fill(9) };
const delivery = { sessionStart: 1.7e12, sessionNumber: 2 ** 52, counter: 3 };
const plain = { id: undefined, key: undefined, delivery: undefined, outcome: undefined, entry };

const drafts: PartDraft[] = [
  { ...plain, number: 1, firstSeq: 1 },
  { ...plain, number: 2 ** 40, firstSeq: 7, id: "{tag}日本" },
  { ...plain, number: 3, firstSeq: 2 ** 33, key },
  { ...plain, number: 4, firstSeq: 1, delivery },
  { ...plain, number: 5, firstSeq: 9, key, outcome: '{"ok":false,"code":"NØ"}', entry: nothing },
  { ...plain, number: 6, firstSeq: 1, id: "x", key, delivery, outcome: "{}", entry: nothing },
];

describe("a record", () => {
  test("of any sections comes back, within its bound, and its entries where it says they are", () => {
    const out = bytesOf(new SharedArrayBuffer(8192));
    for (let first = 0; first < drafts.length; first++) {
      const parts = drafts.slice(first);
      const at = 11 * first;
      let end = at + recordHeaderBytes;
      const starts: number[] = [];
      for (const part of parts) {
        starts.push(end);
        end = writePart(out, end, part, 1234, 55);
      }
      writeRecordHeader(out, at, end, 200, 3, 55, parts.length);
      let bound = 0;
      for (const part of parts) bound += appendRecordBound(part);
      expect(end - at).toBeLessThanOrEqual(bound);
      const head = readRecordHead(out, at);
      const { append: kind } = recordKind;
      expect(head).toEqual({
        at,
        length: end - at,
        kind,
        shard: 200,
        epoch: 3,
        parts: parts.length,
        position: 55,
      });
      expect(readPartHeads(out, head)).toEqual(
        parts.map(({ number, firstSeq, id, key: known, delivery: of, entry: { count } }, index) => {
          const entryAt = entryOfPart(out, starts[index] ?? 0);
          const idAt = id === undefined ? undefined : (starts[index] ?? 0) + partHeaderBytes;
          return { number, firstSeq, count, recordedAt: 1234, idAt, key: known?.text, delivery: of, entryAt };
        }),
      );
      for (const [index, part] of parts.entries()) {
        const events = readEntry(out, entryOfPart(out, starts[index] ?? 0), "e", part.firstSeq);
        expect(events.map(({ data }) => data)).toEqual(part.entry.count === 0 ? [] : ["ä", "🦊"]);
      }
    }
  });

  test("of one event is written alike with and without drafts, given as its data or as a list of that", () => {
    const text = '{"of":"ä🦊"}';
    const type = { name: "Noted", utf8: Buffer.from("Noted"), version: 3 };
    for (const of of [undefined, delivery]) {
      const one = { ...entry, count: 1, types: [type], data: `[${text}]` };
      const part: PartDraft = { ...plain, number: 2 ** 40, firstSeq: 2 ** 33, delivery: of, entry: one };
      const general = bytesOf(new SharedArrayBuffer(512));
      const end = writePart(general, 40, part, 1234, 55);
      expect(entryOfOneAt(40, of)).toBe(entryOfPart(general, 40));
      for (const isList of [false, true]) {
        const plainly = bytesOf(new SharedArrayBuffer(512));
        const data = isList ? one.data : text;
        const numbers = [40, part.number, part.firstSeq] as const;
        expect(writePartOfOne(plainly, ...numbers, of, type, data, isList, 1234, 55)).toBe(end);
        expect(plainly.buffer).toEqual(general.buffer);
        expect(end - 40 + recordHeaderBytes).toBeLessThanOrEqual(recordOfOneBound(of, type, data));
      }
    }
  });
});
