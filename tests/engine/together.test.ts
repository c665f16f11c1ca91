/**
 * `atomically`: what is appended together is seen together; what is refused waits for what it was refused for.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { defineAggregate, reject } from "../../src/index.ts";
import { cleanUp, codeOf, credited, freshDirectory, openSmall } from "./sample.ts";

afterEach(cleanUp);

test("nobody sees one entity with a record and another without, however many writes share the turn", async () => {
  const warp = await openSmall(freshDirectory());
  const ids = Array.from({ length: 12 }, (_, i) => `{group}${i}`);
  const members = ids.map((id) => warp.entity(id));
  const views: string[] = [];
  const different = new Set<string>();
  let isRunning = true;
  const watcher = (async () => {
    while (isRunning) {
      const view = [...new Set(members.map((member) => JSON.stringify(member.state())))].join(" ");
      views.push(view);
      different.add(view);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  let rounds = 0;
  // As many as it takes until the watcher, which looks when the event loop comes round, has seen it change often.
  for (; rounds < 40 || different.size <= 10; rounds++) {
    const crowd = Array.from({ length: 70 }, (_, i) => warp.entity(`other-${i}`).append(credited(1)));
    const together = warp.atomically(ids, (participants) => {
      for (const participant of participants) participant.append(credited(1));
    });
    expect((await together).ok).toBe(true);
    await Promise.all(crowd);
  }
  isRunning = false;
  await watcher;
  expect(views.filter((view) => view.includes(" "))).toEqual([]);
  expect(members.map((member) => member.state())).toEqual(ids.map(() => ({ cents: rounds, count: rounds })));
});

test("an error computed from an append that is not durable comes after that append", async () => {
  const warp = await openSmall(freshDirectory());
  const alice = warp.entity("alice");
  const order: string[] = [];
  const appended = alice.append(credited(1), { key: "k" }).then(() => order.push("appended"));
  const refused = codeOf(alice.append(credited(2), { key: "k" })).then((code) => order.push(code));
  await Promise.all([appended, refused]);
  expect(order).toEqual(["appended", "KEY_REUSED"]);
});

test("null is a state like any other", async () => {
  const seat = defineAggregate({
    name: "seat",
    initialState: null as unknown,
    evolve: { Held: (_, { data }) => data, Released: () => null },
  });
  const warp = await openSmall(freshDirectory(), { aggregates: [seat] });
  const ids = ["seat{a}", "order{a}"];
  await warp.atomically(ids, (all) => {
    for (const one of all) one.append({ type: "Held", data: { by: "alice" } });
  });
  expect(warp.entity("seat{a}").state()).toEqual({ by: "alice" });
  await warp.atomically(ids, ([one]) => one?.append({ type: "Released", data: {} }));
  expect(warp.entity("seat{a}").state()).toBeNull();
  expect(warp.entity("order{a}").state()).toEqual({ by: "alice" });
});

test("a function given to atomically that throws changes nothing and is named as the cause", async () => {
  const warp = await openSmall(freshDirectory());
  const work = warp.atomically(["{a}1", "{a}2"], ([one]) => {
    one?.append(credited(1));
    throw new Error("not today");
  });
  expect(await codeOf(work)).toBe("COMMAND_FAILED");
  expect(await warp.entity("{a}1").seq()).toBe(0);
});

describe("a function given to atomically that returns", () => {
  type Decide = Parameters<Awaited<ReturnType<typeof openSmall>>["atomically"]>[1];
  const cases: [string, Decide][] = [
    [
      "a Promise, since it is async",
      (async ([one, other]: Parameters<Decide>[0]) => {
        one?.append(credited(1));
        await Promise.resolve();
        other?.append(credited(1));
        throw new Error("nobody hears of this one");
      }) as unknown as Decide,
    ],
    [
      "events",
      ((all: Parameters<Decide>[0]) => {
        all[0]?.append(credited(1));
        return [credited(1)];
      }) as unknown as Decide,
    ],
    ["a rejection without a code", () => reject("")],
    ["a rejection whose details are no data", () => reject("NO", () => 1)],
  ];
  test.each(cases)("%s has failed, and nothing is appended", async (_, decide) => {
    const warp = await openSmall(freshDirectory());
    expect(await codeOf(warp.atomically(["{a}1", "{a}2"], decide))).toBe("COMMAND_FAILED");
    expect([await warp.entity("{a}1").seq(), await warp.entity("{a}2").seq()]).toEqual([0, 0]);
  });
});

test("an error of atomically comes after the appends that it was decided on", async () => {
  const warp = await openSmall(freshDirectory());
  const order: string[] = [];
  const appended = warp
    .entity("{a}2")
    .append(credited(1))
    .then(() => order.push("appended"));
  const refused = codeOf(
    warp.atomically(["{a}1", "{a}2"], (participants) => {
      if (participants[1]?.seq === 1) throw new Error("it is there");
    }),
  ).then((code) => order.push(code));
  await Promise.all([appended, refused]);
  expect(order).toEqual(["appended", "COMMAND_FAILED"]);
});

test("a state in memory can be read while a key of its entity is looked up on the disk", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir);
  await first.entity("alice").append(credited(5), { key: "once" });
  await first.close();
  const warp = await openSmall(dataDir);
  const alice = warp.entity("alice");
  await alice.read();
  const repeated = alice.append(credited(5), { key: "once" });
  expect(alice.state()).toEqual({ cents: 5, count: 1 });
  expect(await repeated).toMatchObject({ ok: true, duplicate: true });
});
