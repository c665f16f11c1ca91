import { expect, test } from "bun:test";
import type { ReadAnswer, ShardWorkerOptions, ToReader } from "../../shard/messages.ts";
import { Reading } from "./reading.ts";

test("the reader has a bounded number of requests, whatever is asked in one turn, and answers all in the end", async () => {
  const asked: number[] = [];
  let onmessage: (event: { data: unknown }) => void = () => {};
  let onClose = () => {};
  const worker = {
    set onmessage(hear: typeof onmessage) {
      onmessage = hear;
    },
    addEventListener: (_: string, hear: () => void) => {
      onClose = hear;
    },
    postMessage: (message: ToReader) => {
      if (message.type === "read") asked.push(...message.requests.map(({ id }) => id));
    },
  };
  const reading = await Reading.open(worker as unknown as Worker, {} as ShardWorkerOptions, () => {});
  let loaded = 0;
  const loads = Array.from({ length: 1000 }, async (_, i) => {
    await reading.load(0, `e${i}`, []);
    loaded++;
  });
  await Promise.resolve();
  await Promise.resolve();
  expect(asked.length).toBe(256);
  const answer = (ids: readonly number[]) => {
    const answers = ids.map((id): ReadAnswer => ({ id, ok: true, result: { op: "load", found: undefined } }));
    onmessage({ data: { type: "answers", answers } });
  };
  answer(asked.slice(0, 10));
  expect(asked.length).toBe(266);
  answer(asked.slice(10));
  expect(asked.length).toBe(522);
  // What was asked before the end is answered.
  const closed = reading.close();
  expect(asked).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
  answer(asked.slice(266));
  await Promise.all(loads);
  expect(loaded).toBe(1000);
  onClose();
  await closed;
});
