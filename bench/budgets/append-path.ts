/** Appends in process: the steps of the main thread. */
import { compileAggregates } from "../../src/aggregate/fold.ts";
import { encodeData } from "../../src/aggregate/json-data.ts";
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import {
  appendRecordBound,
  type PartDraft,
  writePart,
  writeRecordHeader,
} from "../../src/core/append-record.ts";
import { recordHeaderBytes } from "../../src/core/record.ts";
import { Tail } from "../../src/journal/tail.ts";
import { type Run, sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { entities, events, ids, openSample, order, type Sample } from "./sample.ts";
import { wholeRun } from "./whole-run.ts";

/** A turn holds about as many appends with 256 callers. */
export const turn = 64;

let next = 0;

export function findActor({ warp }: Sample): Run {
  return (times) => {
    for (let i = 0; i < times; i++) sink.value = warp.entity(ids[order[next++ & 0xffff] ?? 0] ?? "");
  };
}

export function fold(): Run {
  const plan = compileAggregates([ledger]);
  const handlers = plan.handlersOf("Paid");
  const states = Array.from({ length: entities }, () => plan.initialStates());
  const stored = events.map(({ type, data }, i) => ({
    type,
    data,
    entity: "alice",
    seq: i,
    recordedAt: 1e12,
  }));
  return (times) => {
    for (let i = 0; i < times; i++) {
      const entity = order[next & 0xffff] ?? 0;
      const event = stored[next++ & 1023];
      const before = states[entity];
      if (event !== undefined && before !== undefined) states[entity] = plan.fold(before, event, handlers);
    }
  };
}

/** Space in a tail, the record in it, and the tail's index; a turn ends and is freed at the end of each `turn`. */
export function record(delivery?: PartDraft["delivery"]): Run {
  const tail = new Tail(16 * 1024 * 1024);
  const types = [{ name: "Paid", utf8: Buffer.from("Paid"), version: 1 }];
  const texts = events.map(({ data }) => encodeData([data]));
  let id = 1;
  return (times) => {
    for (let i = 0; i < times; i++) {
      const data = texts[next++ & 1023] ?? "[]";
      const entry = { count: 1, types, typeIndexes: undefined, occurred: undefined, data, isMsgpack: false };
      const part: PartDraft = {
        ...{ number: next & 8191, firstSeq: next },
        ...{ id: undefined, key: undefined, delivery, outcome: undefined, entry },
      };
      const at = tail.reserve(appendRecordBound(part), id, () => {});
      const end = writePart(tail.bytes, at + recordHeaderBytes, part, 1e12, next);
      writeRecordHeader(tail.bytes, at, end, 3, 1, next, 1);
      tail.commit(end);
      if (next % turn !== 0) continue;
      tail.close(id);
      tail.free(id++);
    }
  };
}

/** A promise that is made, resolved by somebody else, and awaited. */
export const promise: Run = async (times) => {
  for (let i = 0; i < times; i++) {
    const { promise, resolve } = Promise.withResolvers<number>();
    resolve(i);
    sink.value = await promise;
  }
};

const encode: Run = (times) => {
  for (let i = 0; i < times; i++) sink.value = encodeData([events[next++ & 1023]?.data]);
};

export async function openAppend(): Promise<Steps> {
  const sample = await openSample();
  return {
    steps: {
      "find the actor": { run: findActor(sample) },
      "check and encode the data": { run: encode },
      "fold the event": { run: fold() },
      "write the record": { run: record() },
      "resolve a promise": { run: promise },
    },
    whole: () => wholeRun(["main"], "--in-process"),
    close: sample.close,
  };
}
