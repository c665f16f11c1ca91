import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Filter } from "../../shard/files/filter.ts";
import { Actor } from "../actor.ts";
import { byteOrder, type EntitiesQuery, type EntityListed, listEntities } from "./listing.ts";
import { ShardState } from "./shard-state.ts";

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

/** Two shards: what their files have, and what is in memory. */
class Sample {
  readonly files: readonly Map<string, number>[] = [new Map(), new Map()];
  readonly actors = new Map<string, Actor>();
  readonly erased = new Set<string>();
  readonly #shards = this.files.map(
    (_, index) =>
      new ShardState({
        ...{ index, writer: 0, epoch: 1, settledPosition: 10, nextNumber: 1, lastRecordedAt: 0 },
        ...{ ids: Filter.forElements(10), keys: Filter.forElements(10), idHashKey: new Uint8Array(32) },
        ...{ erasedPosition: 0, erasedIds: new Float64Array(0), erasedAt: new Float64Array(0) },
      }),
  );

  /** An entity with so many events in a file and so many durable; with -1 it is not in the file, or not in memory. */
  add(id: string, settled: number, committed: number, shard = this.actors.size % 2): void {
    if (settled >= 0) this.files[shard]?.set(id, settled);
    const state = this.#shards[shard];
    if (committed < 0 || state === undefined) return;
    const actor = new Actor(id, state, undefined);
    actor.committedSeq = committed;
    actor.tipPosition = committed > settled ? 11 : 10;
    this.actors.set(id, actor);
  }

  list(query: EntitiesQuery = {}): AsyncGenerator<EntityListed> {
    const { actors, files, erased } = this;
    const sorted = files.map(() => [] as [string, number][]);
    // Files may get more while they are listed.
    const sortedOf = (shard: number) => {
      const file = files[shard] ?? new Map<string, number>();
      if (sorted[shard]?.length !== file.size)
        sorted[shard] = [...file].toSorted(([a], [b]) => byBytes(a, b));
      return sorted[shard] ?? [];
    };
    const parts = {
      reading: {
        names: async (asked: { shard: number; prefix: string; after: string | undefined; limit: number }) =>
          sortedOf(asked.shard)
            .filter(([id]) => id.startsWith(asked.prefix))
            .filter(([id]) => asked.after === undefined || byBytes(id, asked.after) > 0)
            .slice(0, asked.limit)
            .map(([entity, seq], number) => ({ entity, number, seq })),
      },
      residency: {
        all: () => actors.values(),
        get count() {
          return actors.size;
        },
        peek: (id: string) => actors.get(id),
        wasErased: (id: string) => erased.has(id),
      },
      shards: files.length,
    };
    return listEntities(parts, query);
  }

  /** The same, from its definition. */
  expected({ prefix = "", after, limit = Number.POSITIVE_INFINITY }: EntitiesQuery = {}): EntityListed[] {
    const seqs = new Map(this.files.flatMap((file) => [...file]));
    for (const { id, committedSeq } of this.actors.values()) seqs.set(id, committedSeq);
    return [...seqs]
      .filter(
        ([id, seq]) => seq > 0 && id.startsWith(prefix) && (after === undefined || byBytes(id, after) > 0),
      )
      .toSorted(([a], [b]) => byBytes(a, b))
      .slice(0, limit)
      .map(([id, seq]) => ({ id, seq }));
  }
}

async function collect(listing: AsyncGenerator<EntityListed>): Promise<EntityListed[]> {
  return await Array.fromAsync(listing);
}

/** A number between 0 and 2 ** 32 that looks random. */
const scattered = (i: number) => Math.imul(i + 1, 0x9e3779b1) >>> 0;

/** Ids of which each looks like none of its neighbours, with all lengths of characters. */
function scatteredId(i: number): string {
  const firsts = ["a", "z", "é", "\ud7ff", "\ue000", "\uffff", "🦊", "\u{10ffff}"];
  return `${firsts[i % firsts.length]}${scattered(i).toString(36)}`;
}

test("the order of ids is that of their bytes", () => {
  const edges = [
    "\0",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
  ];
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom(...edges), fc.string({ unit: "binary", maxLength: 1 })),
  });
  fc.assert(
    fc.property(text, text, text, (start, one, other) => {
      for (const [a, b] of [
        [one, other],
        [start + one, start + other],
        [start, start + one],
        [start, ""],
        ["", ""],
      ] as const) {
        expect(Math.sign(byteOrder(a, b))).toBe(byBytes(a, b));
        expect(Math.sign(byteOrder(b, a))).toBe(byBytes(b, a));
      }
    }),
    { numRuns: 2000 },
  );
  for (const a of edges)
    for (const b of edges) expect(Math.sign(byteOrder(`x${a}`, `x${b}`))).toBe(byBytes(a, b));
});

describe("a listing", () => {
  test("of many unsettled entities has each once and in order, over pages, by prefix and from anywhere", async () => {
    const sample = new Sample();
    for (let i = 0; i < 6000; i++) {
      const [settled, committed] = (
        [
          [-1, 3],
          [2, 5],
          [4, -1],
          [4, 4],
          [0, 0],
          [0, 1],
          [-1, 0],
        ] as const
      )[i % 7] ?? [1, 1];
      sample.add(scatteredId(i), settled, committed, (i >> 3) % 2);
    }
    const all = sample.expected();
    expect(all.length).toBeGreaterThan(4000);
    expect(await collect(sample.list())).toEqual(all);
    const after = all[2000]?.id ?? "";
    for (const query of [
      { prefix: "é" },
      { prefix: "🦊1" },
      { prefix: "\uffff", after: "\uffffm" },
      { prefix: "🦊", limit: 600 },
      { after },
      { after, limit: 1 },
      { after, limit: 500 },
      { after, limit: 1234 },
      { after: "nobody", limit: 700 },
      { after: "\ud800" },
      { limit: 0 },
    ]) {
      expect({ query, listed: await collect(sample.list(query)) }).toEqual({
        query,
        listed: sample.expected(query),
      });
    }
  });

  test("of a page goes on where some that it had found are erased meanwhile", async () => {
    const sample = new Sample();
    for (let i = 0; i < 3000; i++) sample.add(scatteredId(i), -1, 1);
    const listing = sample.list({ limit: 1200 });
    const found = [(await listing.next()).value as EntityListed];
    const gone = sample.expected().slice(600, 1100);
    for (const { id } of gone) sample.actors.get(id)?.forget(undefined, 1);
    for await (const listed of listing) found.push(listed);
    expect(found).toEqual(sample.expected({ limit: 1200 }));
  });

  test("goes on without those whose receipts came meanwhile, and with who has begun again or was only let go", async () => {
    const sample = new Sample();
    for (let i = 0; i < 1200; i++) sample.add(scatteredId(i), -1, 1);
    const listing = sample.list();
    const found = [(await listing.next()).value as EntityListed];
    const left = sample.expected().slice(600);
    for (const [i, { id }] of left.entries()) {
      if (i % 4 === 0) continue;
      sample.actors.delete(id);
      // One was settled and left memory, one was erased, one erased and begun again.
      if (i % 4 === 1) sample.files[0]?.set(id, 1);
      else sample.erased.add(id);
      if (i % 4 === 3) sample.files[1]?.set(id, 1);
    }
    for await (const listed of listing) found.push(listed);
    expect(found).toEqual(sample.expected());
    expect(found.length).toBe(1200 - 150);
  });

  test("of more unsettled entities than are kept at once has all of them", async () => {
    const sample = new Sample();
    for (let i = 0; i < 40_000; i++) sample.add(scatteredId(i), -1, 1);
    expect(await collect(sample.list())).toEqual(sample.expected());
  });

  test("lets others take their turn while it looks through memory", async () => {
    const sample = new Sample();
    for (let i = 0; i < 50_000; i++) sample.add(scatteredId(i), i % 2 === 0 ? -1 : 1, 1);
    let turns = 0;
    let isLooking = true;
    const count = () => {
      if (!isLooking) return;
      turns++;
      setImmediate(count);
    };
    setImmediate(count);
    const { value } = await sample.list().next();
    isLooking = false;
    expect(value).toEqual(sample.expected()[0]);
    expect(turns).toBeGreaterThanOrEqual(10);
  });
});
