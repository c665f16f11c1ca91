/**
 * What groups have read and not delivered, or delivered and nobody has read, when somebody of whom it speaks is erased.
 */
import { afterEach, expect, spyOn, test } from "bun:test";
import { Feed } from "../../src/actor/storage/feed.ts";
import type { Warp, Work } from "../../src/index.ts";
import { cleanUp, freshDirectory, openSmall, settled, until } from "../engine/sample.ts";
import { order } from "./personal-sample.ts";

afterEach(cleanUp);

const shipped = (subject: string, address: string) => ({
  type: "Shipped",
  data: {},
  personal: { subject, data: { address } },
});

const hosts = Array.from({ length: 8 }, (_, i) => `order-${i}`);

/** Orders in both shards that speak of two customers each. */
async function openOrders(): Promise<Warp> {
  const warp = await openSmall(freshDirectory(), { aggregates: [order] });
  for (const host of hosts) {
    await warp.entity(host).append(shipped("customer-2", "Elm Street 1"));
    await warp.entity(host).append(shipped("customer-3", "Oak Street 3"));
  }
  return warp;
}

async function next(work: AsyncIterator<Work>): Promise<Work> {
  const { value, done } = await work.next();
  if (done === true) throw new Error("the membership ended");
  return value;
}

const statusOf = (warp: Warp) => warp.groups.status().find(({ name }) => name === "g");

/** Works off as many events as there are, and says what was in them. */
async function workOff(work: AsyncIterator<Work>): Promise<unknown[]> {
  const seen: [string, number, unknown][] = [];
  while (seen.length < 2 * hosts.length) {
    const one = await next(work);
    seen.push([one.event.entity, one.event.seq, one.event.personal]);
    one.ack();
  }
  return seen.sort(([a, one], [b, other]) => a.localeCompare(b) || one - other);
}

const withoutHer = hosts.flatMap((host) => [
  [host, 1, null],
  [host, 2, { address: "Oak Street 3" }],
]);

test("nothing of an erased subject is delivered behind her receipt, and what is said of others is", async () => {
  for (const isSettled of [false, true]) {
    const warp = await openOrders();
    if (isSettled) await settled(warp);
    const work = warp.join("g", { window: 3 });
    await until(() => {
      const { underWay = 0, waiting = 0 } = statusOf(warp) ?? {};
      return underWay === 3 && underWay + waiting === 2 * hosts.length;
    });
    // One is in the program's hands, two wait to be read.
    const held = await next(work);
    expect(held.event.personal).toEqual({ address: "Elm Street 1" });
    expect((await warp.entity("customer-2").delete()).status).toBe("erased");
    held.retry(0);
    expect(await workOff(work)).toEqual(withoutHer);
    expect(statusOf(warp)).toMatchObject({ underWay: 0, waiting: 0, parked: 0 });
  }
});

test("a receipt waits for the page that a group is reading, and what was in it of her is not delivered", async () => {
  const warp = await openOrders();
  await settled(warp);
  const gate = Promise.withResolvers<void>();
  const read = Feed.prototype.read;
  let isHeld = false;
  const holding = spyOn(Feed.prototype, "read").mockImplementationOnce(async function (
    this: Feed,
    ...request
  ) {
    const page = await read.apply(this, request);
    isHeld = true;
    await gate.promise;
    return page;
  });
  const work = warp.join("g", { window: 3 });
  await until(() => isHeld);
  holding.mockRestore();
  let receipt = await warp.entity("customer-2").delete({ waitMs: 100 });
  while (receipt.status === "pending" && !receipt.pending.includes("groups"))
    receipt = await warp.entity("customer-2").delete({ waitMs: 100 });
  expect(receipt.status).toBe("pending");
  gate.resolve();
  expect((await warp.entity("customer-2").delete()).status).toBe("erased");
  expect(await workOff(work)).toEqual(withoutHer);
});
