import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../core/logger.ts";
import { defineAggregate, reject, start, type Warp } from "../../index.ts";
import { enginePortOf } from "../../server.ts";
import { type HttpServer, listenHttp } from "../http-server.ts";
import { createMetrics } from "./metrics.ts";
import type { HttpParts, ServerStatus } from "./parts.ts";

const purse = defineAggregate({
  name: "purse",
  version: 1,
  initialState: { cents: 0 },
  evolve: {
    Earned: (state, { data }: { data: { cents: number } }) => ({ cents: state.cents + data.cents }),
    Spent: (state, { data }: { data: { cents: number } }) => ({ cents: state.cents - data.cents }),
  },
  commands: {
    spend: (state, input: { cents: number }) =>
      state.cents < input.cents
        ? reject("TOO_LITTLE", { have: state.cents })
        : { type: "Spent", data: input },
  },
});

let folder = "";
let warp: Warp;
let server: HttpServer;
let url = "";
let status: ServerStatus = "ready";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "warp-http-"));
  warp = await start({
    dataDir: join(folder, "data"),
    aggregates: [purse],
    shards: 2,
    journal: { segmentBytes: 256 * 1024, segmentsMax: 8 },
    memory: { tailBytes: 1 << 20 },
  });
  server = listenHttp({ host: "127.0.0.1", port: 0 }, partsOf());
  url = `http://127.0.0.1:${server.port}`;
});

function partsOf(): HttpParts {
  return {
    engine: enginePortOf(warp),
    status: () => status,
    metrics: createMetrics({ context: warp.context }, [
      { name: "warp_pending_writes", help: "Writes under way.", read: () => warp.pressure.pendingWrites },
    ]),
    logger: silentLogger,
    bodyBytesMax: 100_000,
  };
}

afterAll(async () => {
  await server.close();
  await warp.close();
  rmSync(folder, { recursive: true });
});

test("a request for which the server is at work is not idle; one whose body does not come is", async () => {
  const real = enginePortOf(warp);
  const slow = listenHttp(
    { host: "127.0.0.1", port: 0, idleTimeoutSeconds: 1 },
    {
      engine: {
        ...real,
        state: (entity, aggregate, at, answer) =>
          void setTimeout(() => real.state(entity, aggregate, at, answer), 6000),
      },
      status: () => "ready",
      metrics: createMetrics({ context: warp.context }, []),
      logger: silentLogger,
      bodyBytesMax: 1000,
    },
  );
  await call("POST", eventsOf("slow"), earned(7));
  const stalled = new Promise<number>((resolve) => {
    const begun = performance.now();
    const socket = connect(slow.port, "127.0.0.1", () =>
      socket.write(
        "POST /v1/entities/slow/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{",
      ),
    );
    socket.on("data", () => {});
    socket.on("close", () => resolve(performance.now() - begun));
  });
  const response = await fetch(`http://127.0.0.1:${slow.port}/v1/entities/slow`);
  expect(await response.json()).toMatchObject({ state: { cents: 7 } });
  expect(await stalled).toBeLessThan(30_000);
  await slow.close();
}, 60_000);

const json = { "content-type": "application/json" };

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const response = await fetch(`${url}${path}`, {
    method,
    headers: body === undefined ? headers : { ...json, ...headers },
    ...(body === undefined ? {} : { body: text }),
  });
  const content = await response.text();
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests are about.
  const parsed: any = /json/.test(response.headers.get("content-type") ?? "")
    ? firstJson(content)
    : undefined;
  return { status: response.status, body: parsed, text: content, headers: response.headers };
}

function firstJson(text: string): unknown {
  return JSON.parse(text.split("\n")[0] ?? "");
}

/** {"type":"Earned","data":{"cents":1,"of":"M\u00fcller"}} in Latin-1. */
const notUtf8 = Buffer.from('{"type":"Earned","data":{"cents":1,"of":"M\u00fcller"}}', "latin1");
const earned = (cents: number) => ({ type: "Earned", data: { cents } });
const eventsOf = (id: string) => `/v1/entities/${encodeURIComponent(id)}/events`;

describe("writing over HTTP", () => {
  test("one event, or a batch, answers 201 with the seqs and the tag", async () => {
    const one = await call("POST", eventsOf("w1"), earned(5));
    expect(one.status).toBe(201);
    expect(one.body).toMatchObject({ ok: true, seq: 1, firstSeq: 1, count: 1, duplicate: false });
    expect(one.headers.get("etag")).toBe('"1"');
    const batch = await call("POST", eventsOf("w1"), { events: [earned(1), earned(2)] });
    expect(batch.body).toMatchObject({ seq: 3, firstSeq: 2, count: 2 });
  });

  test("a batch may be one event a line", async () => {
    const lines = `${JSON.stringify(earned(1))}\n\n${JSON.stringify(earned(2))}\n`;
    const batch = await call("POST", eventsOf("w2"), lines, { "content-type": "application/x-ndjson" });
    expect(batch.body).toMatchObject({ seq: 2, count: 2 });
  });

  test("If-Match and If-None-Match say what is expected; a mismatch answers 412 with the seq", async () => {
    const first = await call("POST", eventsOf("w3"), earned(1), { "if-none-match": "*" });
    expect(first.status).toBe(201);
    const again = await call("POST", eventsOf("w3"), earned(1), { "if-none-match": "*" });
    expect(again.status).toBe(412);
    expect(again.body).toMatchObject({ code: "CONFLICT", status: 412, seq: 1 });
    expect(again.headers.get("content-type")).toBe("application/problem+json");
    expect(again.headers.get("etag")).toBe('"1"');
    expect((await call("POST", eventsOf("w3"), earned(1), { "if-match": '"1"' })).status).toBe(201);
    expect((await call("POST", eventsOf("w3"), earned(1), { "if-match": '"1"' })).status).toBe(412);
    expect((await call("POST", eventsOf("w3"), earned(1), { "if-match": "*" })).status).toBe(201);
    expect((await call("POST", eventsOf("w3b"), earned(1), { "if-match": "*" })).status).toBe(412);
  });

  test("an Idempotency-Key takes effect once; other content under it answers 422", async () => {
    const headers = { "idempotency-key": '"pay-1"' };
    expect((await call("POST", eventsOf("w4"), earned(1), headers)).status).toBe(201);
    const again = await call("POST", eventsOf("w4"), earned(1), { "idempotency-key": "pay-1" });
    expect(again.status).toBe(200);
    expect(again.body).toMatchObject({ seq: 1, duplicate: true });
    const other = await call("POST", eventsOf("w4"), earned(2), headers);
    expect([other.status, other.body.code]).toEqual([422, "KEY_REUSED"]);
  });

  test("a command answers as an append does, and 409 when it says no", async () => {
    await call("POST", eventsOf("w5"), earned(10));
    const spent = await call("POST", "/v1/entities/w5/commands/spend", { cents: 4 });
    expect([spent.status, spent.body.seq]).toEqual([201, 2]);
    const refused = await call("POST", "/v1/entities/w5/commands/purse.spend", { cents: 7 });
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({
      code: "REJECTED",
      rejection: { code: "TOO_LITTLE", details: { have: 6 } },
      seq: 2,
    });
    const unknown = await call("POST", "/v1/entities/w5/commands/steal", {});
    expect([unknown.status, unknown.body.code]).toEqual([404, "UNKNOWN_COMMAND"]);
  });

  test.each([
    ["text that is no JSON", "{", {}, 400, "INVALID_ARGUMENT"],
    ["a list", [], {}, 400, "INVALID_ARGUMENT"],
    [
      "a number that would be rounded",
      '{"type":"Earned","data":{"cents":9007199254740993}}',
      {},
      400,
      "INVALID_EVENT",
    ],
    ["an event without a type", { data: 1 }, {}, 400, "INVALID_EVENT"],
    ["an event with a field that it does not have", { ...earned(1), seq: 4 }, {}, 400, "INVALID_EVENT"],
    ["a time that is none", { ...earned(1), occurredAt: "soon" }, {}, 400, "INVALID_ARGUMENT"],
    ["a form of a web page", "a=1", { "content-type": "text/plain" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    [
      "JSON in another character set",
      earned(1),
      { "content-type": "application/json; charset=iso-8859-1" },
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    [
      "a character set that is no name, and does not end soon",
      earned(1),
      { "content-type": `application/json; charset=${" ".repeat(10_000)}a"b` },
      415,
      "UNSUPPORTED_MEDIA_TYPE",
    ],
    ["text that is no UTF-8", notUtf8, {}, 400, "INVALID_ARGUMENT"],
    ["a line that is no UTF-8", notUtf8, { "content-type": "application/x-ndjson" }, 400, "INVALID_ARGUMENT"],
    ["a tag that is none", earned(1), { "if-match": "1" }, 400, "INVALID_ARGUMENT"],
    ["both conditions", earned(1), { "if-match": "*", "if-none-match": "*" }, 400, "INVALID_ARGUMENT"],
    ["a page of another site", earned(1), { origin: "https://example.com" }, 403, "FOREIGN_ORIGIN"],
    ["a body that is too large", earned(1).type.repeat(20_000), {}, 413, "BODY_TOO_LARGE"],
  ])("%s is refused and changes nothing", async (_what, body, headers, expected, code) => {
    const answer = await call("POST", eventsOf("w6"), body, headers);
    expect([answer.status, answer.body.code]).toEqual([expected, code]);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(await warp.entity("w6").seq()).toBe(0);
  });

  test("a character set that is UTF-8 may be named, in any spelling, and a byte order mark may stand in front", async () => {
    for (const charset of ["utf-8", "UTF-8", '"utf-8"', "utf8"]) {
      const headers = { "content-type": `application/json;charset=${charset}` };
      const body = `\ufeff${JSON.stringify({ type: "Noted", data: "M\u00fcller \ufffd" })}`;
      expect((await call("POST", eventsOf("w8"), body, headers)).status).toBe(201);
    }
    const { body } = await call("GET", eventsOf("w8"));
    expect(body.events.map(({ data }: { data: string }) => data)).toEqual(
      Array(4).fill("M\u00fcller \ufffd"),
    );
  });

  test("a body without a length is cut off at the limit too", async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 300; i++) controller.enqueue(new Uint8Array(1000).fill(32));
        controller.close();
      },
    });
    const response = await fetch(`${url}${eventsOf("w7")}`, { method: "POST", headers: json, body });
    expect(response.status).toBe(413);
  });
});

describe("bodies that do not come", () => {
  /** Sends the head of a write and the beginning of its body; resolves with what it is answered. */
  const begin = (port: number, declared: number | undefined, sent: number) => {
    const socket = connect(port, "127.0.0.1");
    const answer = Promise.withResolvers<string>();
    const length = declared === undefined ? "Transfer-Encoding: chunked" : `Content-Length: ${declared}`;
    const body = " ".repeat(sent);
    socket.write(`POST ${eventsOf("b1")} HTTP/1.1\r\nHost: localhost\r\n${length}\r\n`);
    socket.write("Content-Type: application/json\r\n\r\n");
    socket.write(declared === undefined ? `${sent.toString(16)}\r\n${body}\r\n` : body);
    socket.on("data", (piece) => answer.resolve(piece.toString()));
    socket.on("error", () => answer.resolve(""));
    const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
    void closed.then(() => answer.resolve(""));
    return { answer: answer.promise, closed, end: () => socket.destroy() };
  };

  test("take bounded memory over all connections, and others are served again when they have gone", async () => {
    const limits = { bodyBytesMax: 100_000, bodiesBytesMax: 250_000 };
    const bounded = listenHttp({ host: "127.0.0.1", port: 0 }, { ...partsOf(), ...limits });
    const slow = [100_000, undefined, 100_000].map((declared) => begin(bounded.port, declared, 70_000));
    const post = async (text: string) => {
      const to = `http://127.0.0.1:${bounded.port}${eventsOf("b2")}`;
      return (await fetch(to, { method: "POST", headers: json, body: text })).status;
    };
    // It is no JSON, so that nothing is written where there is room for it.
    const large = " ".repeat(60_000);
    let answered = 0;
    while (answered !== 503) answered = await post(large);
    // What is small has room beside them.
    expect(await post(JSON.stringify(earned(1)))).toBe(201);
    for (const one of slow) one.end();
    while (answered !== 400) answered = await post(large);
    await bounded.close();
  });

  test.each([
    ["short", 50, 10],
    ["long", 90_000, 70_000],
    ["of any length", undefined, 10],
  ])("are waited for no longer than a time, if they are %s", async (_what, declared, sent) => {
    const hasty = listenHttp({ host: "127.0.0.1", port: 0 }, { ...partsOf(), bodyMs: 50 });
    const { answer, closed } = begin(hasty.port, declared, sent);
    expect(await answer).toContain('"code":"TIMEOUT"');
    await closed;
    await hasty.close();
  });

  test.each([
    ["by little", 100_001],
    ["by much", 200_000_000],
    ["by very much", 2 ** 40],
  ])(
    "that are declared too large %s are refused with a document before they come",
    async (_what, declared) => {
      const { answer, end } = begin(server.port, declared, 10);
      const text = await answer;
      expect(text).toStartWith("HTTP/1.1 413");
      expect(text.toLowerCase()).toContain("content-type: application/problem+json");
      expect(text).toContain('"code":"BODY_TOO_LARGE"');
      end();
    },
  );

  test("that become too large on the way are refused, and their connection is closed", async () => {
    const { answer, closed } = begin(server.port, undefined, 100_001);
    expect(await answer).toContain('"code":"BODY_TOO_LARGE"');
    await closed;
  });
});

describe("reading over HTTP", () => {
  test("the state has the newest seq as its tag, and can be cut at a seq or a time", async () => {
    await call("POST", eventsOf("r1"), { events: [{ ...earned(1), occurredAt: "2001-01-13T00:00:00Z" }] });
    await call("POST", eventsOf("r1"), earned(10));
    const now = await call("GET", "/v1/entities/r1");
    expect(now.body).toEqual({ entity: "r1", aggregate: "purse", seq: 2, state: { cents: 11 } });
    expect(now.headers.get("etag")).toBe('"2"');
    const first = await call("GET", "/v1/entities/r1?at=1&aggregate=purse");
    expect(first.body).toEqual({ entity: "r1", aggregate: "purse", at: { seq: 1 }, state: { cents: 1 } });
    expect((await call("GET", "/v1/entities/r1?at=2001-01-01")).body.state).toEqual({ cents: 0 });
    expect((await call("GET", "/v1/entities/r1?occurred=2001-02-01")).body.state).toEqual({ cents: 1 });
    const head = await fetch(`${url}/v1/entities/r1`, { method: "HEAD" });
    expect([head.status, head.headers.get("etag")]).toEqual([200, '"2"']);
  });

  test("an entity without events, an unknown aggregate and a bad parameter are told apart", async () => {
    const absent = await call("GET", "/v1/entities/nobody");
    expect([absent.status, absent.body.code]).toEqual([404, "NOT_FOUND"]);
    expect((await call("GET", eventsOf("nobody"))).status).toBe(404);
    const unknown = await call("GET", "/v1/entities/r1?aggregate=profile");
    expect([unknown.status, unknown.body.code]).toEqual([404, "UNKNOWN_AGGREGATE"]);
    for (const query of ["at=soon", "at=1&occurred=1", "aggregat=purse", "at=1&at=2"]) {
      expect((await call("GET", `/v1/entities/r1?${query}`)).status).toBe(400);
    }
    for (const query of ["from=-1", "limit=0", "direction=up"]) {
      expect((await call("GET", `${eventsOf("r1")}?${query}`)).status).toBe(400);
    }
    expect((await call("GET", "/v2/entities")).body.code).toBe("NOT_FOUND");
  });

  test("history comes in pages, in either direction", async () => {
    await call("POST", eventsOf("r2"), { events: Array.from({ length: 7 }, (_, i) => earned(i)) });
    const pages: number[][] = [];
    for (let from: number | undefined = 1; from !== undefined; ) {
      const { body } = await call("GET", `${eventsOf("r2")}?limit=3&from=${from}`);
      pages.push(body.events.map(({ seq }: { seq: number }) => seq));
      from = body.next;
    }
    expect(pages).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    const { body } = await call("GET", `${eventsOf("r2")}?limit=2&to=6&direction=backward`);
    expect(body.events.map(({ seq }: { seq: number }) => seq)).toEqual([6, 5]);
    expect(body.next).toBe(4);
  });

  test("history of any length comes as one event a line", async () => {
    const events = Array.from({ length: 1500 }, (_, i) => earned(i));
    for (let i = 0; i < 2; i++) await call("POST", eventsOf("r3"), { events });
    const { text, headers } = await call("GET", eventsOf("r3"), undefined, {
      accept: "application/x-ndjson",
    });
    expect(headers.get("content-type")).toBe("application/x-ndjson");
    const seqs = text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).seq);
    expect(seqs).toEqual(Array.from({ length: 3000 }, (_, i) => i + 1));
  });

  test("the entities come in pages, in the byte order of their ids", async () => {
    const ids = ["list-a", "list-b", "list-c", "list-ä", "list-😀"];
    for (const id of ids.toReversed()) await call("POST", eventsOf(id), earned(1));
    const found: string[] = [];
    for (let after: string | undefined = ""; after !== undefined; ) {
      const query: string = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
      const { body } = await call("GET", `/v1/entities?prefix=list-&limit=2${query}`);
      found.push(...body.entities.map(({ id }: { id: string }) => id));
      after = body.next;
    }
    expect(found).toEqual(ids);
    const lines = await call("GET", "/v1/entities?prefix=list-", undefined, {
      accept: "application/x-ndjson",
    });
    expect(lines.text.trimEnd().split("\n")).toHaveLength(5);
  });
});

describe("erasing and holding", () => {
  test("know no conditions: a request that names one is refused, and nothing is done", async () => {
    await call("POST", eventsOf("c1"), earned(1));
    for (const headers of [{ "if-match": '"1"' }, { "if-none-match": "*" }, { "idempotency-key": "once" }]) {
      for (const [method, path] of [
        ["DELETE", "/v1/entities/c1"],
        ["PUT", "/v1/entities/c1/hold?reason=claim"],
        ["DELETE", "/v1/entities/c1/hold"],
      ] as const) {
        const answer = await call(method, path, undefined, headers);
        expect([answer.status, answer.body.code]).toEqual([400, "INVALID_ARGUMENT"]);
      }
    }
    expect((await call("GET", "/v1/entities/c1/hold")).body).toEqual({ hold: null });
    expect((await call("GET", "/v1/entities/c1")).body.seq).toBe(1);
  });

  test("of an entity that never was is no success", async () => {
    const answer = await call("DELETE", "/v1/entities/c2");
    expect([answer.status, answer.body.code]).toEqual([404, "NOT_FOUND"]);
    expect((await call("DELETE", "/v1/entities/c2?dryRun=true")).status).toBe(200);
  });
});

test("a seq that the entity has not reached is no moment of its history", async () => {
  await call("POST", eventsOf("m1"), earned(1));
  for (const at of [2, Date.now()]) {
    const answer = await call("GET", `/v1/entities/m1?at=${at}`);
    expect([answer.status, answer.body.code]).toEqual([400, "INVALID_ARGUMENT"]);
  }
  expect((await call("GET", "/v1/entities/m1?at=1")).body.state).toEqual({ cents: 1 });
});

describe("ids in paths", () => {
  test.each(["a/b", "a%2Fb", "ü ñ", "?#&=+", "😀", "%", "a b", "..x", '"', "100%"])(
    "%p stays what it is",
    async (id) => {
      expect((await call("POST", eventsOf(id), earned(1))).status).toBe(201);
      expect((await call("GET", eventsOf(id))).body.entity).toBe(id);
      expect(await warp.entity(id).seq()).toBe(1);
    },
  );

  test("that do not decode are refused, so that two ids never become one", async () => {
    for (const path of ["%ff", "%", "a%2", "%ed%a0%80", "%00", "a?aggregate=%ff", "a/events?limit=%"]) {
      const head = `GET /v1/entities/${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
      expect(await rawRequest(head)).toStartWith("HTTP/1.1 400");
    }
  });
});

describe("a server for this machine alone", () => {
  const ask = (method: string, path: string, host: string, port: number, body = "") => {
    const lines = [
      `${method} ${path} HTTP/1.1`,
      `Host: ${host}`,
      `Origin: http://${host}`,
      "Connection: close",
    ];
    const about = ["Content-Type: application/json", `Content-Length: ${body.length}`];
    return rawRequest([...lines, ...(body === "" ? [] : about), "", body].join("\r\n"), port);
  };
  const write = (host: string, port = server.port) =>
    ask("POST", eventsOf("n1"), host, port, JSON.stringify(earned(1)));

  test("answers no page of a site whose name was made to stand for its address", async () => {
    for (const name of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", ""]) {
      const host = `${name}:${server.port}`;
      for (const answer of [await write(host), await ask("GET", "/v1/entities", host, server.port)]) {
        expect(answer).toStartWith("HTTP/1.1 403");
        expect(answer).toContain("FOREIGN_ORIGIN");
      }
    }
    expect(await warp.entity("n1").seq()).toBe(0);
    for (const host of ["localhost:8080", "LOCALHOST", `127.0.0.1:${server.port}`, "[::1]:7401"]) {
      expect(await write(host)).toStartWith("HTTP/1.1 201");
      expect(await ask("GET", "/v1/entities", host, server.port)).toStartWith("HTTP/1.1 200");
    }
  });

  test("answers by the names that it was given, behind a proxy that passes them on", async () => {
    const names = ["bank.example"];
    const proxied = listenHttp({ host: "127.0.0.1", port: 0, names }, partsOf());
    for (const host of ["bank.example", "Bank.example:443", "localhost"])
      expect(await write(host, proxied.port)).toStartWith("HTTP/1.1 201");
    for (const host of ["evil.example", "www.bank.example", "bank.example.evil"])
      expect(await write(host, proxied.port)).toStartWith("HTTP/1.1 403");
    await proxied.close();
  });

  test("is told from one for others, which is called by any name", async () => {
    const open = listenHttp({ host: "0.0.0.0", port: 0 }, partsOf());
    expect(await write("warp.example", open.port)).toStartWith("HTTP/1.1 201");
    expect(await ask("GET", "/v1/entities", "warp.example", open.port)).toStartWith("HTTP/1.1 200");
    await open.close();
  });
});

describe("for operators", () => {
  test("health and readiness follow the status, and work is refused while draining", async () => {
    expect((await call("GET", "/healthz")).status).toBe(200);
    expect((await call("GET", "/readyz")).status).toBe(200);
    status = "draining";
    try {
      expect((await call("GET", "/healthz")).status).toBe(200);
      expect((await call("GET", "/readyz")).body).toEqual({ status: "draining" });
      const refused = await call("POST", eventsOf("o1"), earned(1));
      expect([refused.status, refused.body.code]).toEqual([503, "CLOSED"]);
      expect(refused.headers.get("retry-after")).toBe("1");
      status = "failed";
      expect((await call("GET", "/healthz")).status).toBe(503);
      for (const failed of [await call("POST", eventsOf("o1"), earned(1)), await call("GET", eventsOf("o1"))])
        expect([failed.status, failed.body.code]).toEqual([503, "ENGINE_FAILED"]);
    } finally {
      status = "ready";
    }
  });

  test("metrics are in the form of Prometheus, and routes are patterns", async () => {
    await call("POST", eventsOf("o2"), earned(1));
    await call("GET", "/nothing/here");
    const { text, headers } = await call("GET", "/metrics");
    expect(headers.get("content-type")).toContain("version=0.0.4");
    expect(text).toContain('warp_info{context="default"} 1');
    expect(text).toContain("# TYPE warp_pending_writes gauge");
    expect(text).toMatch(
      /warp_http_request_duration_seconds_count\{method="POST",route="\/v1\/entities\/:id\/events",status="201"\} \d+/,
    );
    expect(text).toMatch(/process_cpu_seconds_total \d/);
    expect(text).not.toContain("o2");
    expect(text).not.toContain("nothing/here");
  });
});

/** The answer to bytes that a proper client would never send. */
function rawRequest(bytes: string, port = server.port): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
  let answer = "";
  socket.on("data", (piece) => {
    answer += piece.toString();
  });
  socket.on("end", () => resolve(answer));
  socket.on("error", reject);
  return promise;
}
