/**
 * An erasure that is carried out while pages from before it are still under way to the rows.
 */
import { afterAll, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredEvent } from "../../src/core/event.ts";
import { ErasedOutOfTurn } from "../../src/projection/build/out-of-turn.ts";
import type { FeedRecord } from "../../src/projection/build/records.ts";
import { Feeder } from "../../src/projection/feeder.ts";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-out-of-turn-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The handler of `Bad` fails, or its SQL is refused, until there is this file. */
const flag = join(root, "flag");
const isThere = `require("node:fs").existsSync(${JSON.stringify(flag)})`;
const up = { type: "Up", data: { text: "secret-of-alice" } };
const bad = { type: "Bad", data: {} };
const failing = `throw new Error("not yet")`;
const refused = `run("INSERT INTO nowhere VALUES (1)")`;

for (const [name, what] of Object.entries({ "fails in its handler": failing, "is refused": refused })) {
  test(`pages that wait behind an event that ${name} bring nothing back`, async () => {
    rmSync(flag, { force: true });
    const application = join(root, `application-${name.replaceAll(" ", "-")}.ts`);
    writeFileSync(
      application,
      `import { defineProjection } from "warp";
       export const said = defineProjection({
         name: "said", onFailure: "retry",
         tables: { said: { columns: { id: "text", seq: "integer", text: "text" }, key: ["id", "seq"], subjects: ["id"] } },
         on: {
           Up: ({ entity, seq, data }, { said }) => said.insert({ id: entity, seq, text: data.text }),
           Bad: (_, __, run) => { if (!${isThere}) ${what}; },
         },
       });\n`,
    );
    const feed = new MemoryFeed(1);
    // Two pages, which are both sent.
    feed.append("alice", up);
    feed.together(["alice", [up]], ["bob", [bad]]);
    for (let i = 0; i < 60; i++) feed.append("alice", up);
    feed.append("carol", { type: "Up", data: { text: "of carol" } });
    const harness = await Harness.open({ feed, application });
    await until(() => harness.status("said").state === "retrying", "retrying");
    harness.projections.pause("said");
    const { shard, position } = feed.erase("alice");
    await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));

    writeFileSync(flag, "");
    // What was sent is taken while nothing more is sent.
    await until(() => harness.status("said").error === null, "it goes on");
    const texts = "SELECT text FROM said ORDER BY text";
    await until(async () => {
      const found = await harness.rows(texts, [], { after: [] });
      expect(found).not.toContainEqual(["secret-of-alice"]);
      return harness.status("said").lagRecords <= 1;
    }, "taken");
    const folder = join(harness.dataDir, "projections");
    for (const file of readdirSync(folder))
      expect(readFileSync(join(folder, file)).includes("secret-of-alice")).toBe(false);
    feed.append("alice", { type: "Up", data: { text: "of her new life" } });
    harness.projections.resume("said");
    expect(await harness.rows(texts)).toEqual([["of carol"], ["of her new life"]]);
    await harness.close();
  });
}

const plain = `{
  name: "said",
  tables: { said: { columns: { id: "text", seq: "integer", text: "text" }, key: ["id", "seq"], subjects: ["id"] } },
  on: { Up: ({ entity, seq, data }, { said }) => said.insert({ id: entity, seq, text: data.text }) },
}`;

const other = `export const other = defineProjection(${plain.replaceAll("said", "other")});`;

for (const isDeclared of [true, false]) {
  const rows = isDeclared ? "a paused projection" : "a projection that is not declared any more";
  test(`an id that begins again behind its erasure leaves nothing of its old life in the rows of ${rows}`, async () => {
    const module = (name: string, ...exported: string[]) => {
      const path = join(root, `${name}-${isDeclared}.ts`);
      writeFileSync(path, `import { defineProjection } from "warp";\n${exported.join("\n")}\n`);
      return path;
    };
    const said = module("said", `export const said = defineProjection(${plain});`);
    const feed = new MemoryFeed(1);
    let harness = await Harness.open({ feed, application: said });
    feed.append("alice", up);
    feed.append("bob", { type: "Up", data: { text: "of bob" } });
    const texts = "SELECT text FROM said ORDER BY text";
    expect(await harness.rows(texts)).toEqual([["of bob"], ["secret-of-alice"]]);
    if (isDeclared) {
      harness.projections.pause("said");
    } else {
      await harness.close();
      const { dataDir } = harness;
      harness = await Harness.open({ feed, dataDir, application: module("other", other) });
    }
    const { shard, position } = feed.erase("alice");
    feed.append("alice", { type: "Up", data: { text: "of her new life" } });
    await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
    expect(await harness.rows(texts, [], { after: [] })).toEqual([["of bob"]]);
    const folder = join(harness.dataDir, "projections");
    for (const file of readdirSync(folder))
      expect(readFileSync(join(folder, file)).includes("secret-of-alice")).toBe(false);
    if (isDeclared) {
      harness.projections.resume("said");
      expect(await harness.rows(texts)).toEqual([["of bob"], ["of her new life"]]);
      // Erased behind it once more: these rows are of the new life, and stay.
      harness.projections.pause("said");
      await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
      expect(await harness.rows(texts)).toEqual([["of bob"], ["of her new life"]]);
    }
    await harness.close();
  });
}

for (const late of ["her erasure", "what was said of her before"]) {
  test(`an id that begins again keeps what others say of her since, and nothing of before, also where ${late} is met last`, async () => {
    const application = join(root, `paid-${late.replaceAll(" ", "-")}.ts`);
    writeFileSync(
      application,
      `import { defineProjection } from "warp";
       export const paid = defineProjection({
         name: "paid",
         tables: { paid: { columns: { payer: "text", seq: "integer", receiver: "text" }, key: ["payer", "seq"], subjects: ["payer", "receiver"] } },
         on: { Paid: ({ entity, seq, data }, { paid }) => paid.insert({ payer: entity, seq, receiver: data.to }) },
       });\n`,
    );
    const pay = { type: "Paid", data: { to: "alice" } };
    const feed = new MemoryFeed(2);
    const [hers, others] = [feed.shardOf("alice"), feed.shardOf("bob")];
    expect(hers).not.toBe(others);
    const [held, behind] = late === "her erasure" ? [hers, 1] : [others, 1];
    const read = feed.read.bind(feed);
    let isHeld = true;
    feed.read = async (shard, after) => {
      const page = await read(shard, after);
      return isHeld && shard === held && after >= behind ? { ...page, upTo: after } : page;
    };
    feed.pageRecords = 1;
    feed.append("alice", { type: "Other", data: {} });
    feed.append("bob", { type: "Other", data: {} });
    /** The feed that is held has nothing new when it is read: who reads it looks again when something comes in. */
    const looked = () => new Promise((resolve) => setImmediate(resolve));
    const harness = await Harness.open({ feed, application });
    await until(() => harness.status("paid").lagRecords === 0, "it is up to date");
    feed.append("bob", pay);
    await looked();
    const { shard, position } = feed.erase("alice");
    await looked();
    // What an erasure has to know it reads before anything else goes on.
    isHeld = held !== hers;
    const asked = spyOn(Feeder.prototype, "erase").mockImplementationOnce(function (this: Feeder, erasure) {
      isHeld = true;
      this.erase(erasure);
    });
    const receipt = Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
    await until(() => asked.mock.calls.length > 0, "it is asked for out of turn");
    asked.mockRestore();
    const lag = () => harness.status("paid").lagRecords;
    await until(() => lag() === 1, "it has what is not held");
    if (held === hers) await receipt;
    feed.append("alice", { type: "Other", data: {} });
    await looked();
    feed.append("bob", pay);
    await until(() => lag() === 2, "also behind her erasure");
    isHeld = false;
    feed.append("carol", { type: "Other", data: {} });
    await receipt;
    expect(await harness.rows("SELECT payer, seq FROM paid")).toEqual([["bob", 3]]);
    await harness.close();
  });
}

test("what others said of somebody who was erased is not there, up to her erasure", () => {
  const erased = new ErasedOutOfTurn();
  const event = (seq: number) => ({ seq, personal: `of ${seq}` }) as unknown as StoredEvent;
  const record = (position: number, host = 1): FeedRecord => ({
    ...{ shard: 0, position, recordedAt: 0, erased: undefined },
    parts: [
      {
        ...{ number: host, entity: "host", firstSeq: 1, events: [event(1), event(2)] },
        subjects: [
          { seq: 1, number: 7 },
          { seq: 2, number: 8 },
        ],
      },
    ],
  });
  const said = (...records: FeedRecord[]) =>
    erased
      .without(records)
      .map(({ parts }) => parts.map(({ events, subjects }) => [events.map((one) => one.personal), subjects]));
  const before = said(record(3));
  erased.add({ shard: 0, number: 7, position: 5 });
  expect(said(record(4), record(6), record(4, 7))).toEqual([
    [[[null, "of 2"], [{ seq: 2, number: 8 }]]],
    before[0] ?? [],
    [],
  ]);
  erased.passed(0, 4);
  expect(said(record(4))).not.toEqual(before);
  erased.passed(0, 5);
  expect(said(record(4))).toEqual(before);
});
