/** Single appends over TCP, as they lie together in frames: the steps of the client's and of the server's main thread. */
import { encodeData } from "../../src/aggregate/json-data.ts";
import { encodePlain } from "../../src/client/encoding.ts";
import type { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import { AppendsWriter, GroupedAppends } from "../../src/net/protocol/grouped/appends.ts";
import { OutcomesWriter, readOutcomes } from "../../src/net/protocol/grouped/outcomes.ts";
import type { Appended } from "../../src/net/protocol/outcomes.ts";
import { eventsOf } from "../../src/net/protocol/requests.ts";
import { fold, promise, record, turn } from "./append-path.ts";
import { sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { events, openSample, order } from "./sample.ts";
import { callNow, findByNumber, framesOf, mainThreads, reading, sockets, writing } from "./wire.ts";
import { wholeRun } from "./whole-run.ts";

/** Of one frame: as many as a turn has, or a frame takes. */
const grouped = 32;
const delivery = { sessionStart: 1.7e12, sessionNumber: 5_123_456_789_012_345, counter: 1, behind: 200 };
const texts = events.map((event) => encodePlain(event) ?? "");
const appends = new AppendsWriter();
const outcomes = new OutcomesWriter();
let next = 0;

const writeAppends = (writer: FrameWriter, id: number): void => {
  appends.begin(writer, id, "Paid", { ...delivery, counter: id });
  for (let i = 0; i < grouped; i++) {
    const call = callNow() + i;
    appends.add(writer, order[call & 0xffff] ?? 0, texts[call & 1023] ?? "");
  }
  appends.end(writer);
};

function readAppends(reader: ConstructorParameters<typeof GroupedAppends>[0]): void {
  const read = new GroupedAppends(reader);
  for (let i = 0; i < read.count; i++) sink.value = read.read(i);
}

const outcome = (id: number): Appended => {
  const seq = 1 + (id % 40);
  return { ok: true, seq, firstSeq: seq, count: 1, duplicate: false, shard: id & 15, position: id * 16 };
};
const writeOutcomes = (writer: FrameWriter, id: number): void => {
  outcomes.close();
  for (let i = 0; i < grouped; i++) outcomes.add(writer, id + i, outcome(id + i));
};
const takeOutcome = (_: number, read: Appended): void => {
  sink.value = read;
};

export async function openTcp(): Promise<Steps> {
  const sample = await openSample();
  const requests = texts.map((data) => ({ entity: "", types: "Paid", data }));
  const there = framesOf(writeAppends, turn, grouped);
  const wire = await sockets(there, framesOf(writeOutcomes, turn, grouped));
  const nothing = { occurred: undefined, options: undefined, personal: undefined };
  return {
    steps: {
      "client: encode the event": {
        run: (times) => {
          for (let i = 0; i < times; i++) {
            const event = events[next++ & 1023];
            if (event !== undefined) sink.value = encodePlain(event);
          }
        },
      },
      "client: write the request": { run: writing(writeAppends, grouped) },
      "both: sockets": { run: wire.run, per: turn },
      "server: read the request": {
        run: reading(framesOf(writeAppends, 1024, grouped), 3, readAppends, grouped),
      },
      "server: parse its data": {
        run: (times) => {
          for (let i = 0; i < times; i++) {
            const request = requests[next++ & 1023];
            if (request !== undefined) sink.value = eventsOf({ ...request, ...nothing });
          }
        },
      },
      "server: find the actor": { run: findByNumber(sample) },
      "server: check the data": {
        run: (times) => {
          for (let i = 0; i < times; i++) {
            const at = next++ & 1023;
            sink.value = encodeData([events[at]?.data], texts[at]);
          }
        },
      },
      "server: fold the event": { run: fold() },
      "server: write the record": { run: record(delivery) },
      "server: write the answer": { run: writing(writeOutcomes, grouped) },
      "client: read the answer": {
        run: reading(
          framesOf(writeOutcomes, 1024, grouped),
          1,
          (reader) => readOutcomes(reader, takeOutcome),
          grouped,
        ),
      },
      "client: resolve a promise": { run: promise },
    },
    whole: () => wholeRun(mainThreads),
    async close() {
      wire.close();
      await sample.close();
    },
  };
}
