/**
 * What subscriptions of the library have read, or are reading, when somebody is erased: nothing of it is handed out behind the receipt.
 */
import { afterEach, expect, spyOn, test } from "bun:test";
import { Feed } from "../../src/actor/storage/feed.ts";
import { Reading } from "../../src/actor/storage/reading.ts";
import type { StoredEvent, SubscribeQuery, SubscriptionMessage, Warp } from "../../src/index.ts";
import { cleanUp, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";
import { order } from "./personal-sample.ts";

afterEach(cleanUp);

const open = (shards = 1) => openSmall(freshDirectory(), { shards, aggregates: [order] });

const shipped = (subject: string, address: string) => ({
  type: "Shipped",
  data: { parcel: 1 },
  personal: { subject, data: { address } },
});

const erase = async (warp: Warp, entity: string) =>
  expect((await warp.entity(entity).delete()).status).toBe("erased");

/** Entities and what is said of others of what is handed out until it has caught up. */
async function rest(messages: AsyncIterator<SubscriptionMessage, undefined>): Promise<unknown[]> {
  const found: unknown[] = [];
  for (;;) {
    const { value } = await messages.next();
    if (value === undefined || value.kind === "caughtUp") return found;
    if (value.kind !== "events") found.push(value.kind);
    else found.push(...value.events.map(said));
  }
}

const said = ({ entity, personal }: StoredEvent) =>
  personal === undefined ? entity : [entity, (personal as { address: string } | null)?.address ?? null];

test("what waits in a subscription is handed out without who was erased since, and what was said of her", async () => {
  const warp = await open();
  await warp.entity("alice").append(credited(1));
  await warp.entity("x").append(credited(1));
  await erase(warp, "x");
  await warp.entity("bob").append(credited(1));
  await warp.entity("order").append(shipped("customer-2", "Elm Street 2"));
  await warp.entity("order").append(shipped("customer-3", "Elm Street 3"));
  await settled(warp);
  const messages = warp.subscribe({});
  expect((await messages.next()).value).toMatchObject({ kind: "events", events: [{ entity: "alice" }] });
  await Promise.all([erase(warp, "bob"), erase(warp, "customer-2")]);
  const expected = ["erased", ["order", null], ["order", "Elm Street 3"]];
  expect((await rest(messages)).slice(0, 3)).toEqual(expected);
});

test("what waits in a subscription says the same of who is erased with others, and refused", async () => {
  const warp = await open();
  await warp.entity("x").append(credited(1));
  await warp.entity("alice").append(credited(1));
  await erase(warp, "x");
  await warp.entity("order").append(shipped("customer-2", "Elm Street 2"));
  await warp.entity("order").append(shipped("customer-3", "Elm Street 3"));
  await settled(warp);
  const messages = warp.subscribe({});
  await messages.next();
  const holding = warp.entity("customer-3").hold({ reason: "a lawsuit" });
  const deletions = ["customer-2", "customer-3"].map((id) => warp.entity(id).delete());
  const [, refused] = await Promise.allSettled(deletions);
  expect(refused?.status).toBe("rejected");
  await holding;
  const expected = ["erased", ["order", null], ["order", "Elm Street 3"]];
  expect((await rest(messages)).slice(0, 3)).toEqual(expected);
});

test("events one by one are those that are left when each is asked for", async () => {
  const warp = await open();
  for (const entity of ["alice", "bob", "carol"]) await warp.entity(entity).append(credited(1));
  for (const n of [2, 3]) await warp.entity("order").append(shipped(`customer-${n}`, `Elm Street ${n}`));
  await settled(warp);
  const events = warp.subscribe({}).events();
  const next = async () => said((await events.next()).value as StoredEvent);
  expect(await next()).toBe("alice");
  await Promise.all([erase(warp, "alice"), erase(warp, "bob")]);
  expect(await next()).toBe("carol");
  await erase(warp, "customer-2");
  expect(await next()).toEqual(["order", null]);
  expect(await next()).toEqual(["order", "Elm Street 3"]);
  await events.return(undefined);
  expect(warp.subscriptions).toEqual({ followers: 0, live: 0 });
});

/** Whoever reads begins when it may, and has the page when it is let go. */
function holdPages(object: object, method: string, mayBegin: Promise<void> = Promise.resolve()) {
  const gate = Promise.withResolvers<void>();
  const read = (object as Record<string, (...args: unknown[]) => Promise<unknown>>)[method];
  const spied = spyOn(object as Record<string, (...args: unknown[]) => unknown>, method);
  const isRead = new Promise<void>((resolve) => {
    spied.mockImplementation(async function (this: unknown, ...args: unknown[]) {
      await mayBegin;
      const page = await read?.apply(this, args);
      resolve();
      await gate.promise;
      return page;
    });
  });
  const letGo = () => {
    spied.mockRestore();
    gate.resolve();
  };
  return { isRead, letGo };
}

for (const [name, query] of Object.entries<SubscribeQuery>({ all: {}, types: { types: ["Shipped"] } })) {
  test(`a page that was read before an erasure is handed out without who was erased: of ${name}`, async () => {
    const warp = await open();
    await warp.entity("alice").append(shipped("customer-3", "Elm Street 3"));
    await warp.entity("bob").append(shipped("customer-2", "Elm Street 2"));
    await warp.entity("carol").append(shipped("customer-2", "Elm Street 2"));
    await settled(warp);
    const page = holdPages(Feed.prototype, "read");
    const messages = warp.subscribe(query);
    const first = messages.next();
    await page.isRead;
    await Promise.all([erase(warp, "bob"), erase(warp, "customer-2")]);
    page.letGo();
    const { value } = await first;
    expect(value?.kind === "events" ? value.events.map(said) : value).toEqual([
      ["alice", "Elm Street 3"],
      ["carol", null],
    ]);
    await messages.return();
  });
}

test("a page that those who are live wait for is handed out without who was erased meanwhile", async () => {
  const warp = await open();
  await warp.entity("alice").append(credited(1));
  const messages = warp.subscribe({});
  while ((await messages.next()).value?.kind !== "caughtUp");
  const first = messages.next();
  const now = spyOn(Feed.prototype, "readNow").mockImplementation(() => undefined);
  const areThere = Promise.withResolvers<void>();
  const page = holdPages(Feed.prototype, "read", areThere.promise);
  await warp.entity("alice").append(credited(2));
  await warp.entity("bob").append(credited(2));
  await settled(warp);
  now.mockRestore();
  areThere.resolve();
  await page.isRead;
  await erase(warp, "alice");
  page.letGo();
  const { value } = await first;
  expect(value).toMatchObject({ kind: "events", events: [{ entity: "bob" }] });
  await messages.return();
});

test("a history that is read in the place of the feed is handed out without who was erased meanwhile", async () => {
  const warp = await open();
  const events = Array.from({ length: 2100 }, (_, i) => shipped(`customer-${2 + (i % 2)}`, "Elm Street"));
  await Promise.all(events.map((event) => warp.entity("order").append(event)));
  await warp.entity("alice").append(credited(1));
  await settled(warp);
  const page = holdPages(Reading.prototype, "entries");
  const messages = warp.subscribe({ entity: "order" });
  const first = messages.next();
  await page.isRead;
  await erase(warp, "customer-2");
  page.letGo();
  const { value } = await first;
  const found = value?.kind === "events" ? value.events.map(said) : [];
  expect(found.length).toBeGreaterThan(1);
  expect(new Set(found.map((one) => JSON.stringify(one)))).toEqual(
    new Set([`["order",null]`, `["order","Elm Street"]`]),
  );
  await messages.return();
});
