/**
 * Reading sample shards back and comparing them with the model: for the tests of this folder only.
 */
import { deepEquals } from "bun";
import { bytesOf, readEntry } from "../core/entry.ts";
import { assert, WarpError } from "../core/errors.ts";
import type { EntriesPage, ReadRequest } from "./messages.ts";
import type { Reader } from "./read.ts";
import { contentHashOf, type SampleEntity } from "./sample.ts";

type Result<Op extends ReadRequest["op"]> = Extract<
  Extract<ReturnType<Reader["answer"]>, { ok: true }>["result"],
  { op: Op }
>;

/** The result of a request; its failure is thrown. */
export function read<Op extends ReadRequest["op"]>(
  reader: Reader,
  request: Extract<ReadRequest, { op: Op }>,
): Result<Op> {
  const answer = reader.answer(request);
  if (!answer.ok) throw WarpError.fromWire(answer.error);
  return answer.result as Result<Op>;
}

/** The events of a page, with the text of their data. */
export function eventsOf(
  page: EntriesPage,
  entity: string,
): { seq: number; data: string; position: number }[] {
  const bytes = bytesOf(page.bytes.buffer, page.bytes.byteOffset, page.bytes.length);
  const events: { seq: number; data: string; position: number }[] = [];
  for (let at = 0, seq = page.firstSeq; at < bytes.buffer.length; at += bytes.view.getUint32(at, true)) {
    for (const event of readEntry(bytes, at, entity, seq)) {
      events.push({ seq: event.seq, data: JSON.stringify(event.data), position: event.position });
      seq = event.seq + 1;
    }
  }
  return events;
}

type PageRequest = Pick<
  Extract<ReadRequest, { op: "entries" }>,
  "number" | "from" | "to" | "direction" | "bytesMax"
>;

export function readPage(reader: Reader, request: PageRequest, shard = 0): EntriesPage {
  return read<"entries">(reader, { id: 1, op: "entries", shard, ...request }).page;
}

/** Everything the reader has of an entity equals what the model has. */
export function expectSettled(reader: Reader, entity: SampleEntity): void {
  const { shard, number, id, seq } = entity;
  const aggregates = [{ name: "account", version: 1 }];
  const { found } = read<"load">(reader, { id: 1, op: "load", shard, entity: id, aggregates });
  if (found === undefined) throw new Error(`${id} was not found`);
  assert(found.number === number && found.seq === seq, `${id} is number ${found.number}, seq ${found.seq}`);
  const expected = entity.events.map((data, i) => ({ seq: i + 1, data, position: entity.positions[i] ?? 0 }));
  assert(deepEquals(eventsOf(found.entries, id), expected, true), `the events of ${id} are other ones`);
  for (const { key, firstSeq, count, outcome } of entity.callerKeys) {
    const result = read<"key">(reader, { id: 1, op: "key", shard, number, key });
    const contentHash = new Uint8Array(contentHashOf(key));
    const same = deepEquals(result.found, { firstSeq, count, contentHash, outcome }, true);
    assert(same, `key ${key} of ${id} has another result`);
  }
  const unused = read<"key">(reader, { id: 1, op: "key", shard, number, key: "never-used" });
  assert(unused.found === undefined, `${id} has a key that was never used`);
}
