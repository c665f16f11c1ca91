/**
 * One contract for all sinks: embedded SQLite, rqlite with one node and with three, PostgreSQL. Real servers, which are
 * killed and started again in the middle.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printedSeed, seededRandom } from "../crash/seeded.ts";
import { Harness, removeDirectories, until } from "./harness.ts";
import { MemoryFeed } from "./memory-feed.ts";
import { postgresProblem, rqliteProblem, type Server, startPostgres, startRqlite } from "./servers.ts";

afterAll(removeDirectories);

interface Kind {
  readonly name: string;
  readonly problem: string | undefined;
  readonly start: (() => Promise<Server>) | undefined;
  /** The place of a parameter in plain SQL. */
  readonly place: (index: number) => string;
}

const question = () => "?";
const kinds: readonly Kind[] = [
  { name: "embedded SQLite", problem: undefined, start: undefined, place: question },
  { name: "rqlite, one node", problem: rqliteProblem, start: () => startRqlite(1), place: question },
  { name: "rqlite, three nodes", problem: rqliteProblem, start: () => startRqlite(3), place: question },
  { name: "PostgreSQL", problem: postgresProblem, start: startPostgres, place: (index) => `$${index}` },
];

const root = mkdtempSync(join(tmpdir(), "warp-sinks-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let contexts = 0;

function randomBelow(): (max: number) => number {
  const random = seededRandom(printedSeed());
  return (max) => Math.floor(random() * max);
}

for (const { name, problem, start, place } of kinds) {
  if (problem !== undefined) {
    test(`DID NOT RUN (${problem}): the contract of ${name}`, () =>
      console.warn(`\nTHE SINK ${name.toUpperCase()} WAS NOT TESTED: ${problem}\n`));
    continue;
  }

  describe(name, () => {
    let server: Server | undefined;
    beforeAll(async () => {
      server = await start?.();
    });
    afterAll(() => server?.end());

    const sink = start === undefined ? undefined : "elsewhere";
    const sinkLine = sink === undefined ? "" : `sink: "elsewhere",`;
    let files = 0;

    const moves = (version = 1) => `{
      name: "moves", version: ${version}, ${sinkLine}
      tables: {
        move: { columns: { sender: "text", seq: "integer", receiver: "text?", cents: "integer", share: "real", isBig: "boolean", more: "json?" }, key: ["sender", "seq"], subjects: ["sender", "receiver"], indexes: [["receiver"]] },
        balance: { columns: { id: "text", cents: "integer", version: "integer" }, key: ["id"], subjects: ["id"] },
      },
      views: { rich: "SELECT m.sender, m.seq, b.cents FROM move m JOIN balance b ON b.id = m.sender WHERE b.cents > 0" },
      on: {
        Moved: ({ entity, seq, data }, { move, balance }) => {
          if (data.fails) throw new Error("no good");
          move.insert({ sender: entity, seq, receiver: data.to ?? null, cents: data.cents, share: data.cents / 7, isBig: data.cents > 50, more: data.more ?? null });
          const { cents = 0 } = balance.get({ id: entity }) ?? {};
          balance.upsert({ id: entity, cents: cents - data.cents, version: ${version} });
          if (data.to !== undefined) {
            const to = balance.get({ id: data.to });
            if (to === undefined) balance.insert({ id: data.to, cents: data.cents, version: ${version} });
            else balance.update({ id: data.to }, { cents: to.cents + data.cents });
          }
        },
        Left: ({ entity }, { balance }) => balance.delete({ id: entity }),
      } }`;
    const daily = `{
      name: "daily", ${sinkLine}
      tables: { day: { columns: { day: "text", cents: "integer" }, key: ["day"], shared: true, onErase: "rebuild" } },
      on: { Moved: ({ data }, { day }) => day.add({ day: data.day ?? "none" }, { cents: data.cents }) } }`;
    const plain = `{
      name: "plain", ${sinkLine}
      tables: { tally: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
      on: {
        Moved: ({ entity, data }, { tally }, run) => {
          if (data.refused) run("INSERT INTO nowhere VALUES (1)");
          run(\`INSERT INTO \${tally} (id, n) VALUES (${place(1)}, 1) ON CONFLICT (id) DO UPDATE SET n = \${tally}.n + 1\`, [entity]);
        },
        Left: ({ entity }, { tally }) => tally.upsert({ id: entity, n: -1 * tally.get({ id: entity }).n }),
      } }`;

    function application(...projections: string[]): string {
      const path = join(root, `${name.replace(/\W+/g, "-")}-${++files}.ts`);
      const exported = projections.map((one, i) => `export const p${i} = defineProjection(${one});`);
      writeFileSync(path, `import { defineProjection } from "warp";\n${exported.join("\n")}\n`);
      return path;
    }

    const open = (feed: MemoryFeed, app: string, from?: Harness) =>
      Harness.open({
        feed,
        application: app,
        context: from?.context ?? `c${++contexts}`,
        sinks: server === undefined ? {} : { elsewhere: server.url },
        ...(from === undefined ? {} : { dataDir: from.dataDir }),
      });

    const rows = (harness: Harness, sql: string, more: object = {}) =>
      harness.rows(sql, [], { sink, ...more });

    /** What the tables should hold: a plain loop over the same events. */
    class Model {
      readonly balances = new Map<string, number>();
      readonly moves = new Map<string, unknown[]>();
      readonly #seqs = new Map<string, number>();

      move(sender: string, cents: number, to?: string): void {
        const seq = (this.#seqs.get(sender) ?? 0) + 1;
        this.#seqs.set(sender, seq);
        this.moves.set(`${sender} ${seq}`, [sender, seq, to ?? null, cents]);
        this.balances.set(sender, (this.balances.get(sender) ?? 0) - cents);
        if (to !== undefined) this.balances.set(to, (this.balances.get(to) ?? 0) + cents);
      }

      leave(sender: string): void {
        this.#seqs.set(sender, (this.#seqs.get(sender) ?? 0) + 1);
        this.balances.delete(sender);
      }

      erase(id: string): void {
        this.#seqs.delete(id);
        this.balances.delete(id);
        for (const [key, [sender, , to]] of this.moves)
          if (sender === id || to === id) this.moves.delete(key);
      }
    }

    async function expectModel(harness: Harness, model: Model): Promise<void> {
      const sorted = (list: Iterable<unknown[]>) =>
        [...list].sort((a, b) => (String(a) < String(b) ? -1 : 1));
      const found = await rows(harness, "SELECT id, cents FROM balance");
      expect(sorted(found)).toEqual(sorted(model.balances));
      expect(sorted(await rows(harness, "SELECT sender, seq, receiver, cents FROM move"))).toEqual(
        sorted(model.moves.values()),
      );
    }

    test("every type of value comes back as it went in", async () => {
      const feed = new MemoryFeed(1);
      const harness = await open(feed, application(moves()));
      const more = { text: 'ä "quoted" \'; --', list: [1, null, true], deep: { a: {} } };
      feed.append(
        "a",
        { type: "Moved", data: { cents: 9_007_199_254_740_000, more } },
        { type: "Moved", data: { cents: 3 } },
      );
      const [first, second] = await rows(
        harness,
        "SELECT cents, share, receiver, more FROM move ORDER BY seq",
      );
      expect(first?.slice(0, 3)).toEqual([9_007_199_254_740_000, 9_007_199_254_740_000 / 7, null]);
      expect(JSON.parse(String(first?.[3]))).toEqual(more);
      expect(second).toEqual([3, 3 / 7, null, null]);
      // A boolean is what the database has for one.
      expect(await rows(harness, 'SELECT seq FROM move WHERE CAST("isBig" AS integer) = 1')).toEqual([[1]]);
      await harness.close();
    });

    test("many changes of a row in one batch, moves between rows, and deletions", async () => {
      const feed = new MemoryFeed(2);
      const model = new Model();
      const int = randomBelow();
      const people = ["a", "b", "c", "d", "e"];
      for (let i = 0; i < 400; i++) {
        const sender = people[int(people.length)] ?? "a";
        const to = int(3) === 0 ? undefined : people[int(people.length)];
        if (int(20) === 0) {
          feed.append(sender, { type: "Left", data: {} });
          model.leave(sender);
          continue;
        }
        // Within a shard the order is that of positions; across shards the sums do not mind.
        if (to !== undefined && feed.shardOf(to) !== feed.shardOf(sender)) continue;
        feed.append(sender, { type: "Moved", data: { cents: i, to } });
        model.move(sender, i, to);
      }
      const harness = await open(feed, application(moves()));
      await expectModel(harness, model);
      await harness.close();
    });

    test("a new version is built beside the old one, and views over both tables follow", async () => {
      const feed = new MemoryFeed(1);
      for (let i = 0; i < 30; i++) feed.append(`e${i % 3}`, { type: "Moved", data: { cents: -1 } });
      const first = await open(feed, application(moves()));
      expect(await rows(first, "SELECT count(*), sum(cents) FROM rich")).toEqual([[30, 300]]);
      await first.close();
      const second = await open(feed, application(moves(2)), first);
      await until(
        () => second.status("moves").version === 2 && second.status("moves").state === "live",
        "swapped in",
      );
      await until(async () => (await rows(second, "SELECT max(version) FROM balance"))[0]?.[0] === 2, "seen");
      expect(await rows(second, "SELECT count(*), sum(cents) FROM rich")).toEqual([[30, 300]]);
      await second.close();
    });

    test("a handler reads as many rows for one event as it likes", async () => {
      const feed = new MemoryFeed(1);
      const stock = `{
        name: "stock", ${sinkLine}
        tables: { stock: { columns: { sku: "text", n: "integer" }, key: ["sku"], shared: true, onErase: "keep" } },
        on: {
          Ordered: ({ data }, { stock }) => { for (let i = 0; i < data.lines; i++) stock.add({ sku: "s" + i }, { n: 1 }); },
          Counted: ({ data }, { stock }) => {
            let n = 0;
            for (let i = 0; i < data.lines; i++) n += stock.get({ sku: "s" + i }).n;
            stock.upsert({ sku: "all", n });
          },
        } }`;
      const app = application(stock);
      const first = await open(feed, app);
      feed.append("a", { type: "Ordered", data: { lines: 3000 } });
      expect(await rows(first, "SELECT count(*), sum(n) FROM stock")).toEqual([[3000, 3000]]);
      await first.close();
      // None of them is in memory.
      const second = await open(feed, app, first);
      feed.append("a", { type: "Counted", data: { lines: 50 } }, { type: "Ordered", data: { lines: 3000 } });
      expect(await rows(second, "SELECT n FROM stock WHERE sku = 'all'")).toEqual([[50]]);
      expect(await rows(second, "SELECT count(*), sum(n) FROM stock")).toEqual([[3001, 6050]]);
      expect(second.status("stock")).toMatchObject({ state: "live", parked: 0 });
      await second.close();
    });

    test("plain SQL runs behind the rows, and a refused statement parks its entity alone", async () => {
      const feed = new MemoryFeed(1);
      const harness = await open(feed, application(plain));
      for (let i = 0; i < 20; i++)
        feed.append(`e${i % 4}`, { type: "Moved", data: i === 9 ? { refused: true } : {} });
      feed.append("e0", { type: "Left", data: {} });
      feed.append("e0", { type: "Moved", data: {} });
      expect(await rows(harness, "SELECT id, n FROM tally ORDER BY id")).toEqual([
        ["e0", -4],
        ["e1", 2],
        ["e2", 5],
        ["e3", 5],
      ]);
      expect(harness.status("plain").parked).toBe(1);
      await harness.close();
    });

    test("an erasure takes the rows of its subject with it, and shared rows are made again", async () => {
      const feed = new MemoryFeed(1);
      const harness = await open(feed, application(moves(), daily));
      const model = new Model();
      const move = (sender: string, cents: number, to: string) => {
        feed.append(sender, { type: "Moved", data: { cents, to, day: "monday" } });
        model.move(sender, cents, to);
      };
      move("a", 1, "b");
      move("b", 2, "a");
      move("c", 4, "b");
      await expectModel(harness, model);
      const { shard, position } = feed.erase("a");
      model.erase("a");
      move("a", 8, "c");
      await Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
      await expectModel(harness, model);
      expect(await rows(harness, "SELECT day, cents FROM day")).toEqual([["monday", 14]]);
      await harness.close();
    });

    test("queries only read, and what takes too long is ended", async () => {
      const feed = new MemoryFeed(1);
      const harness = await open(feed, application(moves()));
      feed.append("a", { type: "Moved", data: { cents: 1 } });
      await rows(harness, "SELECT 1");
      const writes = [
        "DELETE FROM balance",
        "INSERT INTO balance VALUES ('x', 1, 1)",
        "CREATE TABLE mine (a integer)",
        "DROP VIEW rich",
        "SELECT 1; DELETE FROM balance",
        "WITH gone AS (DELETE FROM balance RETURNING id) SELECT * FROM gone",
        "SELECT nothing FROM nowhere",
        "",
      ];
      for (const sql of writes) {
        const code = await rows(harness, sql).then(
          () => "done",
          (error: { code: string }) => error.code,
        );
        expect(["QUERY_FAILED", "INVALID_ARGUMENT"]).toContain(code);
      }
      expect(await rows(harness, "SELECT count(*) FROM balance")).toEqual([[1]]);
      const endless =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
      const runaway = rows(harness, endless, { timeoutMs: 700 });
      expect(runaway).rejects.toMatchObject({ code: "TIMEOUT" });
      feed.append("a", { type: "Moved", data: { cents: 1 } });
      // Meanwhile others are answered.
      expect(await rows(harness, "SELECT cents FROM balance")).toEqual([[-2]]);
      await runaway.catch(() => {});
      const result = await harness.queries.run("SELECT seq FROM move ORDER BY seq", [], {
        sink,
        rows: 1,
        timeoutMs: 240_000,
      });
      expect(result).toEqual({ columns: ["seq"], rows: [[1]], isTruncated: true });
      // What is too much is not read to its end: it is cut, or refused where it cannot be cut.
      const text =
        sink === undefined
          ? "hex(zeroblob(5000))"
          : name === "PostgreSQL"
            ? "repeat('x', 10000)"
            : "hex(zeroblob(5000))";
      const much = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000) SELECT n, ${text} FROM c`;
      const large = harness.queries.run(much, [], { sink, bytes: 1_000_000, timeoutMs: 240_000 });
      if (name.startsWith("rqlite")) {
        expect(large).rejects.toMatchObject({
          code: "QUERY_FAILED",
          message: expect.stringContaining("longer than"),
        });
        await large.catch(() => {});
      } else {
        const { rows: some, isTruncated } = await large;
        expect(isTruncated).toBe(true);
        expect(some.length).toBeGreaterThan(90);
        expect(some.length).toBeLessThan(120);
      }
      const none = await harness.queries.run("SELECT seq FROM move WHERE seq < 0", [], {
        sink,
        timeoutMs: 240_000,
      });
      expect(none).toEqual({ columns: ["seq"], rows: [], isTruncated: false });
      await harness.close();
    });

    test("it is killed and started again, as the reader of its feed is, and every event counts once", async () => {
      const feed = new MemoryFeed(2);
      const model = new Model();
      const app = application(moves());
      const int = randomBelow();
      let harness = await open(feed, app);
      for (let round = 0; round < 6; round++) {
        for (let i = 0; i < 60; i++) {
          const sender = ["a", "c", "e", "b"][int(4)] ?? "a";
          feed.append(sender, { type: "Moved", data: { cents: i } });
          model.move(sender, i);
        }
        if (int(4) === 0) {
          const id = ["a", "b"][int(2)] ?? "a";
          feed.erase(id);
          model.erase(id);
        }
        if (round % 3 === 2) {
          await harness.close();
          harness = await open(feed, app, harness);
        } else if (server !== undefined) {
          await Bun.sleep(int(30));
          await server.kill();
          await until(
            () => harness.status("moves").state === "sink-away" || harness.status("moves").lagRecords === 0,
            "noticed",
          );
          feed.append("a", { type: "Moved", data: { cents: 1 } });
          model.move("a", 1);
          await until(() => harness.status("moves").state === "sink-away", "it says that the sink is away");
          expect(harness.status("moves").error?.code).toBe("SINK_UNAVAILABLE");
          await server.start();
        }
      }
      await until(() => harness.status("moves").lagRecords === 0, "caught up");
      await expectModel(harness, model);
      await harness.close();
    });

    const counts = `{
      name: "counts", ${sinkLine}
      tables: { tally: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
      on: { Moved: ({ entity, data }, { tally }) => tally.add({ id: data.to ?? entity }, { n: 1 }) } }`;
    const moved = { type: "Moved", data: {} };

    if (start !== undefined) {
      test("what is away at the start is sent nothing that it has, behind an old erasure either", async () => {
        const feed = new MemoryFeed(1);
        const app = application(counts);
        feed.append("a", moved);
        feed.erase("a");
        for (let i = 0; i < 5; i++) feed.append("b", moved);
        const first = await open(feed, app);
        expect(await rows(first, "SELECT id, n FROM tally")).toEqual([["b", 5]]);
        await first.close();
        await server?.kill();
        const harness = await open(feed, app, first);
        await until(() => harness.status("counts").state === "sink-away", "it says that the sink is away");
        feed.append("b", moved);
        await server?.start();
        expect(await rows(harness, "SELECT id, n FROM tally")).toEqual([["b", 6]]);
        await harness.close();
      });

      test("tables that go while it runs are filled again from the first event", async () => {
        const feed = new MemoryFeed(2);
        const harness = await open(feed, application(counts));
        for (let i = 0; i < 5; i++) feed.append("a", moved);
        for (let i = 0; i < 7; i++) feed.append("b", moved);
        const found = () => rows(harness, "SELECT id, n FROM tally ORDER BY id");
        expect(await found()).toEqual([
          ["a", 5],
          ["b", 7],
        ]);
        await server?.forget(harness.context);
        feed.append("b", moved);
        expect(await found()).toEqual([
          ["a", 5],
          ["b", 8],
        ]);
        // Of a build that came by a rebuild, too, and where a row has to be read first.
        await harness.projections.rebuild("counts");
        await until(() => harness.status("counts").building === null, "swapped in");
        await server?.forget(harness.context);
        feed.append("c", moved);
        expect(await found()).toEqual([
          ["a", 5],
          ["b", 8],
          ["c", 1],
        ]);
        // Some of them alone: what is left does not fit any more.
        await server?.forget(harness.context, "tally");
        feed.append("e", moved);
        await until(async () => {
          const all = await found().catch(() => []);
          return JSON.stringify(all) === '[["a",5],["b",8],["c",1],["e",1]]';
        }, "all of it is built again");
        await harness.close();
      });
    }

    test("a text that the database cannot hold parks its entity alone, wherever it is met first", async () => {
      const feed = new MemoryFeed(1);
      const harness = await open(feed, application(moves()));
      const cents = () => rows(harness, "SELECT cents FROM balance WHERE id = 'b'");
      feed.append("b", { type: "Moved", data: { cents: 1 } });
      expect(await cents()).toEqual([[-1]]);
      feed.append("a", { type: "Moved", data: { cents: 1, to: "with \0 in it" } });
      feed.append("b", { type: "Moved", data: { cents: 1 } });
      expect(await cents()).toEqual([[-2]]);
      expect(harness.status("moves").parked).toBe(name === "PostgreSQL" ? 1 : 0);
      await harness.close();
    });

    if (name.includes("three")) {
      test("the end of one node is not noticed", async () => {
        const feed = new MemoryFeed(1);
        const harness = await open(feed, application(moves()));
        const model = new Model();
        for (let node = 0; node < 3; node++) {
          for (let i = 0; i < 50; i++) {
            feed.append("a", { type: "Moved", data: { cents: i } });
            model.move("a", i);
          }
          await server?.kill(node);
          feed.append("b", { type: "Moved", data: { cents: 1 } });
          model.move("b", 1);
          await until(() => harness.status("moves").lagRecords === 0, "caught up without the node");
          await server?.start();
        }
        await expectModel(harness, model);
        await harness.close();
      });
    }
  });
}
