/**
 * The frames in tests/golden/frames.json never change: this encoder writes them and this decoder reads them, as every
 * client in another language may. A new message adds a frame there.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decode } from "@msgpack/msgpack";
import { WarpError } from "../../core/errors.ts";
import { readEntity } from "./entity-number.ts";
import { FrameInput } from "./frame-input.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { SendResult } from "./outcomes.ts";
import { AppendsWriter, GroupedAppends } from "./grouped/appends.ts";
import { OutcomesWriter, readOutcomes } from "./grouped/outcomes.ts";
import * as privacy from "./privacy.ts";
import * as querying from "./querying.ts";
import * as replies from "./replies.ts";
import * as requests from "./requests.ts";
import * as grouping from "./subscription/groups.ts";
import * as pushes from "./subscription/pushes.ts";
import { readPush } from "./subscription/read-push.ts";
import * as subscribing from "./subscription/requests.ts";
import { encodeList, encodeValue, tableOf } from "./value.ts";
import { frameKind } from "./words.ts";

interface GoldenFrame {
  readonly name: string;
  readonly hex: string;
}

const path = join(import.meta.dir, "../../../tests/golden/frames.json");
const golden = JSON.parse(readFileSync(path, "utf8")) as { readonly frames: readonly GoldenFrame[] };

const delivery = { sessionStart: 1_800_000_000_000, sessionNumber: 9_007_199_254_740_991, counter: 7 };
const stored = {
  entity: "alice",
  seq: 3,
  type: "Credited",
  version: 2,
  data: { cents: 5000 },
  recordedAt: 1_800_000_000_123,
  position: 70_000,
};
const welcome: replies.Welcome = {
  version: 1,
  context: "banking",
  node: "n1",
  incarnation: "i1",
  shards: 16,
  topology: [],
  limits: {
    frameBytes: 10_485_760,
    requests: 4096,
    idleMs: 120_000,
    deliveryWindow: 4096,
    deliveryTtlMs: 86_400_000,
  },
  now: 1_800_000_000_000,
};
const appended: SendResult = {
  ok: true,
  seq: 300,
  firstSeq: 299,
  count: 2,
  duplicate: false,
  shard: 15,
  position: 2 ** 40,
};
const conflict: SendResult = { ok: false, reason: "conflict", seq: 12 };
const rejected: SendResult = {
  ok: false,
  reason: "rejected",
  code: "INSUFFICIENT_FUNDS",
  details: { have: 100 },
  seq: 12,
  duplicate: true,
};
const rows = {
  columns: ["id", "n"],
  rows: [
    ["alice", 1],
    [null, 2.5],
  ],
  isTruncated: true,
};
const exotic = { columns: ["a", "b"], rows: [[2n ** 60n, new Uint8Array([1, 2])]], isTruncated: false };
const failure = new WarpError("EVENT_TOO_LARGE", "too large", { limit: "eventBytesMax" });

interface Message {
  readonly write: (writer: FrameWriter) => void;
  /** Reads the frame behind its kind, id and, in a request, operation. */
  readonly read: (reader: FrameReader) => unknown;
  readonly means: unknown;
}

const messages: Readonly<Record<string, Message>> = {
  hello: {
    write: (w) => requests.writeHello(w, 1, { context: "banking", token: "secret", client: undefined }),
    read: requests.readHello,
    means: { version: 1, context: "banking", token: "secret", client: undefined },
  },
  welcome: { write: (w) => replies.writeWelcome(w, 1, welcome), read: replies.readWelcome, means: welcome },
  "append one event": {
    write: (w) => {
      const draft = {
        types: "Credited",
        data: encodeList([{ cents: 5000, ref: "Gehalt für März" }]),
        occurred: undefined,
      };
      requests.writeAppend(w, 2, "alice", draft, undefined, delivery);
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [request.entity, requests.eventsOf(request), request.options];
    },
    means: ["alice", [{ type: "Credited", data: { cents: 5000, ref: "Gehalt für März" } }], { delivery }],
  },
  "append of a table": {
    write: (w) => {
      const rows = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => ({
        cents: i * 100,
        ref: `März ${i}`,
        rate: i / 4,
        ok: i > 4,
      }));
      const draft = { types: "Credited", data: tableOf(rows) ?? "", occurred: undefined };
      requests.writeAppend(w, 2, "alice", draft, undefined, delivery);
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [
        requests
          .eventsOf(request)
          .map((event) => event.data)
          .slice(3, 5),
        request.options,
      ];
    },
    means: [
      [
        { cents: 400, ref: "März 4", rate: 1, ok: false },
        { cents: 500, ref: "März 5", rate: 1.25, ok: true },
      ],
      { delivery },
    ],
  },
  "appends of a turn": {
    write: (w) => {
      const appends = new AppendsWriter();
      appends.begin(w, 300, "Credited", { ...delivery, behind: 3 });
      appends.add(w, 5, encodeList([{ cents: 5000 }]) as string);
      appends.add(w, 70_000, encodeList(["März"]) as string);
      appends.end(w);
    },
    read: (r) => {
      const appends = new GroupedAppends(r);
      return [0, 1].map((i) => {
        const request = appends.read(i);
        return [request.entity, requests.eventsOf(request), request.options?.delivery];
      });
    },
    means: [
      [5, [{ type: "Credited", data: { cents: 5000 } }], { ...delivery, behind: 3 }],
      [70_000, [{ type: "Credited", data: "März" }], { ...delivery, counter: 8, behind: 4 }],
    ],
  },
  "append whose client waits for nothing older than three writes ago": {
    write: (w) => {
      const draft = { types: "Credited", data: encodeList([1]), occurred: undefined };
      requests.writeAppend(w, 2, "alice", draft, undefined, { ...delivery, behind: 3 });
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [request.entity, requests.eventsOf(request), request.options];
    },
    means: ["alice", [{ type: "Credited", data: 1 }], { delivery: { ...delivery, behind: 3 } }],
  },
  "append of what is said of somebody else": {
    write: (w) => {
      const said = { subject: "customer-2", data: { address: "Elm Street 1" } };
      const draft = { types: "Shipped", data: encodeList([1, 2]), occurred: undefined };
      requests.writeAppend(
        w,
        5,
        "order-1",
        { ...draft, personal: encodeList([null, said]) },
        undefined,
        delivery,
      );
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [request.entity, requests.eventsOf(request), request.options];
    },
    means: [
      "order-1",
      [
        { type: "Shipped", data: 1 },
        { type: "Shipped", data: 2, personal: { subject: "customer-2", data: { address: "Elm Street 1" } } },
      ],
      { delivery },
    ],
  },
  "append several events with times, expect and key": {
    write: (w) => {
      const draft = { types: ["A", "B"], data: encodeList([1, [true, null]]), occurred: [undefined, 1.5] };
      requests.writeAppend(w, 300, "bob", draft, { expect: 41, key: "k-1" }, undefined);
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [request.entity, requests.eventsOf(request), request.options];
    },
    means: [
      "bob",
      [
        { type: "A", data: 1 },
        { type: "B", data: [true, null], occurredAt: 1.5 },
      ],
      { expect: 41, key: "k-1" },
    ],
  },
  "append what JSON cannot hold": {
    write: (w) => {
      const data = encodeList([
        { at: new Date(1), big: 2n ** 40n, bytes: Uint8Array.of(1, 2), minus: -0, plain: 5 },
      ]);
      requests.writeAppend(
        w,
        4,
        "eve",
        { types: "M", data, occurred: undefined },
        { expect: "none" },
        undefined,
      );
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [requests.eventsOf(request), request.options];
    },
    means: [
      [
        {
          type: "M",
          data: { at: new Date(1), big: 2n ** 40n, bytes: Uint8Array.of(1, 2), minus: -0, plain: 5 },
        },
      ],
      { expect: "none" },
    ],
  },
  send: {
    write: (w) =>
      requests.writeSend(
        w,
        5,
        "alice",
        "account.debit",
        encodeValue({ cents: 1 }),
        { expect: "exists" },
        delivery,
      ),
    read: (r) => {
      const request = requests.readSend(r);
      return [request.entity, request.command, requests.inputOf(request), request.options];
    },
    means: ["alice", "account.debit", { cents: 1 }, { expect: "exists", delivery }],
  },
  "send without input": {
    write: (w) => requests.writeSend(w, 6, "alice", "close", undefined, undefined, undefined),
    read: (r) => requests.inputOf(requests.readSend(r)),
    means: undefined,
  },
  state: {
    write: (w) => requests.writeState(w, 7, "alice", undefined, undefined),
    read: requests.readState,
    means: { entity: "alice", aggregate: undefined, at: undefined },
  },
  "state of the past": {
    write: (w) => requests.writeState(w, 8, "alice", "account", { recorded: 1_800_000_000_000 }),
    read: requests.readState,
    means: { entity: "alice", aggregate: "account", at: { recorded: 1_800_000_000_000 } },
  },
  seq: { write: (w) => requests.writeSeq(w, 9, "alice"), read: (r) => r.str(), means: "alice" },
  events: {
    write: (w) =>
      requests.writeEvents(w, 10, "alice", { from: 1, to: 99, direction: "backward", limit: 10 }, true),
    read: requests.readEvents,
    means: { entity: "alice", query: { from: 1, to: 99, direction: "backward", limit: 10 }, stored: true },
  },
  entities: {
    write: (w) => requests.writeEntities(w, 11, { prefix: "user-", after: "user-9", limit: 5 }),
    read: requests.readEntities,
    means: { prefix: "user-", after: "user-9", limit: 5 },
  },
  ping: { write: (w) => requests.writePing(w, 4_294_967_295), read: (r) => r.finish(), means: undefined },
  subscribe: {
    write: (w) => {
      const query = { entity: "alice", types: ["Credited", "Debited"], from: "end", stored: true };
      subscribing.writeSubscribe(w, 14, { subscription: 1, query, credit: 524_288 });
    },
    read: subscribing.readSubscribe,
    means: {
      subscription: 1,
      query: { entity: "alice", types: ["Credited", "Debited"], from: "end", stored: true },
      credit: 524_288,
    },
  },
  "subscribe to a prefix from a time": {
    write: (w) => {
      const query = { prefix: "acc-", from: { time: 1_800_000_000_000 } };
      subscribing.writeSubscribe(w, 15, { subscription: 4_294_967_295, query, credit: 0 });
    },
    read: subscribing.readSubscribe,
    means: {
      subscription: 4_294_967_295,
      query: { prefix: "acc-", from: { time: 1_800_000_000_000 } },
      credit: 0,
    },
  },
  "subscribe and be told of dropped events": {
    write: (w) => {
      const query = { entity: "alice", from: "c1" };
      subscribing.writeSubscribe(w, 43, { subscription: 3, query, credit: 1000, gaps: true });
    },
    read: subscribing.readSubscribe,
    means: { subscription: 3, query: { entity: "alice", from: "c1" }, credit: 1000, gaps: true },
  },
  unsubscribe: {
    write: (w) => subscribing.writeUnsubscribe(w, 16, 1),
    read: subscribing.readUnsubscribe,
    means: 1,
  },
  join: {
    write: (w) => {
      const query = { prefix: "acc-", types: ["Debited"], from: "end" };
      grouping.writeJoin(w, 17, { subscription: 2, group: "mailer", window: 64, query });
    },
    read: grouping.readJoin,
    means: {
      subscription: 2,
      group: "mailer",
      window: 64,
      query: { prefix: "acc-", types: ["Debited"], from: "end" },
    },
  },
  "join and be told of dropped events": {
    write: (w) =>
      grouping.writeJoin(w, 44, { subscription: 2, group: "mailer", window: 8, query: {}, gaps: true }),
    read: grouping.readJoin,
    means: { subscription: 2, group: "mailer", window: 8, query: {}, gaps: true },
  },
  "join and tell what is read": {
    write: (w) =>
      grouping.writeJoin(w, 45, { subscription: 2, group: "mailer", window: 8, query: {}, reads: true }),
    read: grouping.readJoin,
    means: { subscription: 2, group: "mailer", window: 8, query: {}, reads: true },
  },
  acknowledge: {
    write: (w) =>
      grouping.writeAnswer(w, 18, { subscription: 2, deliveries: [1, 300], answer: { action: "ack" } }),
    read: grouping.readAnswer,
    means: { subscription: 2, deliveries: [1, 300], answer: { action: "ack" } },
  },
  "ask for a retry": {
    write: (w) => {
      const answer = { action: "retry", delayMs: 1500 } as const;
      grouping.writeAnswer(w, 19, { subscription: 2, deliveries: [4], answer });
    },
    read: grouping.readAnswer,
    means: { subscription: 2, deliveries: [4], answer: { action: "retry", delayMs: 1500 } },
  },
  park: {
    write: (w) => {
      const answer = { action: "park", reason: "NO_ADDRESS" } as const;
      grouping.writeAnswer(w, 20, { subscription: 2, deliveries: [5], answer });
    },
    read: grouping.readAnswer,
    means: { subscription: 2, deliveries: [5], answer: { action: "park", reason: "NO_ADDRESS" } },
  },
  groups: { write: (w) => grouping.writeGroups(w, 21), read: (r) => r.finish(), means: undefined },
  "replay of a group": {
    write: (w) => grouping.writeGroup(w, 22, { group: "mailer", action: "replay", limit: 10 }),
    read: grouping.readGroup,
    means: { group: "mailer", action: "replay", limit: 10 },
  },
  "value result": {
    write: (w) => replies.writeValue(w, 21, [{ name: "mailer", lag: 3 }]),
    read: replies.readValue,
    means: [{ name: "mailer", lag: 3 }],
  },
  "push of deliveries": {
    write: (w) => {
      const deliveries = [{ delivery: 7, attempt: 2, event: stored }];
      pushes.writePush(w, 2, grouping.encodeDeliveriesPush(deliveries));
    },
    read: readPush,
    means: { kind: "deliveries", deliveries: [{ delivery: 7, attempt: 2, event: stored }] },
  },
  "push of withdrawn deliveries": {
    write: (w) => void pushes.writePush(w, 2, grouping.encodeWithdrawnPush([7, 300])),
    read: readPush,
    means: { kind: "withdrawn", deliveries: [7, 300] },
  },
  appended: {
    write: (w) => replies.writeOutcome(w, 2, appended),
    read: replies.readOutcome,
    means: appended,
  },
  conflict: {
    write: (w) => replies.writeOutcome(w, 3, conflict),
    read: replies.readOutcome,
    means: conflict,
  },
  rejected: {
    write: (w) => replies.writeOutcome(w, 4, rejected),
    read: replies.readOutcome,
    means: rejected,
  },
  "state result": {
    write: (w) => replies.writeStateAt(w, 7, { seq: 12, state: { cents: 5000 } }),
    read: replies.readStateAt,
    means: { seq: 12, state: { cents: 5000 } },
  },
  "seq result": { write: (w) => replies.writeWhole(w, 9, 65_536), read: (r) => r.whole(), means: 65_536 },
  "page of events": {
    write: (w) => {
      const events = [stored, { ...stored, seq: 4, occurredAt: 12 }];
      replies.writeEventsPage(w, 10, events, encodeList([{ cents: 5000 }, { cents: 5000 }]), 5);
    },
    read: (r) => replies.readEventsPage(r, "alice"),
    means: { events: [stored, { ...stored, seq: 4, occurredAt: 12 }], next: 5 },
  },
  "page of events with what they say of somebody else": {
    write: (w) => {
      const events = [stored, { ...stored, seq: 4, occurredAt: 12, personal: null }];
      replies.writeEventsPage(w, 10, events, encodeList([{ cents: 5000 }, { cents: 5000 }]), undefined);
    },
    read: (r) => replies.readEventsPage(r, "alice"),
    means: { events: [stored, { ...stored, seq: 4, occurredAt: 12, personal: null }], next: undefined },
  },
  "page of entities": {
    write: (w) => replies.writeEntitiesPage(w, 11, [{ id: "käthe", seq: 3 }], undefined),
    read: replies.readEntitiesPage,
    means: { entities: [{ id: "käthe", seq: 3 }], next: undefined },
  },
  export: {
    write: (w) => privacy.writeExport(w, 40, "alice", undefined),
    read: privacy.readExport,
    means: { entity: "alice", cursor: undefined },
  },
  "export of the next page": {
    write: (w) => privacy.writeExport(w, 41, "alice", { from: 301, to: 70_000 }),
    read: privacy.readExport,
    means: { entity: "alice", cursor: { from: 301, to: 70_000 } },
  },
  "export of the next page, of one life": {
    write: (w) => privacy.writeExport(w, 41, "alice", { from: 301, to: 70_000, number: 12 }),
    read: privacy.readExport,
    means: { entity: "alice", cursor: { from: 301, to: 70_000, number: 12 } },
  },
  "page of an export, of one life": {
    write: (w) =>
      privacy.writeExportPage(w, 41, {
        text: '{"kind":"entity"}\n',
        next: { from: 301, to: 70_000, number: 12 },
      }),
    read: privacy.readExportPage,
    means: { text: '{"kind":"entity"}\n', next: { from: 301, to: 70_000, number: 12 } },
  },
  "page of an export": {
    write: (w) =>
      privacy.writeExportPage(w, 41, { text: '{"kind":"entity"}\n', next: { from: 301, to: 70_000 } }),
    read: privacy.readExportPage,
    means: { text: '{"kind":"entity"}\n', next: { from: 301, to: 70_000 } },
  },
  delete: {
    write: (w) => privacy.writeDelete(w, 42, "alice", { reason: "art-17", by: "ticket-4711" }),
    read: (r) => {
      const request = privacy.readDelete(r);
      return { ...request, options: privacy.optionsOf(request.options) };
    },
    means: { entity: "alice", options: { reason: "art-17", by: "ticket-4711" } },
  },
  receipt: {
    write: (w) => privacy.writeValueReply(w, 42, { status: "erased", shard: 3, entry: 7 }),
    read: privacy.readValueReply,
    means: { status: "erased", shard: 3, entry: 7 },
  },
  hold: {
    write: (w) => privacy.writeHold(w, 43, "alice", "set", { reason: "claim" }),
    read: (r) => {
      const request = privacy.readHold(r);
      return { ...request, options: privacy.optionsOf(request.options) };
    },
    means: { entity: "alice", action: "set", options: { reason: "claim" } },
  },
  erasures: {
    write: (w) => privacy.writeErasures(w, 44, 15, 500),
    read: privacy.readErasures,
    means: { shard: 15, after: 500 },
  },
  backup: {
    write: (w) => privacy.writeBackup(w, 45, undefined),
    read: privacy.readBackup,
    means: undefined,
  },
  "backup into a target": {
    write: (w) => privacy.writeBackup(w, 46, "/backups/banking"),
    read: privacy.readBackup,
    means: "/backups/banking",
  },
  "keys rotated": {
    write: (w) => privacy.writeKeys(w, 47, "rotate"),
    read: privacy.readKeys,
    means: "rotate",
  },
  pong: { write: (w) => replies.writeNothing(w, 12), read: (r) => r.isNil(), means: true },
  "push of events": {
    write: (w) => {
      const events = [stored, { ...stored, seq: 4, occurredAt: 12 }, { ...stored, entity: "bob" }];
      pushes.writePush(w, 1, pushes.encodeEventsPush(events, "c3"));
    },
    read: readPush,
    means: {
      kind: "events",
      events: [stored, { ...stored, seq: 4, occurredAt: 12 }, { ...stored, entity: "bob" }],
      cursor: "c3",
    },
  },
  "push of events with what they say of somebody else": {
    write: (w) => {
      const events = [
        { ...stored, personal: { address: "Elm Street 1" } },
        { ...stored, seq: 4, personal: null },
      ];
      pushes.writePush(w, 1, pushes.encodeEventsPush(events, "c3"));
    },
    read: readPush,
    means: {
      kind: "events",
      events: [
        { ...stored, personal: { address: "Elm Street 1" } },
        { ...stored, seq: 4, personal: null },
      ],
      cursor: "c3",
    },
  },
  "state, and a number for the entity": {
    write: (w) => requests.writeState(w, 7, { number: 300, id: "alice" }, undefined, undefined),
    read: requests.readState,
    means: { entity: { number: 300, id: "alice" }, aggregate: undefined, at: undefined },
  },
  "seq of an entity by its number": {
    write: (w) => requests.writeSeq(w, 6, 300),
    read: readEntity,
    means: 300,
  },
  "append by number": {
    write: (w) => {
      const draft = { types: "J", data: encodeList([1]), occurred: undefined };
      requests.writeAppend(w, 9, 10, draft, undefined, undefined);
    },
    read: (r) => {
      const request = requests.readAppend(r);
      return [request.entity, requests.eventsOf(request), request.options];
    },
    means: [10, [{ type: "J", data: 1 }], undefined],
  },
  "push of caught up": {
    write: (w) => void pushes.writePush(w, 1, pushes.encodeMarkPush("caughtUp", "c4")),
    read: readPush,
    means: { kind: "caughtUp", cursor: "c4" },
  },
  "push of an erasure": {
    write: (w) => void pushes.writePush(w, 1, pushes.encodeErasedPush("alice", "c5")),
    read: readPush,
    means: { kind: "erased", entity: "alice", cursor: "c5" },
  },
  "push of dropped events": {
    write: (w) => void pushes.writePush(w, 1, pushes.encodeDroppedPush("alice", 300, "c7")),
    read: readPush,
    means: { kind: "dropped", entity: "alice", droppedTo: 300, cursor: "c7" },
  },
  "push of a moved cursor": {
    write: (w) => void pushes.writePush(w, 1, pushes.encodeMarkPush("moved", "c6")),
    read: readPush,
    means: { kind: "moved", cursor: "c6" },
  },
  "push of the end": {
    write: (w) => void pushes.writePush(w, 1, pushes.encodeEndedPush(failure)),
    read: (r) => {
      const pushed = readPush(r);
      return pushed?.kind === "ended" ? pushed.error.toWire() : pushed;
    },
    means: failure.toWire(),
  },
  query: {
    write: (w) => {
      const after = [{ shard: 15, position: 2 ** 40 }, "c1"];
      querying.writeQuery(w, 40, "SELECT ?", [1, "ä", null], { after, rows: 10, timeoutMs: 5000, sink: "s" });
    },
    read: (r) => {
      const request = querying.readQuery(r);
      return [request.sql, querying.queryOf(request)];
    },
    means: [
      "SELECT ?",
      {
        params: [1, "ä", null],
        options: { after: [{ shard: 15, position: 2 ** 40 }, "c1"], rows: 10, timeoutMs: 5000, sink: "s" },
      },
    ],
  },
  "query that takes pages": {
    write: (w) => querying.writeQuery(w, 43, "SELECT 1", [], { pages: true }),
    read: (r) => {
      const request = querying.readQuery(r);
      return [request.sql, querying.queryOf(request)];
    },
    means: ["SELECT 1", { params: [], options: { pages: true } }],
  },
  "query result with more to come": {
    write: (w) => querying.writeQueryResult(w, 43, { ...rows, next: 7 }),
    read: querying.readQueryResult,
    means: { ...rows, next: 7 },
  },
  "more rows": {
    write: (w) => querying.writeRows(w, 44, 7),
    read: querying.readRows,
    means: 7,
  },
  "last page of rows": {
    write: (w) => querying.writeRowsPage(w, 44, { rows: rows.rows }),
    read: querying.readRowsPage,
    means: { rows: rows.rows, next: undefined },
  },
  "query without anything else": {
    write: (w) => querying.writeQuery(w, 41, "SELECT 1", [], {}),
    read: (r) => {
      const request = querying.readQuery(r);
      return [request.sql, querying.queryOf(request)];
    },
    means: ["SELECT 1", { params: [], options: {} }],
  },
  rows: {
    write: (w) => querying.writeQueryResult(w, 40, rows),
    read: querying.readQueryResult,
    means: rows,
  },
  "rows with bytes and a large integer": {
    write: (w) => querying.writeQueryResult(w, 40, exotic),
    read: querying.readQueryResult,
    means: exotic,
  },
  "unpark of a projection": {
    write: (w) => querying.writeProjection(w, 42, { action: "unpark", projection: "p", entity: "alice" }),
    read: querying.readProjection,
    means: { action: "unpark", projection: "p", entity: "alice" },
  },
  "statuses of projections": {
    write: (w) => querying.writeProjectionResult(w, 42, [{ name: "p", lagMs: 1.5 }]),
    read: querying.readProjectionResult,
    means: [{ name: "p", lagMs: 1.5 }],
  },
  error: {
    write: (w) => replies.writeError(w, 13, failure),
    read: (r) => replies.readError(r).toWire(),
    means: failure.toWire(),
  },
};

test("the golden frame of outcomes", () => {
  const writer = new FrameWriter(16);
  const outcomes = new OutcomesWriter();
  outcomes.add(writer, 300, { ...appended, seq: 2 ** 33 + 1, count: 1 });
  outcomes.add(writer, 301, { ...appended, shard: 0, seq: 7, count: 1, position: 9 });
  expect(writer.buffer.toString("hex", 0, writer.at)).toBe(
    "000000379205c600000030" +
      "0000012c0000000f00000002000000010000010000000000" +
      "0000012d0000000000000000000000070000000000000009",
  );
  const reader = new FrameReader();
  reader.begin(writer.buffer, 4, writer.at);
  expect(reader.whole()).toBe(frameKind.outcomes);
  const read: unknown[] = [];
  expect(readOutcomes(reader, (id, { seq, shard, position }) => read.push([id, seq, shard, position]))).toBe(
    2,
  );
  expect(read).toEqual([
    [300, 2 ** 33 + 1, 15, 2 ** 40],
    [301, 7, 0, 9],
  ]);
});

test("the golden frame of a credit", () => {
  const writer = new FrameWriter(16);
  subscribing.writeCredit(writer, 1, 262_144);
  expect(writer.buffer.toString("hex", 0, writer.at)).toBe("00000008930401ce00040000");
  const reader = new FrameReader();
  reader.begin(writer.buffer, 4, writer.at);
  expect(reader.whole()).toBe(frameKind.credit);
  expect(subscribing.readCredit(reader)).toEqual({ subscription: 1, bytes: 262_144 });
});

test("every message has a golden frame and every golden frame a message", () => {
  expect(golden.frames.map(({ name }) => name).sort()).toEqual(Object.keys(messages).sort());
});

for (const { name, hex } of golden.frames) {
  const message = messages[name];

  test(`${name} is written as its golden frame`, () => {
    const writer = new FrameWriter(16);
    message?.write(writer);
    expect(writer.buffer.toString("hex", 0, writer.at)).toBe(hex);
  });

  test(`the golden frame of ${name} is read`, () => {
    const input = new FrameInput();
    input.push(Buffer.from(hex, "hex"));
    expect(input.next()).toBe(true);
    const reader = new FrameReader();
    reader.begin(input.bytes, input.frameStart, input.frameEnd);
    const kind = reader.whole();
    reader.whole();
    if (kind === frameKind.request) reader.whole();
    expect(message?.read(reader)).toEqual(message?.means as never);
    expect(input.next()).toBe(false);
  });

  test(`the golden frame of ${name} is one array for any MessagePack library`, () => {
    const frame = Buffer.from(hex, "hex");
    expect(frame.readUInt32BE(0)).toBe(frame.length - 4);
    expect(decode(frame.subarray(4))).toBeInstanceOf(Array);
  });
}
