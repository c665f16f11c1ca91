/** Appends and reads over TCP: the steps of the server's and of the client's main thread. */
import { encodeData } from "../../src/aggregate/json-data.ts";
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import { encodeEvents } from "../../src/client/encoding.ts";
import { peekNumber } from "../../src/net/protocol/entity-number.ts";
import { FrameInput } from "../../src/net/protocol/frame-input.ts";
import { FrameReader } from "../../src/net/protocol/frame-reader.ts";
import { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import type { Appended } from "../../src/net/protocol/outcomes.ts";
import { readOutcome, readStateAt, writeOutcome, writeStateAt } from "../../src/net/protocol/replies.ts";
import { eventsOf, readAppend, readState, writeAppend, writeState } from "../../src/net/protocol/requests.ts";
import { EntityNumbers } from "../../src/net/tcp/entity-numbers.ts";
import { enginePortOf } from "../../src/server.ts";
import { fold, promise, record, turn } from "./append-path.ts";
import { type Run, sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { entities, events, ids, openSample, order, type Sample } from "./sample.ts";
import { wholeRun } from "./whole-run.ts";

const delivery = { sessionStart: 1.7e12, sessionNumber: 5_123_456_789_012_345, counter: 1, behind: 200 };
const drafts = events.map((event) => encodeEvents([event], false));
const mainThreads = ["client main", "server main"];
const firstId = 100_000;
const aheadOf = 32;
let next = 0;

/** As a handle of the client's that has been called before, by its number. */
const anEntity = (): number => order[next & 0xffff] ?? 0;

/** Writes frames one behind the other, beginning again when there are many. */
function writing(write: (writer: FrameWriter, id: number) => void): Run {
  const writer = new FrameWriter(256 * 1024);
  return (times) => {
    for (let i = 0; i < times; i++) {
      if (writer.at > 200 * 1024) writer.at = 0;
      write(writer, firstId + (next++ & 0xffff));
    }
  };
}

/** So many frames as they arrive. */
function framesOf(write: (writer: FrameWriter, id: number) => void, count = 1024): Buffer {
  const writer = new FrameWriter(256 * 1024);
  for (next = 0; next < count; next++) write(writer, firstId + next);
  return Buffer.from(writer.buffer.subarray(0, writer.at));
}

/** Cuts frames out of arrivals and reads of each what `read` reads; of a request also its kind, id and operation. */
function reading(frames: Buffer, elements: 2 | 3, read: (reader: FrameReader) => unknown): Run {
  const input = new FrameInput();
  const reader = new FrameReader();
  return (times) => {
    for (let i = 0; i < times; i++) {
      if (!input.next()) {
        input.push(frames);
        input.next();
      }
      reader.begin(input.bytes, input.frameStart, input.frameEnd);
      reader.whole();
      reader.whole(2 ** 32 - 1);
      if (elements === 3) reader.whole();
      sink.value = read(reader);
    }
  };
}

/** By its number, as many together as a connection looks at ahead. */
function findByNumber({ warp }: Sample): Run {
  const port = enginePortOf(warp);
  const numbers = new EntityNumbers(port);
  numbers.limit = entities;
  for (const [number, id] of ids.entries()) numbers.find({ number, id });
  const input = new FrameInput();
  const frames = framesOf(writeStateOf);
  return (times) => {
    for (let i = 0; i < times; i++) {
      if (i % aheadOf === 0) {
        if (input.waiting < frames.length / 2) {
          input.drop();
          input.push(frames);
        }
        numbers.lookAhead(input, aheadOf);
      }
      input.next();
      sink.value = numbers.find(peekNumber(input.bytes, input.frameStart, input.frameEnd));
    }
  };
}

const outcome = (id: number): Appended => {
  const seq = 1 + (id % 40);
  return { ok: true, seq, firstSeq: seq, count: 1, duplicate: false, shard: id & 15, position: id * 16 };
};
const state = { seq: 12, state: { cents: 1_234_567, count: 12 } };
const writeAppendOf = (writer: FrameWriter, id: number): void => {
  const draft = drafts[next & 1023];
  if (draft !== undefined)
    writeAppend(writer, id, anEntity(), draft, undefined, { ...delivery, counter: id });
};
const writeStateOf = (writer: FrameWriter, id: number): void =>
  writeState(writer, id, anEntity(), undefined, undefined);
const writeOutcomeOf = (writer: FrameWriter, id: number): void => writeOutcome(writer, id, outcome(id));
const writeStateAtOf = (writer: FrameWriter, id: number): void => writeStateAt(writer, id, state);

/** A turn of frames there and a turn of answers back, through the loopback interface; both ends are in this thread. */
async function sockets(request: Buffer, answer: Buffer): Promise<{ run: Run; close(): void }> {
  const listener = Bun.listen<{ received: number }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { received: 0 };
        socket.setNoDelay(true);
      },
      data(socket, chunk) {
        socket.data.received += chunk.length;
        if (socket.data.received < request.length) return;
        socket.data.received -= request.length;
        socket.write(answer);
      },
    },
  });
  let received = 0;
  let answered = () => {};
  const client = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    socket: {
      data(_, chunk) {
        received += chunk.length;
        if (received >= answer.length) answered();
      },
    },
  });
  client.setNoDelay(true);
  const run: Run = async (times) => {
    for (let i = 0; i < times; i++) {
      received = 0;
      await new Promise<void>((resolve) => {
        answered = resolve;
        client.write(request);
      });
    }
  };
  const close = () => {
    client.end();
    listener.stop(true);
  };
  return { run, close };
}

export async function openTcp(): Promise<Steps> {
  const sample = await openSample();
  const appends = framesOf(writeAppendOf);
  const outcomes = framesOf(writeOutcomeOf);
  const requests = Array.from({ length: 1024 }, () => ({ entity: "", types: "Paid", data: "" }));
  for (const [i, draft] of drafts.entries())
    requests[i] = { entity: "", types: "Paid", data: draft.data as string };
  const wire = await sockets(framesOf(writeAppendOf, turn), framesOf(writeOutcomeOf, turn));
  const nothing = { occurred: undefined, options: undefined, personal: undefined };
  return {
    steps: {
      "client: encode the event": {
        run: (times) => {
          for (let i = 0; i < times; i++) {
            const event = events[next++ & 1023];
            if (event !== undefined) sink.value = encodeEvents([event], false);
          }
        },
      },
      "client: write the request": { run: writing(writeAppendOf) },
      "both: sockets": { run: wire.run, per: turn },
      "server: read the request": { run: reading(appends, 3, readAppend) },
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
            sink.value = encodeData([events[at]?.data], requests[at]?.data);
          }
        },
      },
      "server: fold the event": { run: fold() },
      "server: write the record": { run: record(delivery) },
      "server: write the answer": { run: writing(writeOutcomeOf) },
      "client: read the answer": { run: reading(outcomes, 2, readOutcome) },
      "client: resolve a promise": { run: promise },
    },
    whole: () => wholeRun(mainThreads),
    async close() {
      wire.close();
      await sample.close();
    },
  };
}

export async function openRead(): Promise<Steps> {
  const sample = await openSample();
  const handles = ids.map((id) => sample.warp.entity(id));
  const wire = await sockets(framesOf(writeStateOf, turn), framesOf(writeStateAtOf, turn));
  return {
    steps: {
      "client: write the request": { run: writing(writeStateOf) },
      "both: sockets": { run: wire.run, per: turn },
      "server: read the request": { run: reading(framesOf(writeStateOf), 3, readState) },
      "server: find the actor": { run: findByNumber(sample) },
      "server: read its state": {
        run: (times) => {
          for (let i = 0; i < times; i++)
            sink.value = handles[order[next++ & 0xffff] ?? 0]?.residentSnapshot(ledger.name);
        },
      },
      "server: write the answer": { run: writing(writeStateAtOf) },
      "client: read the answer": { run: reading(framesOf(writeStateAtOf), 2, readStateAt) },
      "client: resolve a promise": { run: promise },
    },
    whole: () => wholeRun(mainThreads, "--read"),
    async close() {
      wire.close();
      await sample.close();
    },
  };
}
