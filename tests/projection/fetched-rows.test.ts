/**
 * Batches over a sink that cannot be read at once: handlers run again until all that they read is there.
 */
import { expect, test } from "bun:test";
import type { FoldPlan } from "../../src/aggregate/fold.ts";
import type { StoredEvent } from "../../src/core/event.ts";
import { defineProjection } from "../../src/index.ts";
import { Batch } from "../../src/projection/build/batch.ts";
import type { ErasedBefore } from "../../src/projection/build/erased-before.ts";
import type { Row } from "../../src/projection/build/rows.ts";
import type { FailurePolicy } from "../../src/projection/definition.ts";
import type { Sink } from "../../src/projection/sink.ts";

const stock = (onFailure: FailurePolicy) =>
  defineProjection({
    name: "stock",
    onFailure,
    tables: {
      stock: {
        columns: { sku: "integer", next: "integer", n: "integer" },
        key: ["sku"],
        shared: true,
        onErase: "keep",
      },
    },
    on: {
      Ordered: ({ data }, { stock }) => {
        for (let sku = 0; sku < data.lines; sku++) stock.add({ sku }, { n: 1 });
      },
      /** Every row says which is the next. */
      Followed: ({ data }, { stock }) => {
        let sku = 0;
        for (let i = 0; i < data.steps; i++) sku = stock.get({ sku })?.next ?? -1;
        stock.add({ sku }, { n: 1000 });
      },
      Endless: (_, { stock }) => {
        for (let sku = 0; ; sku++) stock.get({ sku });
      },
      Known: (_, { stock }) => {
        stock.insert({ sku: -1, next: 0, n: 0 });
        stock.insert({ sku: -5, next: 0, n: 0 });
      },
    },
  });

/** A batch over rows of which each says that the next one follows, from 0 on. */
function batchOf(onFailure: FailurePolicy) {
  let fetches = 0;
  const projection = stock(onFailure);
  const sink = {
    read: undefined,
    nameOf: ({ name }: { name: string }) => name,
    fetch: async (_: unknown, keys: readonly (readonly number[])[]): Promise<(Row | null)[]> => {
      fetches++;
      return keys.map(([sku = 0]) => (sku < 0 ? null : [sku, sku + 1, 5]));
    },
  } as unknown as Sink;
  const plan = { upcastEvent: (event: StoredEvent) => event } as unknown as FoldPlan;
  const erased = { has: () => false } as unknown as ErasedBefore;
  const batch = new Batch({ projection, plan, sink, erased });
  const rows = () => {
    const found = batch.content.rows.find(({ table }) => table.name === "stock")?.changes ?? [];
    return new Map(found.map(({ key, row }) => [key[0], row?.[2]]));
  };
  return { batch, rows, fetches: () => fetches };
}

const record = (position: number, type: string, data: unknown = {}) => ({
  ...{ shard: 0, position, recordedAt: 0, erased: undefined },
  parts: [
    {
      ...{ number: position, entity: `e${position}`, firstSeq: 1, subjects: [] },
      events: [{ entity: `e${position}`, seq: 1, type, data, recordedAt: 0 } as unknown as StoredEvent],
    },
  ],
});

test("rows that are added to are fetched together, however many", async () => {
  const { batch, rows, fetches } = batchOf("park");
  const result = await batch.take([
    record(1, "Ordered", { lines: 20 }),
    record(2, "Ordered", { lines: 5000 }),
    record(3, "Known"),
  ]);
  expect(result).toEqual({ done: 3, failures: [], end: "all" });
  expect([rows().get(0), rows().get(19), rows().get(20), rows().get(4999), rows().size]).toEqual([
    7, 7, 6, 6, 5002,
  ]);
  expect(fetches()).toBe(1);
});

test("a handler may follow rows from one to the next", async () => {
  const { batch, rows } = batchOf("park");
  const result = await batch.take([
    record(1, "Followed", { steps: 500 }),
    record(2, "Ordered", { lines: 1 }),
  ]);
  expect(result).toEqual({ done: 2, failures: [], end: "all" });
  expect([...rows()]).toEqual([
    [500, 1005],
    [0, 6],
  ]);
});

for (const onFailure of ["park", "skip", "retry"] as const) {
  test(`a handler that reads without end fails by its policy (${onFailure}), and alone`, async () => {
    const { batch, rows } = batchOf(onFailure);
    const records = [
      record(1, "Ordered", { lines: 2 }),
      record(2, "Endless"),
      record(3, "Followed", { steps: 2 }),
    ];
    const { done, failures, end } = await batch.take(records);
    const message = "the handler reads rows without end";
    expect(failures).toMatchObject([{ entity: "e2", type: "Endless", policy: onFailure, message }]);
    expect({ done, end }).toEqual(
      onFailure === "retry" ? { done: 1, end: "retry" } : { done: 3, end: "all" },
    );
    expect(rows().get(2)).toBe(onFailure === "retry" ? undefined : 1005);
    expect(batch.parkedCount).toBe(onFailure === "park" ? 1 : 0);
    expect(batch.skipped).toBe(onFailure === "skip" ? 1 : 0);
  });
}
