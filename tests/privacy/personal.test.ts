/**
 * Personal data of somebody else than the entity: where it can be read, and that it can be until its subject is erased.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { checkDirectory, defineAggregate, restoreBackup, verifyBackup, type Warp } from "../../src/index.ts";
import {
  cleanUp,
  codeOf,
  collect,
  credited,
  freshDirectory,
  openSmall,
  settled,
  until,
} from "../engine/sample.ts";
import { order } from "./personal-sample.ts";
import { tracesOf } from "./traces.ts";

afterEach(cleanUp);

const shipped = (subject: string, address: string) => ({
  type: "Shipped",
  data: { parcel: 1 },
  personal: { subject, data: { address } },
});

const open = (dataDir: string): Promise<Warp> => openSmall(dataDir, { aggregates: [order] });

describe("a personal part", () => {
  test("is read with its event from the tail, from the file and after a restart, and folded", async () => {
    const dataDir = freshDirectory();
    const first = await open(dataDir);
    await first.entity("order-1").append(credited(1));
    await first.entity("order-1").append(shipped("customer-2", "Elm Street 1"));
    await first.entity("order-1").appendBatch([credited(2), shipped("customer-3", "Oak Street 3")]);
    const parts = [undefined, { address: "Elm Street 1" }, undefined, { address: "Oak Street 3" }];
    const read = async (warp: Warp) =>
      (await collect(warp.entity("order-1").events())).map(({ personal }) => personal);
    expect(await read(first)).toEqual(parts);
    await settled(first);
    expect(await read(first)).toEqual(parts);
    const state = { items: 4, address: { address: "Oak Street 3" }, without: 2 };
    expect(await first.entity("order-1").read()).toEqual(state);
    await first.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);

    const again = await open(dataDir);
    expect(await again.entity("order-1").read()).toEqual(state);
    expect(await read(again)).toEqual(parts);
    const before = { items: 2, address: { address: "Elm Street 1" }, without: 1 };
    expect(await again.entity("order-1").stateAt({ seq: 2 })).toEqual(before);
    expect((await collect(again.entity("order-1").events()))[0]).not.toHaveProperty("personal");
  });

  test("whose evolve appends elsewhere is refused where that makes an entity: it would be sealed under that one's key", async () => {
    let warp: Warp | undefined;
    const nested: Promise<unknown>[] = [];
    const impure = defineAggregate({
      name: "impure",
      initialState: { n: 0 },
      evolve: (state: { n: number }, { type }) => {
        if (type === "Shipped") nested.push(warp?.entity("{a}x").append(credited(1)) ?? Promise.resolve());
        return { n: state.n + 1 };
      },
    });
    warp = await openSmall(freshDirectory(), { aggregates: [impure] });
    await warp.entity("{a}1").append(credited(1));
    await warp.entity("{a}2").append(credited(1));
    // Loaded: what is not would be made later.
    await warp.entity("{a}x").seq();
    const failed = await codeOf(warp.entity("{a}1").append(shipped("customer-2", "Elm Street 1")));
    expect(failed).toBe("EVOLVE_FAILED");
    await Promise.all(nested);
    expect(await warp.entity("{a}1").seq()).toBe(1);
    // The entity is there by now, and the part is under her key.
    expect(await warp.entity("{a}2").append(shipped("customer-2", "Elm Street 1"))).toMatchObject({ seq: 2 });
    await settled(warp);
    expect(await warp.entity("customer-2").delete()).toMatchObject({ personal: { parts: 1, hosts: 1 } });
    const [, event] = await collect(warp.entity("{a}2").events());
    expect(event?.personal).toBeNull();
  });

  test("of who is erased while a history is read is in none of it behind the receipt, nor in a state of the past", async () => {
    for (const isSettled of [false, true]) {
      const warp = await openSmall(freshDirectory(), { aggregates: [order], settle: { delayMs: 20 } });
      const host = warp.entity("order-1");
      for (let i = 0; i < 5; i++)
        await host.append(shipped(i === 3 ? "customer-3" : "customer-2", `Elm Street ${i}`));
      if (isSettled) await settled(warp);
      const reads = (["forward", "backward"] as const).map((direction) => host.events({ direction }));
      for (const read of reads) expect((await read.next()).value?.personal).toBeDefined();
      const past = host.stateAt({ seq: 5 });
      await warp.entity("customer-2").delete();
      for (const read of reads) {
        const parts = (await collect(read)).map(({ personal }) => personal);
        expect(parts.filter((part) => part !== null)).toEqual([{ address: "Elm Street 3" }]);
      }
      await past;
      expect(await host.stateAt({ seq: 4 })).toMatchObject({ address: { address: "Elm Street 3" } });
      expect(await host.stateAt({ seq: 3 })).toMatchObject({ address: null });
      await warp.close();
    }
  });

  test("comes from commands, and with several entities at once", async () => {
    const warp = await open(freshDirectory());
    await warp.entity("{a}1").send("ship", { subject: "customer-2", address: "Elm Street 1" });
    const together = await warp.atomically(["{a}1", "{a}2"], ([one, other]) => {
      one?.append(shipped("customer-2", "Elm Street 2"));
      other?.append(
        credited(1),
        shipped("customer-3", "Oak Street 3"),
        shipped("customer-2", "Elm Street 3"),
      );
    });
    expect(together.ok).toBe(true);
    for (const isSettled of [false, true]) {
      if (isSettled) await settled(warp);
      const events = [
        ...(await collect(warp.entity("{a}1").events())),
        ...(await collect(warp.entity("{a}2").events())),
      ];
      expect(events.map(({ personal }) => (personal as { address: string } | undefined)?.address)).toEqual([
        "Elm Street 1",
        "Elm Street 2",
        undefined,
        "Oak Street 3",
        "Elm Street 3",
      ]);
    }
  });

  test("may be everything that data may be, but not null", async () => {
    const warp = await open(freshDirectory());
    const data = { bytes: Uint8Array.of(1, 2), at: new Date(5), big: 2n ** 60n, text: "ü" };
    await warp.entity("e").append({ type: "A", data: 1, personal: { subject: "s", data } });
    for (const isSettled of [false, true]) {
      if (isSettled) await settled(warp);
      const [event] = await collect(warp.entity("e").events());
      expect(event?.personal).toEqual(data);
    }
    for (const personal of [
      { subject: "s", data: null },
      { subject: "", data: 1 },
      { subject: "a\0b", data: 1 },
      { subject: 4, data: 1 },
      { subject: "s" },
      5,
      null,
    ]) {
      const event = { type: "A", data: 1, personal } as unknown as ReturnType<typeof shipped>;
      expect(await codeOf(warp.entity("e").append(event))).toBe("INVALID_EVENT");
    }
    expect(await warp.entity("e").seq()).toBe(1);
  });

  test("makes no entity of its subject, in no listing", async () => {
    const warp = await open(freshDirectory());
    await warp.entity("order-1").append(shipped("customer-2", "Elm Street 1"));
    await settled(warp);
    expect((await collect(warp.entities())).map(({ id }) => id)).toEqual(["order-1"]);
    expect(await warp.entity("customer-2").seq()).toBe(0);
    const entities: string[] = [];
    for await (const message of warp.subscribe({ from: "start" })) {
      if (message.kind === "caughtUp") break;
      if (message.kind === "events") entities.push(...message.events.map(({ entity }) => entity));
    }
    expect(entities).toEqual(["order-1"]);
  });
});

const partsOf = async (warp: Warp, id: string): Promise<unknown[]> =>
  (await collect(warp.entity(id).events())).map(({ personal }) => personal);

describe("the erasure of a subject", () => {
  test("makes her parts null wherever they stand, and folds states without them", async () => {
    for (const isSettled of [false, true]) {
      const dataDir = freshDirectory();
      const warp = await open(dataDir);
      const hosts = Array.from({ length: 8 }, (_, i) => `order-${i}`);
      for (const host of hosts) {
        await warp.entity(host).append(credited(1));
        await warp.entity(host).append(shipped("customer-2", "Elm Street 1"));
        await warp.entity(host).append(shipped("customer-3", "Oak Street 3"));
        await warp.entity(host).append(shipped("customer-2", "Elm Street 2"));
      }
      if (isSettled) await settled(warp);
      const plan = await warp.entity("customer-2").deletePlan();
      expect(plan).toMatchObject({ events: 0, personal: { parts: 16, hosts: 8 } });

      const receipt = await warp.entity("customer-2").delete({ reason: "art-17" });
      expect(receipt).toMatchObject({ status: "erased", pending: [], entry: 0 });
      expect(receipt.personal).toMatchObject({ parts: 16, hosts: 8 });
      expect(receipt.personal.keys.map(({ shard }) => shard).toSorted()).toEqual([0, 1]);
      for (const { entry, fingerprint } of receipt.personal.keys) {
        expect(entry).toBe(1);
        if (isSettled) expect(fingerprint).not.toMatch(/^0+$/);
      }
      const check = async (now: Warp) => {
        for (const host of hosts) {
          expect(await partsOf(now, host)).toEqual([undefined, null, { address: "Oak Street 3" }, null]);
          expect(await now.entity(host).read()).toEqual({ items: 4, address: null, without: 1 });
          const before = { items: 3, address: { address: "Oak Street 3" }, without: 1 };
          expect(await now.entity(host).stateAt({ seq: 3 })).toEqual(before);
        }
      };
      await check(warp);
      await warp.entity("order-0").append(credited(5));
      expect(await warp.entity("order-0").read()).toEqual({ items: 5, address: null, without: 2 });
      expect(await warp.entity("customer-2").delete()).toMatchObject({
        status: "erased",
        personal: { parts: 16, keys: [{ entry: 1 }, { entry: 1 }] },
      });
      await warp.close();
      expect([...checkDirectory({ dataDir })]).toEqual([]);
      const again = await open(dataDir);
      hosts.shift();
      await check(again);
    }
  });

  test("refuses later appends that name her, in every shard, until there is an entity with her id again", async () => {
    const dataDir = freshDirectory();
    const warp = await open(dataDir);
    await warp.entity("customer-2").append(credited(1));
    await warp.entity("{a}1").append(shipped("customer-2", "Elm Street 1"));
    const receipt = await warp.entity("customer-2").delete();
    expect(receipt).toMatchObject({
      status: "erased",
      removed: { events: 1 },
      personal: { parts: 1, hosts: 1 },
    });
    expect(receipt.entry).toBeGreaterThan(0);
    const refuse = async (now: Warp) => {
      for (let i = 0; i < 6; i++) {
        expect(await codeOf(now.entity(`order-${i}`).append(shipped("customer-2", "Elm")))).toBe("ERASED");
        const sent = now.entity(`order-${i}`).send("ship", { subject: "customer-2", address: "Elm" });
        expect(await codeOf(sent)).toBe("ERASED");
      }
      const together = now.atomically(["{a}1"], ([one]) => one?.append(shipped("customer-2", "Elm")));
      expect(await codeOf(together)).toBe("ERASED");
    };
    await refuse(warp);
    await warp.close();
    const again = await open(dataDir);
    await refuse(again);
    expect(await codeOf(again.entity("customer-2").append(credited(1)))).toBe("ERASED");
    await again.entity("customer-2").append(credited(1), { expect: "none" });
    await again.entity("{a}1").append(shipped("customer-2", "Elm Street 9"));
    for (let i = 0; i < 6; i++)
      await again.entity(`order-${i}`).append(shipped("customer-2", "Elm Street 9"));
    expect(await partsOf(again, "{a}1")).toEqual([null, { address: "Elm Street 9" }]);
    await settled(again);
    expect(await partsOf(again, "{a}1")).toEqual([null, { address: "Elm Street 9" }]);
    await again.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
  });

  test("is refused by a hold, on an entity or on somebody of whom others speak alone", async () => {
    const warp = await open(freshDirectory());
    await warp.entity("order-1").append(shipped("customer-2", "Elm Street 1"));
    await warp.entity("customer-2").hold({ reason: "a dispute" });
    expect((await warp.entity("customer-2").deletePlan()).hold?.reason).toBe("a dispute");
    expect(await codeOf(warp.entity("customer-2").delete())).toBe("HELD");
    await warp.entity("customer-2").append(credited(1));
    expect(await codeOf(warp.entity("customer-2").delete())).toBe("HELD");
    expect(await partsOf(warp, "order-1")).toEqual([{ address: "Elm Street 1" }]);
    await warp.entity("customer-2").releaseHold();
    expect(await warp.entity("customer-2").delete()).toMatchObject({ status: "erased" });
    expect(await partsOf(warp, "order-1")).toEqual([null]);
  });

  test("goes with hosts that are erased too, at once, also when she speaks of herself", async () => {
    const dataDir = freshDirectory();
    const warp = await open(dataDir);
    await warp.entity("a").append(shipped("b", "of b"));
    await warp.entity("b").append(shipped("a", "of a"));
    await warp.entity("c").append(shipped("c", "of herself"));
    await warp.entity("d").append(shipped("a", "of a"));
    const receipts = await Promise.all(["a", "b", "c"].map((id) => warp.entity(id).delete()));
    expect(receipts.map(({ status, removed, personal }) => [status, removed.events, personal.parts])).toEqual(
      [
        ["erased", 1, 2],
        ["erased", 1, 1],
        ["erased", 1, 1],
      ],
    );
    expect(await partsOf(warp, "d")).toEqual([null]);
    for (const id of ["a", "b", "c"]) expect(await codeOf(warp.entity(id).read())).toBe("ERASED");
    await warp.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
  });

  test("lets no state with her parts come back while hosts are read and written to", async () => {
    const warp = await open(freshDirectory());
    const hosts = Array.from({ length: 6 }, (_, i) => warp.entity(`order-${i}`));
    for (const host of hosts) await host.append(shipped("customer-2", "Elm Street 1"));
    let isErased = false;
    const stale: string[] = [];
    const work = hosts.map(async (host) => {
      for (let i = 0; !isErased || i < 20; i++) {
        const wasErased = isErased;
        await host.append(credited(1));
        const state = JSON.stringify([await host.read(), host.state()]);
        if (wasErased && state.includes("Elm")) stale.push(state);
      }
    });
    expect(await warp.entity("customer-2").delete()).toMatchObject({ status: "erased" });
    isErased = true;
    await Promise.all(work);
    expect(stale).toEqual([]);
    for (const host of hosts) expect(await host.read()).toMatchObject({ address: null });
  });
});

describe("followers", () => {
  test("hear of a subject's erasure once more than of nothing, with her id, and events come without her parts", async () => {
    const warp = await open(freshDirectory());
    for (let i = 0; i < 6; i++) await warp.entity(`order-${i}`).append(shipped("customer-2", "Elm Street 1"));
    const followed = async (isSettled: boolean) => {
      if (isSettled) await settled(warp);
      const seen = { parts: [] as unknown[], erased: [] as string[] };
      for await (const message of warp.subscribe({ from: "start" })) {
        if (message.kind === "caughtUp") break;
        if (message.kind === "erased") seen.erased.push(message.entity);
        if (message.kind === "events") seen.parts.push(...message.events.map(({ personal }) => personal));
      }
      return seen;
    };
    const part = { address: "Elm Street 1" };
    const before = { parts: Array.from({ length: 6 }, () => part), erased: [] };
    expect(await followed(false)).toEqual(before);
    expect(await followed(true)).toEqual(before);
    const live = warp.subscribe({ from: "end" });
    const heard = (async () => {
      for await (const message of live) if (message.kind === "erased") return message.entity;
      return undefined;
    })();
    await warp.entity("customer-2").delete();
    expect(await heard).toBe("customer-2");
    await live.return();
    const after = await followed(true);
    expect(after.parts).toEqual(Array.from({ length: 6 }, () => null));
  });
});

describe("the export of a subject", () => {
  const linesOf = async (warp: Warp, id: string) => {
    let text = "";
    for await (const page of warp.entity(id).export()) text += page;
    return text
      .trimEnd()
      .split("\n")
      .map((one) => JSON.parse(one) as Record<string, unknown>);
  };

  test("has what others say of her, page by page, with hosts, seqs and types, be she an entity or not", async () => {
    const warp = await open(freshDirectory());
    const expected: unknown[] = [];
    for (let i = 0; i < 40; i++) {
      const address = `Elm Street ${i} ${"x".repeat(20_000)}`;
      await warp
        .entity(`order-${i % 4}`)
        .appendBatch([credited(1), shipped("customer-2", address), shipped("other", "Oak")]);
      expected.push({ kind: "personal", entity: `order-${i % 4}`, type: "Shipped", data: { address } });
    }
    for (const isEntity of [false, true]) {
      if (isEntity) await warp.entity("customer-2").append(credited(1));
      const lines = await linesOf(warp, "customer-2");
      const kinds = Map.groupBy(lines, ({ kind }) => kind);
      expect(kinds.get("event")?.length ?? 0).toBe(isEntity ? 1 : 0);
      const parts = kinds.get("personal") ?? [];
      const plain: unknown[] = parts.map(({ kind, entity, type, data }) => ({ kind, entity, type, data }));
      const order = (a: unknown, b: unknown) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
      expect(plain.toSorted(order)).toEqual(expected.toSorted(order));
      for (const { entity, seq, data } of parts) {
        const [event] = await collect(
          warp.entity(String(entity)).events({ from: Number(seq), to: Number(seq) }),
        );
        expect(event?.personal).toEqual(data);
      }
      expect(lines.at(-1)).toMatchObject({ kind: "manifest", counts: { personal: 40 } });
    }
    const host = await linesOf(warp, "order-0");
    expect(host.filter(({ personal }) => personal !== undefined).length).toBe(20);
    await warp.entity("customer-2").delete();
    expect(await codeOf(linesOf(warp, "customer-2"))).toBe("ERASED");
    const after = await linesOf(warp, "order-0");
    expect(after.filter(({ personal }) => personal === null).length).toBe(10);
  });
});

describe("a backup", () => {
  test("has parts as long as their subject; what was folded of who is erased since comes back in no state", async () => {
    const dataDir = freshDirectory();
    const target = `${dataDir}-target`;
    const warp = await open(dataDir);
    const hosts = Array.from({ length: 6 }, (_, i) => `order-${i}`);
    for (const host of hosts) {
      await warp.entity(host).append(shipped("customer-2", "Elm Street 1"));
      await warp.entity(host).append(shipped("customer-3", "Oak Street 3"));
      for (let i = 0; i < 6; i++) await warp.entity(host).append(credited(i));
    }
    await settled(warp);
    await warp.backup(target);
    const before = Date.now();
    await until(() => Date.now() > before + 2);
    const rootKey = { file: `${dataDir}/root.key` };
    const restored = async (to: string, at?: number, entity?: string) => {
      const report = await restoreBackup({ target, to, rootKey, at, entity });
      expect([...checkDirectory({ dataDir: to, rootKey })]).toEqual([]);
      const again = await openSmall(to, { aggregates: [order], rootKey });
      const parts = await Promise.all(
        (entity === undefined ? hosts : [entity]).map((host) => partsOf(again, host)),
      );
      const states = await Promise.all(
        (entity === undefined ? hosts : [entity]).map((host) => again.entity(host).read()),
      );
      const plan = await again.entity("customer-3").deletePlan();
      await again.close();
      return { report, parts: parts.map((one) => one.slice(0, 2)), states, plan };
    };
    const oak = { address: "Oak Street 3" };
    const whole = await restored(`${dataDir}-1`);
    expect(whole.report.entities).toBe(6);
    for (const parts of whole.parts) expect(parts).toEqual([{ address: "Elm Street 1" }, oak]);
    for (const state of whole.states) expect(state).toMatchObject({ items: 8, address: oak });
    expect(whole.plan.personal).toEqual({ parts: 6, hosts: 6 });
    const one = await restored(`${dataDir}-2`, undefined, "order-3");
    expect(one.parts).toEqual([[{ address: "Elm Street 1" }, oak]]);
    expect(one.plan.personal).toEqual({ parts: 1, hosts: 1 });

    await warp.entity("customer-3").delete();
    await warp.backup(target);
    await verifyBackup({ target, rootKey });
    for (const at of [undefined, before]) {
      const later = await restored(`${dataDir}-${3 + Number(at === undefined)}`, at);
      for (const parts of later.parts) expect(parts).toEqual([{ address: "Elm Street 1" }, null]);
      for (const state of later.states) expect(state).toMatchObject({ items: 8, address: null });
      expect(later.plan.personal).toEqual({ parts: 0, hosts: 0 });
    }
  });
});

describe("an entity that speaks of others", () => {
  test("keeps its events as long as these may be erased, and no snapshot has folded them", async () => {
    const dataDir = freshDirectory();
    const keeping = defineAggregate({
      name: "order",
      version: 1,
      initialState: { items: 0, address: "nowhere" as unknown },
      evolve: (state: { items: number; address: unknown }, event) => ({
        items: state.items + 1,
        address: event.personal === undefined ? state.address : event.personal,
      }),
      snapshotEvery: 2,
      retention: { keepLast: 2, beyond: "drop" },
    });
    const warp = await openSmall(dataDir, { aggregates: [keeping] });
    const host = warp.entity("order-1");
    for (let i = 0; i < 4; i++) {
      await host.append(credited(i));
      await settled(warp);
    }
    await host.append(shipped("customer-2", "Elm Street 1"));
    for (let i = 0; i < 6; i++) {
      await host.append(credited(i));
      await settled(warp);
    }
    await warp.retain();
    const first = async () => (await collect(host.storedEvents()))[0];
    expect(await first()).toMatchObject({ type: "$dropped", seq: 4 });
    expect(tracesOf(dataDir, ["Elm Street 1"]).filter((one) => one.includes("snapshot"))).toEqual([]);
    expect(tracesOf(dataDir, ["Elm Street 1"]).length).toBeGreaterThan(0);
    await warp.rotateKeys();
    expect(await host.read()).toEqual({ items: 11, address: { address: "Elm Street 1" } });
    expect(await warp.entity("customer-2").delete()).toMatchObject({
      status: "erased",
      personal: { parts: 1 },
    });
    expect(await host.read()).toEqual({ items: 11, address: null });
    expect(tracesOf(dataDir, ["Elm Street 1", "customer-2"])).toEqual([]);
    await warp.retain();
    expect(await first()).toMatchObject({ type: "$dropped", seq: 9 });
    for (let i = 0; i < 4; i++) await host.append(credited(i));
    await settled(warp);
    await warp.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
    const again = await openSmall(dataDir, { aggregates: [keeping] });
    expect(await again.entity("order-1").read()).toEqual({ items: 15, address: null });
  });
});
