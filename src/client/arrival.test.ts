import { expect, test } from "bun:test";
import { FrameWriter } from "../net/protocol/frame-writer.ts";
import { writeWhole } from "../net/protocol/replies.ts";
import { Arrival } from "./arrival.ts";

function frames(count: number): Buffer {
  const writer = new FrameWriter(64);
  for (let i = 0; i < count; i++) writeWhole(writer, i + 1, i);
  return writer.buffer.subarray(0, writer.at);
}

/** Notes what happens: frames by their id, and what those who got them do in the microtask that follows. */
function sample(onFrame: (id: number) => void = () => {}): { arrival: Arrival; log: string[] } {
  const log: string[] = [];
  const arrival = new Arrival({
    onFrame(reader) {
      reader.whole();
      const id = reader.whole();
      log.push(`frame ${id}`);
      queueMicrotask(() => log.push(`caller ${id}`));
      onFrame(id);
      return 1;
    },
    onStep: () => log.push("step"),
    onEnd: () => log.push("end"),
    onBroken: () => log.push("broken"),
  });
  return { arrival, log };
}

const drained = () => new Promise((resolve) => setImmediate(resolve));

test("every frame is given out once and in order, and the callers of a step run before the next step", async () => {
  const { arrival, log } = sample();
  const bytes = frames(300);
  // In the middle of a frame.
  arrival.push(bytes.subarray(0, 1501));
  await drained();
  arrival.push(bytes.subarray(1501));
  await drained();
  const given = log.filter((line) => line.startsWith("frame"));
  expect(given).toEqual(Array.from({ length: 300 }, (_, i) => `frame ${i + 1}`));
  expect(log.indexOf("step")).toBeGreaterThan(log.indexOf("caller 128"));
  expect(log.indexOf("frame 129")).toBeGreaterThan(log.indexOf("step"));
  expect(log.filter((line) => line === "end")).toHaveLength(2);
  expect(arrival.isUnderWay).toBe(false);
});

test("nothing of a connection that was given up is given out, and the next one begins with a whole frame", async () => {
  const { arrival, log } = sample((id) => {
    if (id === 140) arrival.drop();
  });
  arrival.push(frames(290));
  await drained();
  expect(log.filter((line) => line.startsWith("frame")).at(-1)).toBe("frame 140");
  log.length = 0;
  arrival.push(frames(2));
  await drained();
  expect(log).toEqual(["frame 1", "frame 2", "end", "caller 1", "caller 2"]);
});

test("a frame that breaks the protocol is told once", async () => {
  const { arrival, log } = sample();
  arrival.push(Buffer.concat([frames(1), Buffer.of(0, 0, 0, 0)]));
  await drained();
  expect(log.slice(0, 2)).toEqual(["frame 1", "broken"]);
});
