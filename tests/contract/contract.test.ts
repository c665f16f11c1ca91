/**
 * One matrix of cases over every way into Warp: what holds for one of them holds for all.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../e2e/command.ts";
import { type RunningServer, smallServer, startServer } from "../e2e/server.ts";
import { openCommandLine } from "./command-line.ts";
import { codeOf, type FrontEnd } from "./front-end.ts";
import { openHttp } from "./http.ts";
import { openClient, openLibrary } from "./in-program.ts";

const folder = temporaryFolder();
let server: RunningServer;

beforeAll(async () => {
  const app = join(import.meta.dir, "application.ts");
  const data = ["--data", join(folder, "server"), "--app", app];
  server = await startServer([...data, ...smallServer, "--memory-tail", "4MiB"]);
});

afterAll(async () => {
  server.process.kill("SIGTERM");
  await server.ended;
  rmSync(folder, { recursive: true });
});

const openings: Readonly<Record<string, () => Promise<FrontEnd>>> = {
  library: () => openLibrary(join(folder, "library")),
  "wire protocol": () => openClient(server.address),
  http: async () => openHttp(server.url),
  "command line": async () => openCommandLine(server.address),
};

const earned = (cents: number, occurredAt?: number) => ({
  type: "Earned",
  data: { cents },
  ...(occurredAt === undefined ? {} : { occurredAt }),
});
const day = (n: number) => Date.UTC(2001, 0, n);

describe.each(Object.keys(openings))("the %s", (way) => {
  let front: FrontEnd;
  /** Several ways share one server, so each has ids of its own. */
  const own = (name: string) => `${way}:${name}`;

  beforeAll(async () => {
    front = (await openings[way]?.()) as FrontEnd;
  });
  afterAll(() => front.close());

  test("appends one event, and several at once, with the next seqs", async () => {
    const id = own("append");
    expect(await front.append(id, [earned(1)])).toMatchObject({ ok: true, seq: 1, firstSeq: 1, count: 1 });
    const batch = await front.append(id, [earned(2), earned(3), { type: "Noted", data: null }]);
    expect(batch).toMatchObject({ ok: true, seq: 4, firstSeq: 2, count: 3, duplicate: false });
    expect(await front.seq(id)).toBe(4);
  });

  test("keeps data as it was given", async () => {
    const id = own("data");
    const data = {
      text: 'ü 😀 \u0000 "\\',
      list: [1, -0.5, 1e300, true, null, []],
      deep: { a: { b: {} } },
      "": 0,
    };
    await front.append(id, [
      { type: "Ünïted 😀", data },
      { type: "Nothing", data: null },
    ]);
    const events = await front.events(id);
    expect(events.map((event) => [event.type, event.data])).toEqual([
      ["Ünïted 😀", data],
      ["Nothing", null],
    ]);
  });

  test("keeps many events with the same keys as they were given, and again under their key", async () => {
    const id = own("like");
    const events = Array.from({ length: 40 }, (_, i) => ({
      type: "Noted",
      data: {
        text: `größer ${i}`,
        at: 1.7e12 + i,
        ratio: i / 7,
        odd: i % 2 === 1,
        deep: { list: [i, null] },
        "2": i,
      },
    }));
    expect(await front.append(id, events, { key: "all" })).toMatchObject({ ok: true, seq: 40, count: 40 });
    expect(await front.append(id, events, { key: "all" })).toMatchObject({ seq: 40, duplicate: true });
    const stored = await front.events(id);
    expect(stored.map((event) => event.data)).toEqual(events.map((event) => event.data));
  });

  test("appends only what meets the expectation, else answers with the seq", async () => {
    const id = own("expect");
    const conflict = (seq: number) => ({ ok: false, reason: "conflict", seq });
    expect(await front.append(id, [earned(1)], { expect: "exists" })).toEqual(conflict(0));
    expect(await front.append(id, [earned(1)], { expect: 1 })).toEqual(conflict(0));
    expect(await front.append(id, [earned(1)], { expect: "none" })).toMatchObject({ ok: true, seq: 1 });
    expect(await front.append(id, [earned(1)], { expect: "none" })).toEqual(conflict(1));
    expect(await front.append(id, [earned(1)], { expect: 1 })).toMatchObject({ ok: true, seq: 2 });
    expect(await front.append(id, [earned(1)], { expect: 1 })).toEqual(conflict(2));
    expect(await front.append(id, [earned(1)], { expect: "exists" })).toMatchObject({ ok: true, seq: 3 });
    expect(await front.send(id, "spend", { cents: 1 }, { expect: 2 })).toEqual(conflict(3));
    expect(await front.seq(id)).toBe(3);
  });

  test("does what has a key once, and refuses other content under it", async () => {
    const id = own("keys");
    await front.append(id, [earned(5)], { key: "pay: 1" });
    await front.append(id, [earned(1)]);
    const again = await front.append(id, [earned(5)], { key: "pay: 1" });
    expect(again).toMatchObject({ ok: true, seq: 1, firstSeq: 1, count: 1, duplicate: true });
    expect(await codeOf(front.append(id, [earned(6)], { key: "pay: 1" }))).toBe("KEY_REUSED");
    const no = { ok: false, reason: "rejected", code: "TOO_LITTLE", details: { have: 6 }, seq: 2 };
    const spend = () => front.send(id, "spend", { cents: 7 }, { key: "spend-1" });
    expect(await spend()).toEqual({ ...no, duplicate: false });
    await front.append(id, [earned(100)]);
    expect(await spend()).toEqual({ ...no, duplicate: true });
    expect(await front.seq(id)).toBe(3);
  });

  test("runs commands, by short and by qualified name", async () => {
    const id = own("commands");
    const no = { ok: false, reason: "rejected", code: "TOO_LITTLE", details: { have: 0 }, seq: 0 };
    expect(await front.send(id, "spend", { cents: 1 })).toEqual({ ...no, duplicate: false });
    await front.append(id, [earned(10)]);
    expect(await front.send(id, "spend", { cents: 4 })).toMatchObject({ ok: true, seq: 2, count: 1 });
    expect(await front.send(id, "purse.spend", { cents: 4 })).toMatchObject({ ok: true, seq: 3 });
    expect(await front.state(id)).toEqual({ cents: 2 });
  });

  test("reads a state that is larger than an event may be, and has fields that are undefined", async () => {
    const id = own("large");
    const data = { text: "größer", times: 300_000 };
    await front.append(id, [{ type: "Filled", data }]);
    const state = { movements: 0, texts: Array<string>(data.times).fill(data.text) };
    expect(await front.state(id, "tally")).toEqual(state);
    expect(await front.state(id, "tally", { seq: 1 })).toEqual(state);
  });

  test("reads the state of each aggregate, the first one by default", async () => {
    const id = own("state");
    expect([await front.seq(id), await front.state(id)]).toEqual([0, undefined]);
    await front.append(id, [earned(3), earned(4)]);
    expect(await front.state(id)).toEqual({ cents: 7 });
    expect(await front.state(id, "purse")).toEqual({ cents: 7 });
    expect(await front.state(id, "tally")).toEqual({ movements: 2 });
  });

  test("reads the state of the past: by seq, by recording, by what had happened", async () => {
    const id = own("past");
    await front.append(id, [earned(1, day(3)), earned(10, day(1)), earned(100, day(2))]);
    expect(await front.state(id, "purse", { seq: 0 })).toEqual({ cents: 0 });
    expect(await front.state(id, "purse", { seq: 2 })).toEqual({ cents: 11 });
    expect(await front.state(id, "tally", { seq: 2 })).toEqual({ movements: 2 });
    // In a text digits could be meant as a time; what says that it is a seq is the newest state.
    const isText = way === "http" || way === "command line";
    const beyond = front.state(id, "purse", { seq: 99 });
    if (isText) expect(await codeOf(beyond)).toBe("INVALID_ARGUMENT");
    else expect(await beyond).toEqual({ cents: 111 });
    expect(await front.state(id, "purse", { recorded: day(20) })).toEqual({ cents: 0 });
    expect(await front.state(id, "purse", { recorded: Date.now() + 60_000 })).toEqual({ cents: 111 });
    expect(await front.state(id, "purse", { occurred: day(2) })).toEqual({ cents: 110 });
  });

  test("reads history in both directions, in part and as a whole", async () => {
    const id = own("history");
    const before = Date.now();
    await front.append(
      id,
      [1, 2, 3, 4].map((n) => earned(n, day(n))),
    );
    await front.append(
      id,
      [5, 6, 7, 8].map((n) => earned(n)),
    );
    const seqs = async (range: Parameters<FrontEnd["events"]>[1]) =>
      (await front.events(id, range)).map(({ seq }) => seq);
    expect(await seqs({})).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(await seqs({ from: 3, to: 5 })).toEqual([3, 4, 5]);
    expect(await seqs({ from: 2, limit: 4 })).toEqual([2, 3, 4, 5]);
    expect(await seqs({ direction: "backward" })).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
    expect(await seqs({ direction: "backward", to: 6, limit: 4 })).toEqual([6, 5, 4, 3]);
    expect(await seqs({ from: 9 })).toEqual([]);
    const [first, second] = await front.events(id, { limit: 2 });
    expect(first).toMatchObject({ entity: id, seq: 1, type: "Earned", version: 1, data: { cents: 1 } });
    expect(first?.occurredAt).toBe(day(1));
    expect(first?.recordedAt).toBeGreaterThanOrEqual(before - 1000);
    expect(second?.recordedAt).toBeGreaterThanOrEqual(first?.recordedAt ?? 0);
    expect((await front.events(id, { from: 5, limit: 1 }))[0]).not.toHaveProperty("occurredAt");
    expect(await front.events(own("nobody"))).toEqual([]);
  });

  test("lists entities in the byte order of their ids", async () => {
    const ids = ["a", "b", "c", "Z", "ä", "😀", "\uffee"].map((name) => own(`list-${name}`));
    for (const id of ids) await front.append(id, [earned(1)]);
    await front.append(own("list-b"), [earned(1)]);
    const ordered = ids.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const prefix = own("list-");
    const all = await front.entities({ prefix });
    expect(all).toEqual(ordered.map((id) => ({ id, seq: id === own("list-b") ? 2 : 1 })));
    const after = ordered[2] ?? "";
    expect((await front.entities({ prefix, after, limit: 2 })).map(({ id }) => id)).toEqual(
      ordered.slice(3, 5),
    );
    expect(await front.entities({ prefix: own("nobody") })).toEqual([]);
  });

  test("reads everything of an entity, a prefix or a type, from anywhere on, as it lies in its history", async () => {
    const { readAll } = front;
    // Server-sent events are another way; see docs/http.md for what HTTP has.
    if (readAll === undefined) {
      expect(way).toBe("http");
      return;
    }
    const ids = ["a", "b"].map((name) => own(`follow-${name}`));
    const [a = "", b = ""] = ids;
    const prefix = own("follow-");
    await front.append(a, [earned(1), { type: "Noted", data: null }]);
    const first = await readAll({ prefix }, "start");
    expect(first.events).toEqual(await front.events(a));
    await front.append(b, [earned(2)]);
    await front.append(a, [earned(3, day(1))]);
    const rest = await readAll({ prefix }, first.cursor);
    const names = ({ events }: typeof first) => events.map(({ entity, seq }) => `${entity} ${seq}`).sort();
    expect(names(rest)).toEqual([`${a} 3`, `${b} 1`]);
    expect(await readAll({ prefix }, rest.cursor)).toMatchObject({ events: [] });
    expect((await readAll({ entity: a }, "start")).events).toEqual(await front.events(a));
    expect(names(await readAll({ prefix, types: ["Noted"] }, "start"))).toEqual([`${a} 2`]);
    expect(names(await readAll({ prefix }, { time: day(1) }))).toEqual([
      `${a} 1`,
      `${a} 2`,
      `${a} 3`,
      `${b} 1`,
    ]);
    expect(await codeOf(readAll({ entity: a }, rest.cursor.slice(1)))).toBe("INVALID_ARGUMENT");
  });

  test("says by its code what is wrong, and changes nothing", async () => {
    const id = own("wrong");
    const codes = {
      noType: await codeOf(front.append(id, [{ type: "", data: 1 }])),
      oneOfMany: await codeOf(front.append(id, [earned(1), { type: "x".repeat(300), data: 1 }])),
      tooLarge: await codeOf(front.append(id, [{ type: "Large", data: "x".repeat(2 << 20) }])),
      tooMany: await codeOf(front.append(id, new Array(10_001).fill(earned(1)))),
      tooDeep: await codeOf(front.append(id, [{ type: "Deep", data: nested(40) }])),
      evolve: await codeOf(front.append(id, [{ type: "Broken", data: null }])),
      command: await codeOf(front.send(id, "fail", {})),
      unknownCommand: await codeOf(front.send(id, "steal", {})),
      longId: await codeOf(front.append("x".repeat(513), [earned(1)])),
      longKey: await codeOf(front.append(id, [earned(1)], { key: "k".repeat(513) })),
    };
    expect(codes).toEqual({
      noType: "INVALID_EVENT",
      oneOfMany: "INVALID_EVENT",
      tooLarge: "EVENT_TOO_LARGE",
      tooMany: "EVENT_TOO_LARGE",
      tooDeep: "INVALID_EVENT",
      evolve: "EVOLVE_FAILED",
      command: "COMMAND_FAILED",
      unknownCommand: "UNKNOWN_COMMAND",
      longId: "INVALID_ARGUMENT",
      longKey: "INVALID_ARGUMENT",
    });
    expect(await front.seq(id)).toBe(0);
    await front.append(id, [earned(1)]);
    expect(await codeOf(front.state(id, "profile"))).toBe("UNKNOWN_AGGREGATE");
  });

  test("takes any text as an id", async () => {
    const names = [
      "-x",
      "--json",
      "a b",
      "a/b",
      "%2F",
      "?#&=",
      "\n",
      "\"'",
      "{tag}",
      "ñ",
      "n\u0303",
      "😀",
      ".",
      "..",
      "\\",
    ];
    for (const name of names) {
      if (front.unspeakable.has(name)) continue;
      const { ok, seq } = await front.append(name, [earned(1)]);
      const [event] = await front.events(name, { direction: "backward", limit: 1 });
      expect({ ok, entity: name, seq: Number(seq) }).toEqual({
        ok: true,
        entity: String(event?.entity),
        seq: Number(event?.seq),
      });
    }
  });

  test("an export has every event, the states and a manifest", async () => {
    const id = `exported by ${way}`;
    await front.append(id, [earned(3)]);
    await front.append(id, [earned(4)]);
    const lines = await front.export(id);
    expect(lines.map(({ kind }) => kind)).toEqual(["entity", "state", "state", "event", "event", "manifest"]);
    expect(lines[4]).toMatchObject({ seq: 2, data: { cents: 4 } });
    expect(lines[5]).toMatchObject({ counts: { entity: 1, state: 2, event: 2 } });
  });

  test("a personal part is read with its event until its subject is deleted, whose export has it", async () => {
    const [host, other, subject] = [`host by ${way}`, `other by ${way}`, `subject by ${way}`];
    const said = (address: string) => ({ ...earned(1), personal: { subject, data: { address } } });
    await front.append(host, [said("Elm Street 1")]);
    await front.append(host, [earned(2), said("Elm Street 2")], { key: "both" });
    await front.append(other, [said("Elm Street 3")]);
    const partsOf = async (id: string) => (await front.events(id)).map(({ personal }) => personal);
    expect(await partsOf(host)).toEqual([
      { address: "Elm Street 1" },
      undefined,
      { address: "Elm Street 2" },
    ]);
    const followed = await front.readAll?.({ entity: host }, "start");
    if (followed !== undefined)
      expect(followed.events.map(({ personal }) => personal)).toEqual(await partsOf(host));
    const lines = await front.export(subject);
    const parts = lines.filter(({ kind }) => kind === "personal");
    expect(
      new Set(parts.map(({ entity, seq, type, data }) => JSON.stringify([entity, seq, type, data]))),
    ).toEqual(
      new Set([
        JSON.stringify([host, 1, "Earned", { address: "Elm Street 1" }]),
        JSON.stringify([host, 3, "Earned", { address: "Elm Street 2" }]),
        JSON.stringify([other, 1, "Earned", { address: "Elm Street 3" }]),
      ]),
    );
    expect(await front.deletePlan(subject)).toMatchObject({ events: 0, personal: { parts: 3, hosts: 2 } });
    const receipt = await front.delete(subject);
    expect(receipt).toMatchObject({ status: "erased", pending: [], personal: { parts: 3, hosts: 2 } });
    expect(await partsOf(host)).toEqual([null, undefined, null]);
    expect(await partsOf(other)).toEqual([null]);
    expect(await codeOf(front.append(host, [said("Elm Street 4")]))).toBe("ERASED");
    const bad = { ...earned(1), personal: { subject: "", data: 1 } };
    expect(await codeOf(front.append(host, [bad]))).toBe("INVALID_EVENT");
    expect(await front.seq(host)).toBe(3);
  });

  test("a deletion erases, answers ERASED from then on, and a hold refuses it", async () => {
    const id = `mortal of ${way}`;
    await front.append(id, [earned(3)]);
    await front.hold(id, "claim");
    expect(await codeOf(front.delete(id))).toBe("HELD");
    expect(await front.deletePlan(id)).toMatchObject({ events: 1, hold: { reason: "claim" } });
    await front.releaseHold(id);
    const receipt = await front.delete(id, { reason: "art-17", by: "ticket-1" });
    expect(receipt).toMatchObject({
      status: "erased",
      entity: id,
      removed: { events: 1 },
      pending: [],
    });
    expect(await codeOf(front.append(id, [earned(1)]))).toBe("ERASED");
    expect(await codeOf(front.seq(id))).toBe("ERASED");
    expect(await front.delete(id)).toMatchObject({ status: "erased", entry: receipt.entry });
    expect(await front.append(id, [earned(9)], { expect: "none" })).toMatchObject({ ok: true, seq: 1 });
    expect((await front.events(id)).map(({ data }) => data)).toEqual([earned(9).data]);
  });
});

function nested(depth: number): unknown {
  return depth === 0 ? null : [nested(depth - 1)];
}
