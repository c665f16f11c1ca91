/**
 * Personal data of somebody else than the entity: where it can be read, and that it can be until its subject is erased.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { checkDirectory, defineAggregate, reject, type Warp } from "../../src/index.ts";
import { cleanUp, codeOf, collect, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";

afterEach(cleanUp);

/** An order, which knows where it goes as long as that may be known. */
export const order = defineAggregate({
  name: "order",
  version: 1,
  initialState: { items: 0, address: "nowhere" as unknown, without: 0 },
  evolve: (state: { items: number; address: unknown; without: number }, event) => ({
    items: state.items + 1,
    address: event.personal === undefined ? state.address : event.personal,
    without: state.without + ("personal" in event ? 0 : 1),
  }),
  commands: {
    ship: (_state, input: { subject: string; address: string }) =>
      input.subject === ""
        ? reject("NOBODY")
        : {
            type: "Shipped",
            data: {},
            personal: { subject: input.subject, data: { address: input.address } },
          },
  },
  snapshotEvery: 4,
});

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
