/** What the paths over TCP share: frames that are written and read again and again, sockets, and entities by their numbers. */
import { peekNumber } from "../../src/net/protocol/entity-number.ts";
import { FrameInput } from "../../src/net/protocol/frame-input.ts";
import { FrameReader } from "../../src/net/protocol/frame-reader.ts";
import { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import { writeState } from "../../src/net/protocol/requests.ts";
import { EntityNumbers } from "../../src/net/tcp/entity-numbers.ts";
import { enginePortOf } from "../../src/server.ts";
import { type Run, sink } from "./clock.ts";
import { entities, ids, order, type Sample } from "./sample.ts";

export const mainThreads = ["client main", "server main"];
const firstId = 100_000;
const aheadOf = 32;
let next = 0;

/** The number of the next call, and that of its entity: as a handle of the client's that has been called before has one. */
export const callNow = (): number => next & 0xffff;
export const anEntity = (): number => order[callNow()] ?? 0;

/** Writes frames one behind the other, beginning again when there are many. A frame has `calls` of them. */
export function writing(write: (writer: FrameWriter, id: number) => void, calls = 1): Run {
  const writer = new FrameWriter(256 * 1024);
  return (times) => {
    for (let i = 0; i < times; i += calls) {
      if (writer.at > 160 * 1024) writer.at = 0;
      write(writer, firstId + callNow());
      next += calls;
    }
  };
}

/** The frames of so many calls as they arrive. */
export function framesOf(write: (writer: FrameWriter, id: number) => void, count = 1024, calls = 1): Buffer {
  const writer = new FrameWriter(256 * 1024);
  for (next = 0; next < count; next += calls) write(writer, firstId + next);
  return Buffer.from(writer.buffer.subarray(0, writer.at));
}

/** Cuts frames out of arrivals and reads of each what `read` reads behind its first `elements`: kind, id and operation. */
export function reading(
  frames: Buffer,
  elements: number,
  read: (reader: FrameReader) => unknown,
  calls = 1,
): Run {
  const input = new FrameInput();
  const reader = new FrameReader();
  return (times) => {
    for (let i = 0; i < times; i += calls) {
      if (!input.next()) {
        input.push(frames);
        input.next();
      }
      reader.begin(input.bytes, input.frameStart, input.frameEnd);
      for (let element = 0; element < elements; element++) reader.whole(2 ** 32 - 1);
      sink.value = read(reader);
    }
  };
}

export const writeStateOf = (writer: FrameWriter, id: number): void =>
  writeState(writer, id, anEntity(), undefined, undefined);

/** By its number, as many together as a connection looks at ahead. */
export function findByNumber({ warp }: Sample): Run {
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

/** A turn of frames there and a turn of answers back, through the loopback interface; both ends are in this thread. */
export async function sockets(request: Buffer, answer: Buffer): Promise<{ run: Run; close(): void }> {
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
