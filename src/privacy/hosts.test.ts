import { expect, test } from "bun:test";
import { Actor } from "../actor/actor.ts";
import type { ShardState } from "../actor/storage/shard-state.ts";
import { WarpError } from "../core/errors.ts";
import { type HostsParts, Refolding, spokenOfUnlessFailed } from "./hosts.ts";

/** Of a shard, what refolding uses. */
function shardWith(index: number): ShardState {
  const shard = {
    index,
    writer: 0,
    refolding: undefined as Promise<void> | undefined,
    beginRefolding() {
      const { promise, resolve } = Promise.withResolvers<void>();
      shard.refolding = promise;
      return resolve;
    },
  };
  return shard as unknown as ShardState;
}

test("a host that is being loaded is left to its load, which waits for the end of the refolding", async () => {
  const shard = shardWith(0);
  const subject = new Actor("customer-1", shard, undefined);
  subject.number = 1;
  const [loaded, loading] = ["order-1", "order-2"].map((id) => new Actor(id, shard, undefined));
  if (loaded === undefined || loading === undefined) throw new Error("unreachable");
  loaded.number = 2;
  loading.isLoaded = false;
  loading.suspend();
  const parts = {
    reading: {
      hosts: async () => ({ ids: ["order-1", "order-2", "order-3"], next: undefined }),
      forget: () => {},
    },
    residency: {
      resident: (id: string) => [loaded, loading].find((actor) => actor.id === id),
      refold: async (actors: Iterable<Actor>) => {
        for (const actor of actors) {
          actor.isLoaded = true;
          actor.resume();
        }
      },
    },
    settlings: [],
  };
  const refolding = new Refolding(parts as unknown as HostsParts, [subject]);
  await refolding.begin(new Set());
  expect([loaded.isWaiting, loaded.isLoaded]).toEqual([true, false]);
  // Its load goes on only now.
  expect(loading.isWaiting).toBe(true);
  await refolding.end();
  expect([loaded.isWaiting, loaded.isLoaded]).toEqual([false, true]);
  expect([loading.isWaiting, loading.isLoaded]).toEqual([true, false]);
});

test("hosts in one shard go on when the refolding of another one could not begin", async () => {
  const [shard, other] = [shardWith(0), shardWith(1)];
  const subjects = [shard, other].map((one) => {
    const subject = new Actor("customer-1", one, undefined);
    subject.number = 1;
    return subject;
  });
  const host = new Actor("order-1", other, undefined);
  host.number = 2;
  const late = Promise.withResolvers<{ ids: string[]; next: undefined }>();
  const parts = {
    reading: {
      hosts: (index: number) => (index === 0 ? Promise.reject(new Error("a bad page")) : late.promise),
    },
    residency: { resident: () => host },
    settlings: [],
  };
  const refolding = new Refolding(parts as unknown as HostsParts, subjects);
  const begun = refolding.begin(new Set()).finally(() => refolding.release());
  const why = begun.catch((thrown: unknown) => String(thrown));
  await new Promise(setImmediate);
  late.resolve({ ids: ["order-1"], next: undefined });
  expect(await why).toContain("a bad page");
  await new Promise(setImmediate);
  expect([host.isWaiting, host.isLoaded]).toEqual([false, true]);
});

test("who is spoken of is not waited for when the engine fails and nothing is settled any more", async () => {
  const subject = new Actor("customer-1", shardWith(0), undefined);
  subject.number = 1;
  subject.tipPosition = 7;
  const failed = Promise.withResolvers<WarpError>();
  const parts = {
    subjects: { numbersOf: async () => [subject] },
    engine: { whenDurable: async () => undefined },
    settlings: [{ whenCaughtUp: () => new Promise<void>(() => undefined) }],
    failed: failed.promise,
  };
  const spoken = spokenOfUnlessFailed(
    parts as unknown as Parameters<typeof spokenOfUnlessFailed>[0],
    "customer-1",
  ).catch(({ code }) => code);
  failed.resolve(new WarpError("DISK_FULL", "no room"));
  expect(await Promise.race([spoken, Bun.sleep(5000)])).toBe("ENGINE_FAILED");
});
