import { afterAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { FromReader, FromWriter, ShardWorkerOptions, ToReader, ToWriter } from "./messages.ts";
import { appendRandomly, SampleTail, sampleDirectory, sampleOptions, seededRandom } from "./sample.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** A Worker with its messages as a queue: what a test does not expect stays in it and fails the test. */
class Thread<To, From extends { readonly type: string }> {
  readonly #worker: Worker;
  readonly #messages: From[] = [];
  #wake: () => void = () => undefined;
  readonly exited: Promise<void>;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.exited = new Promise((resolve) => worker.addEventListener("close", () => resolve()));
    worker.addEventListener("message", ({ data }: MessageEvent<From>) => {
      this.#messages.push(data);
      this.#wake();
    });
  }

  send(message: To): void {
    this.#worker.postMessage(message);
  }

  async next(): Promise<From | undefined> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#messages.shift();
  }

  async expect<Type extends From["type"]>(type: Type): Promise<Extract<From, { type: Type }>> {
    const message = await this.next();
    if (message?.type !== type) throw new Error(`${type} was due and ${JSON.stringify(message)} came`);
    return message as Extract<From, { type: Type }>;
  }

  get leftOver(): number {
    return this.#messages.length;
  }
}

const writerThread = () =>
  new Thread<ToWriter, FromWriter>(new Worker(new URL("./writer-worker.ts", import.meta.url)));
const readerThread = () =>
  new Thread<ToReader, FromReader>(new Worker(new URL("./reader-worker.ts", import.meta.url)));

function freshOptions(): ShardWorkerOptions {
  const directory = sampleDirectory();
  directories.push(directory);
  return sampleOptions(directory);
}

describe("the threads of shards", () => {
  test("settle rounds while a patient checkpoint goes from shard to shard, and say when all of a round is there", async () => {
    const tail = new SampleTail(8 * 2 ** 20);
    const writer = writerThread();
    writer.send({ type: "open", options: freshOptions(), tail: tail.memory });
    await writer.expect("opened");
    appendRandomly(tail, seededRandom(3), 100);
    writer.send(tail.settleMessage());
    await writer.expect("settled");
    writer.send({ type: "checkpoint", pace: "patient" });
    writer.send({ type: "checkpoint", pace: "patient" });
    appendRandomly(tail, seededRandom(4), 100);
    writer.send(tail.settleMessage());
    let round = 0;
    let settled = 1;
    // Which comes first is left to the disk.
    while (round < 1 || settled < 2) {
      const message = await writer.next();
      if (message?.type === "checkpointed") round = message.round;
      else if (message?.type === "settled") settled = message.round;
      else throw new Error(`nobody waits for ${JSON.stringify(message)}`);
    }
    writer.send({ type: "checkpoint" });
    while (round < 2) round = (await writer.expect("checkpointed")).round;
    writer.send({ type: "close" });
    await writer.exited;
  });

  test("open, settle, checkpoint, answer, close and end", async () => {
    const options = freshOptions();
    const tail = new SampleTail(8 * 2 ** 20);
    const writer = writerThread();
    writer.send({ type: "open", options, tail: tail.memory });
    expect((await writer.expect("opened")).shards.length).toBe(3);
    appendRandomly(tail, seededRandom(3), 100);
    writer.send(tail.settleMessage());
    expect((await writer.expect("settled")).round).toBe(1);
    writer.send({ type: "checkpoint" });
    expect((await writer.expect("checkpointed")).round).toBe(1);

    const reader = readerThread();
    reader.send({ type: "open", options });
    await reader.expect("opened");
    const aggregates = [{ name: "account", version: 1 }];
    const load = (id: number, shard: number, entity: string) =>
      ({ id, op: "load", shard, entity, aggregates }) as const;
    reader.send({
      type: "read",
      requests: [
        ...tail.entities.map(({ shard, id }, i) => load(i, shard, id)),
        load(9999, 0, "nobody"),
        load(1, 77, "x"),
      ],
    });
    const { answers } = await reader.expect("answers");
    for (const [i, { number, seq }] of tail.entities.entries()) {
      expect(answers[i]).toMatchObject({ id: i, ok: true, result: { op: "load", found: { number, seq } } });
    }
    expect(answers.at(-2)).toEqual({ id: 9999, ok: true, result: { op: "load", found: undefined } });
    expect(answers.at(-1)).toMatchObject({ id: 1, ok: false, error: { code: "CORRUPT" } });

    writer.send({ type: "close" });
    await writer.expect("closed");
    await writer.exited;
    reader.send({ type: "close" });
    await reader.expect("closed");
    await reader.exited;
    expect([writer.leftOver, reader.leftOver]).toEqual([0, 0]);
    const files = readdirSync(join(options.dataDir, "shards", "000")).sort();
    expect(files.filter((name) => !name.endsWith("-shm") && !name.endsWith("-wal"))).toEqual([
      "ids.filter",
      "keys.filter",
      "ledger",
      "names.db",
      "runs.db",
      "vault",
    ]);
  });

  test("tell of a failure once, close their files and end; the next start settles", async () => {
    const options = freshOptions();
    const tail = new SampleTail(2 ** 20);
    const first = writerThread();
    first.send({ type: "open", options, tail: tail.memory });
    await first.expect("opened");
    tail.append([tail.entity(0, "a")], ["1"]);
    const { ranges, ...rest } = tail.settleMessage();
    first.send({ ...rest, ranges: Float64Array.of(3, 40) });
    first.send({ type: "checkpoint" });
    expect((await first.expect("failed")).error.code).toBe("CORRUPT");
    await first.exited;
    expect(first.leftOver).toBe(0);

    const second = writerThread();
    second.send({ type: "open", options: { ...options, create: false }, tail: tail.memory });
    await second.expect("opened");
    second.send({ ...rest, ranges });
    expect((await second.expect("settled")).runs).toBe(1);
    second.send({ type: "close" });
    await second.expect("closed");
    await second.exited;
  });

  test("that cannot open say why", async () => {
    const options = { ...freshOptions(), create: false };
    const writer = writerThread();
    writer.send({ type: "open", options, tail: new SharedArrayBuffer(16) });
    expect((await writer.expect("failed")).error).toMatchObject({ code: "CORRUPT" });
    await writer.exited;
  });

  test("announce a filter that has grown, and the larger one holds everything", async () => {
    const options = { ...freshOptions(), shards: [0] };
    const tail = new SampleTail(16 * 2 ** 20);
    const writer = writerThread();
    writer.send({ type: "open", options, tail: tail.memory });
    await writer.expect("opened");
    for (let i = 0; i < 12_000; i++) tail.append([tail.entity(0, `entity-${i}`)], ["1"]);
    writer.send(tail.settleMessage());
    const grown = await writer.expect("filter");
    expect([grown.shard, grown.of, grown.filter.layers.length]).toEqual([0, "ids", 2]);
    await writer.expect("settled");
    writer.send({ type: "close" });
    await writer.expect("closed");
    await writer.exited;
  });
});
