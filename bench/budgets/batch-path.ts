/** Batches over TCP, whose data is a table: the steps of the client's and of the server's main thread, for each event. */
import { compileAggregates } from "../../src/aggregate/fold.ts";
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import { encodeEvents } from "../../src/client/encoding.ts";
import { appendRecordBound, type PartDraft, writePart } from "../../src/core/append-record.ts";
import { TableBytes } from "../../src/core/table.ts";
import { FrameReader } from "../../src/net/protocol/frame-reader.ts";
import type { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import { type AppendRequest, eventsOf, readAppend, writeAppend } from "../../src/net/protocol/requests.ts";
import { Tail } from "../../src/journal/tail.ts";
import { type Run, sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { payments } from "./sample.ts";
import { framesOf, mainThreads, reading, writing } from "./wire.ts";
import { wholeRun } from "./whole-run.ts";

const batchEvents = 500;
/** So many different ones that what they have in common is not learned from one of them. */
const batches = Array.from({ length: 16 }, () => payments.batch(batchEvents));
const drafts = batches.map((events) => encodeEvents(events, true));
const delivery = { sessionStart: 1.7e12, sessionNumber: 5_123_456_789_012_345, counter: 1, behind: 16 };
let next = 0;

const writeBatch = (writer: FrameWriter, id: number): void => {
  const draft = drafts[next++ & 15];
  if (draft !== undefined) writeAppend(writer, id, 5, draft, undefined, { ...delivery, counter: id });
};

/** One batch as it came. */
function requestOf(): AppendRequest {
  const frame = framesOf(writeBatch, 1);
  const reader = new FrameReader();
  reader.begin(frame, 4, frame.length);
  for (let i = 0; i < 3; i++) reader.whole();
  return readAppend(reader);
}

/** Space in a tail and the record in it, with the bytes that came. */
function recordBatch(requests: readonly AppendRequest[]): Run {
  const tail = new Tail(16 * 1024 * 1024);
  const types = [{ name: "Paid", utf8: Buffer.from("Paid"), version: 1 }];
  let id = 1;
  return (times) => {
    for (let i = 0; i < times; i++) {
      const data = requests[next++ & 15]?.data;
      if (!(data instanceof TableBytes)) throw new Error("a batch is a table");
      const entry = { types, typeIndexes: undefined, occurred: undefined, data, isMsgpack: false };
      const part: PartDraft = {
        ...{ number: next & 8191, firstSeq: next, id: undefined, key: undefined },
        ...{ delivery, outcome: undefined, entry: { count: batchEvents, ...entry } },
      };
      const at = tail.reserve(appendRecordBound(part), id, () => {});
      tail.commit(writePart(tail.bytes, at, part, 1e12, next));
      tail.close(id);
      tail.free(id++);
    }
  };
}

function foldBatch(): Run {
  const plan = compileAggregates([ledger]);
  const handlers = plan.handlersOf("Paid");
  let states = plan.initialStates();
  return (times) => {
    for (let i = 0; i < times; i++) {
      for (const { type, data } of batches[next++ & 15] ?? [])
        states = plan.fold(states, { entity: "alice", seq: next, type, data, recordedAt: 1e12 }, handlers);
      sink.value = states;
    }
  };
}

/** A batch is one call of each step, and a figure is for an event of it. */
export function openBatch(): Promise<Steps> {
  const requests = drafts.map(requestOf);
  const one = (run: Run) => ({ run, per: batchEvents });
  const steps = {
    "client: fill the table": one((times) => {
      for (let i = 0; i < times; i++) sink.value = encodeEvents(batches[next++ & 15] ?? [], true);
    }),
    "client: write the request": one(writing(writeBatch)),
    "server: read the request": one(reading(framesOf(writeBatch, 4), 3, readAppend)),
    "server: read and check the rows": one((times) => {
      for (let i = 0; i < times; i++) {
        const request = requests[next++ & 15];
        if (request !== undefined) sink.value = eventsOf(request);
      }
    }),
    "server: fold the events": one(foldBatch()),
    "server: write the record": one(recordBatch(requests)),
  };
  const whole = () => wholeRun(mainThreads, "--batch", "500", "--callers", "16");
  return Promise.resolve({ steps, whole, close: () => Promise.resolve() });
}
