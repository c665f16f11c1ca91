import { expect, test } from "bun:test";
import { bytesOf, type EntryDraft, writeEntry } from "./entry.ts";
import {
  erasureTold,
  eventsOfFeedPart,
  feedPartBytes,
  feedPartHeaderBytes,
  feedPartKind,
  readFeedPart,
  writeFeedPart,
} from "./feed.ts";
import { subjectName } from "./personal.ts";

test("parts of a page come back as they were written", () => {
  const bytes = bytesOf(new ArrayBuffer(4096));
  const name = Buffer.from("Paid");
  const draft: EntryDraft = {
    count: 2,
    types: [{ name: "Paid", utf8: name, version: 3 }],
    typeIndexes: undefined,
    occurred: undefined,
    data: `[{"cents":1},{"cents":2}]`,
    isMsgpack: false,
  };
  const scratch = bytesOf(new ArrayBuffer(1024));
  const entry = scratch.buffer.subarray(0, writeEntry(scratch, 0, draft, 1234, 77));
  const id = Buffer.from("zoë");
  const head = { kind: feedPartKind.events, number: 5, firstSeq: 9, position: 77 };
  const entryAt = writeFeedPart(bytes, 0, head, id, entry.length);
  bytes.buffer.set(entry, entryAt);
  const next = feedPartBytes(id.length, entry.length);
  writeFeedPart(bytes, next, { kind: feedPartKind.erased, number: 5, firstSeq: 0, position: 78 }, id, 0);

  const first = readFeedPart(bytes, 0);
  expect(first).toMatchObject({ ...head, entity: "zoë", length: next, entryAt });
  expect(eventsOfFeedPart(bytes, first)).toEqual([
    { entity: "zoë", seq: 9, type: "Paid", version: 3, data: { cents: 1 }, recordedAt: 1234, position: 77 },
    { entity: "zoë", seq: 10, type: "Paid", version: 3, data: { cents: 2 }, recordedAt: 1234, position: 77 },
  ]);
  const second = readFeedPart(bytes, first.length);
  expect(second).toMatchObject({ kind: feedPartKind.erased, number: 5, entity: "zoë", position: 78 });
  expect(second.length).toBe(feedPartHeaderBytes + id.length);
  expect(eventsOfFeedPart(bytes, second)).toEqual([]);
});

test("an erasure is told with the id in its own shard, and by its number alone in others that knew a subject", () => {
  const isHome = (id: string) => id === "at home";
  const told = (name: string) => {
    const { kind, id } = erasureTold(Buffer.from(name), isHome);
    return [kind, id.toString("utf8")];
  };
  expect(told("alice")).toEqual([feedPartKind.erased, "alice"]);
  expect(told(subjectName("at home"))).toEqual([feedPartKind.erased, "at home"]);
  expect(told(subjectName("elsewhere"))).toEqual([feedPartKind.forgotten, ""]);
  expect(told("")).toEqual([feedPartKind.erased, ""]);
});
