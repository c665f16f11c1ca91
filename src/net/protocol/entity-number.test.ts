import { expect, test } from "bun:test";
import fc from "fast-check";
import { type EntityName, peekNumber, readEntity, withId } from "./entity-number.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { writeAppend, writePing, writeSend, writeSeq, writeState } from "./requests.ts";
import { lengthBytes } from "./words.ts";

type Write = (writer: FrameWriter, id: number, entity: EntityName) => void;

const delivery = { sessionStart: 1.8e12, sessionNumber: 2 ** 53 - 1, counter: 7, behind: 3 };
const draft = { types: "Paid", data: '[{"cents":5}]', occurred: undefined };
const writes: readonly Write[] = [
  (writer, id, entity) => writeAppend(writer, id, entity, draft, { key: "k" }, delivery),
  (writer, id, entity) => writeSend(writer, id, entity, "pay", "5", { expect: 3 }, delivery),
  (writer, id, entity) => writeState(writer, id, entity, "ledger", { seq: 5 }),
  (writer, id, entity) => writeSeq(writer, id, entity),
];

const requestId = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }));
const number = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 65_535 }));
const entityId = fc.oneof(
  fc.string({ minLength: 1, maxLength: 40 }),
  fc.string({ unit: "grapheme", minLength: 1 }),
);

function frameOf(write: Write, id: number, entity: EntityName): Buffer {
  const writer = new FrameWriter(16);
  write(writer, id, entity);
  return writer.buffer.subarray(0, writer.at);
}

test("a number is seen where a request names its entity by one, and nowhere else", () => {
  fc.assert(
    fc.property(requestId, number, entityId, (id, name, text) => {
      for (const write of writes) {
        const byNumber = frameOf(write, id, name);
        expect(peekNumber(byNumber, lengthBytes, byNumber.length)).toBe(name);
        const byId = frameOf(write, id, text);
        expect(peekNumber(byId, lengthBytes, byId.length)).toBe(-1);
        const told = frameOf(write, id, { number: name, id: text });
        expect(peekNumber(told, lengthBytes, told.length)).toBe(-1);
      }
      const ping = frameOf(writePing, id, "");
      expect(peekNumber(ping, lengthBytes, ping.length)).toBe(-1);
    }),
  );
});

test("any bytes may be looked at", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const seen = peekNumber(bytes, 0, bytes.length);
      expect(Number.isInteger(seen) && seen >= -1 && seen <= 0xffff).toBe(true);
    }),
    { numRuns: 5000 },
  );
});

test("written once more with its id, a request is what it would have been with the id at first", () => {
  fc.assert(
    fc.property(requestId, number, entityId, (id, name, text) => {
      for (const write of writes) {
        const writer = new FrameWriter(16);
        withId(frameOf(write, id, name), text, writer);
        withId(frameOf(write, id, { number: name, id: text }), text, writer);
        const right = frameOf(write, id, text);
        expect(writer.buffer.subarray(0, writer.at).equals(Buffer.concat([right, right]))).toBe(true);
      }
    }),
  );
});

test("both are read as they were written", () => {
  fc.assert(
    fc.property(number, entityId, (name, id) => {
      for (const entity of [id, name, { number: name, id }]) {
        const frame = frameOf(writeSeq as Write, 1, entity);
        const reader = new FrameReader();
        reader.begin(frame, lengthBytes, frame.length);
        for (let i = 0; i < 3; i++) reader.whole();
        expect(readEntity(reader)).toEqual(entity);
        reader.finish();
      }
    }),
  );
});
