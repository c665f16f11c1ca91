import { expect, test } from "bun:test";
import type { StoredEvent } from "../../core/event.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { writeDelete, writeHold } from "./privacy.ts";
import { writeProjectionResult, writeQuery } from "./querying.ts";
import { writeEventsPage, writeNothing, writeOutcome, writeStateAt, writeValue } from "./replies.ts";

const lone = { text: "\ud800" };
const large = { text: "é".repeat(6_000_000) };
const rejected = { ok: false, reason: "rejected", code: "NO", seq: 3, duplicate: false } as const;
const event: StoredEvent = {
  entity: "a",
  seq: 1,
  type: "T",
  version: 1,
  recordedAt: 1,
  position: 1,
  data: 1,
};

const writers: Readonly<Record<string, (writer: FrameWriter, unfit: object) => void>> = {
  "the details of an outcome": (writer, unfit) => writeOutcome(writer, 1, { ...rejected, details: unfit }),
  "what an event says of somebody else": (writer, unfit) =>
    writeEventsPage(writer, 1, [event, { ...event, personal: unfit }], "[1,1]", undefined),
  "a state": (writer, unfit) => writeStateAt(writer, 1, { seq: 1, state: unfit }),
  "a value": (writer, unfit) => writeValue(writer, 1, unfit),
  "statuses of projections": (writer, unfit) => writeProjectionResult(writer, 1, [unfit]),
  "parameters of a query": (writer, unfit) => writeQuery(writer, 1, "SELECT ?", [unfit as never], {}),
  "options of a query": (writer, unfit) => writeQuery(writer, 1, "SELECT 1", [], unfit),
  "options of a deletion": (writer, unfit) => writeDelete(writer, 1, "a", unfit as Record<string, unknown>),
  "options of a hold": (writer, unfit) => writeHold(writer, 1, "a", "set", unfit as Record<string, unknown>),
};

for (const [name, write] of Object.entries(writers)) {
  test(`${name} that cannot be written leaves nothing behind`, () => {
    const writer = new FrameWriter(16);
    for (const [unfit, code] of [
      [lone, "INVALID_EVENT"],
      [large, "EVENT_TOO_LARGE"],
    ] as const) {
      writeNothing(writer, 7);
      const { at } = writer;
      expect(() => write(writer, unfit)).toThrow(expect.objectContaining({ code }));
      expect(writer.at).toBe(at);
    }
    const reader = new FrameReader();
    reader.begin(writer.buffer, 4, writer.at / 2);
    expect([reader.whole(), reader.whole(), reader.isNil()]).toEqual([1, 7, true]);
  });
}
