import { afterEach, expect, mock, spyOn, test } from "bun:test";
import { encode } from "@msgpack/msgpack";
import type { Socket } from "bun";
import { silentLogger } from "../../core/logger.ts";
import type { Answer, EnginePort } from "../engine-port.ts";
import { operation } from "../protocol/words.ts";
import { Connection } from "./connection.ts";
import { defaultTcpLimits, Shared } from "./shared.ts";

const { stallMs, idleMs } = defaultTcpLimits;

afterEach(() => mock.restore());

/** A request for the seq of an entity. */
function seqFrame(id: number): Buffer {
  const body = encode([0, id, operation.seq, "a"]);
  const frame = Buffer.alloc(4 + body.length);
  frame.writeUInt32BE(body.length);
  frame.set(body, 4);
  return frame;
}

/** A connection of one request at a time, with one under way that `answer` answers. */
function paused(arrived: Buffer) {
  const answers: Answer<number>[] = [];
  const port = {
    seq: (_entity: string, answer: Answer<number>) => void answers.push(answer),
    lookAhead() {},
  };
  let isPaused = false;
  const socket = {
    pause() {
      isPaused = true;
    },
    resume() {
      isPaused = false;
    },
    write: (_buffer: Buffer, _from: number, length: number) => length,
    end() {},
    terminate() {},
  };
  const own = { ...defaultTcpLimits, requests: 1 };
  const shared = new Shared(port as unknown as EnginePort, own, silentLogger, undefined);
  const connection = new Connection(socket as unknown as Socket<Connection>, shared);
  shared.connections.add(connection);
  connection.open();
  connection.receive(arrived);
  expect([isPaused, answers.length]).toEqual([true, 1]);
  const answer = async (): Promise<void> => {
    answers.pop()?.resolve(7);
    await new Promise((resolve) => setImmediate(resolve));
    expect(isPaused).toBe(false);
  };
  /** Whether it is open after the deadlines were looked after. */
  const isOpen = (): boolean => {
    connection.checkDeadlines(performance.now());
    return connection.phase === "open";
  };
  return { answer, isOpen };
}

test("time in which the server did not read counts neither as silence nor as a frame that does not come", async () => {
  const now = performance.now.bind(performance);
  let later = 0;
  spyOn(performance, "now").mockImplementation(() => now() + later);
  const whole = paused(seqFrame(1));
  const begun = paused(Buffer.concat([seqFrame(1), seqFrame(2).subarray(0, 6)]));
  later += idleMs + stallMs;
  for (const { isOpen } of [whole, begun]) expect(isOpen()).toBe(true);
  for (const { answer } of [whole, begun]) await answer();
  for (const { isOpen } of [whole, begun]) expect(isOpen()).toBe(true);
  // From then on it counts.
  later += stallMs + 1;
  expect([whole.isOpen(), begun.isOpen()]).toEqual([true, false]);
  later += idleMs;
  expect(whole.isOpen()).toBe(false);
});
