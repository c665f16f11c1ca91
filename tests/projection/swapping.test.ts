/**
 * Which build queries see and what they wait for: rows that nobody feeds any more, rebuilds that meet, and swaps under a waiting query.
 */
import { heapStats } from "bun:jsc";
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Feeder } from "../../src/projection/feeder.ts";
import { Places } from "../../src/projection/places.ts";
import { Harness, removeDirectories, until } from "./harness.ts";
import { HeldFeed } from "./held-feed.ts";
import { MemoryFeed } from "./memory-feed.ts";
import { postgresProblem, startPostgres } from "./servers.ts";

afterAll(removeDirectories);

const root = mkdtempSync(join(tmpdir(), "warp-swapping-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let files = 0;
function application(...projections: string[]): string {
  const path = join(root, `application-${++files}.ts`);
  const lines = projections.map((one, i) => `export const p${i} = defineProjection(${one});\n`);
  writeFileSync(path, `import { defineProjection } from "warp";\n${lines.join("")}`);
  return path;
}

const count = (name: string, more = "") => `{
  name: "${name}", ${more} tables: { ${name}: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
  on: { Up: ({ entity }, { ${name} }) => ${name}.add({ id: entity }, { n: 1 }) },
}`;
const up = { type: "Up", data: {} };

test("a projection that is not declared any more holds up no query, and its rows can be read", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application(count("kept"), count("gone")) });
  feed.append("a", up);
  expect(await first.rows("SELECT n FROM gone")).toEqual([[1]]);
  await first.close();
  const { dataDir } = first;
  const second = await Harness.open({ feed, dataDir, application: application(count("kept")) });
  feed.append("a", up);
  const read = async () => ({
    unasked: await second.rows("SELECT n FROM kept", [], { after: [], timeoutMs: 240_000 }),
    kept: await second.rows("SELECT n FROM kept", [], { timeoutMs: 240_000 }),
    gone: await second.rows("SELECT n FROM gone", [], { timeoutMs: 240_000 }),
  });
  expect(await read()).toMatchObject({ kept: [[2]], gone: [[1]] });
  // Somebody who only cleans its rows brings them no further either.
  const { shard, position } = feed.erase("b");
  await Promise.all(second.followers.all.map((follower) => follower.passed(shard, position)));
  feed.append("a", up);
  expect(await read()).toMatchObject({ kept: [[3]], gone: [[1]] });
  await second.close();
});

test("queries that time out leave nothing behind", async () => {
  const feed = new MemoryFeed(1);
  const harness = await Harness.open({ feed, application: application(count("paused")) });
  feed.append("a", up);
  await harness.rows("SELECT 1");
  harness.projections.pause("paused");
  feed.append("a", up);
  const ask = async (times: number) => {
    for (let i = 0; i < times; i++) {
      await harness.projections.placeFor(undefined, [2], 1).then(
        () => expect.unreachable(),
        ({ code }) => expect(code).toBe("TIMEOUT"),
      );
    }
    Bun.gc(true);
    return heapStats().objectTypeCounts.Promise ?? 0;
  };
  const before = await ask(20);
  expect((await ask(400)) - before).toBeLessThan(200);
  await harness.close();
});

/** The builds that are on disk, by their numbers. */
function buildsOf({ dataDir }: Harness): string[] {
  return readdirSync(join(dataDir, "projections"))
    .filter((file) => file.endsWith(".db"))
    .sort();
}

/** Counts Workers that run while `during` does. */
async function countingWorkers(during: (running: () => number) => Promise<void>): Promise<void> {
  const { Worker } = globalThis;
  let running = 0;
  globalThis.Worker = class extends Worker {
    constructor(...parts: ConstructorParameters<typeof Worker>) {
      super(...parts);
      running++;
      this.addEventListener("close", () => running--);
    }
  };
  try {
    await during(() => running);
  } finally {
    globalThis.Worker = Worker;
  }
}

test("rebuilds that are asked for at once are one, and leave no build behind", async () => {
  await countingWorkers(async (running) => {
    const feed = new MemoryFeed(1);
    const harness = await Harness.open({ feed, application: application(count("twice")) });
    feed.append("a", up);
    await harness.rows("SELECT 1");
    harness.projections.pause("twice");
    await harness.projections.rebuild("twice");
    expect(buildsOf(harness)).toContain("twice.1.db");
    await Promise.all(["twice", "twice", "twice"].map((name) => harness.projections.rebuild(name)));
    await until(() => running() === 2, "one Worker for the rows that are seen, one for the rebuild");
    harness.projections.resume("twice");
    await until(() => harness.status("twice").building === null, "the rebuilt rows are swapped in");
    await until(() => running() === 1 && buildsOf(harness).length === 1, "nothing is left of the others");
    expect(await harness.rows("SELECT n FROM twice")).toEqual([[1]]);
    await harness.close();
    await until(() => running() === 0, "no Worker outlives its context");
  });
});

test("a rebuild that is asked for at the end of the context starts nothing, and goes on after a restart", async () => {
  await countingWorkers(async (running) => {
    const feed = new MemoryFeed(1);
    const path = application(count("ended"));
    const first = await Harness.open({ feed, application: path });
    feed.append("a", up);
    await first.rows("SELECT 1");
    first.projections.pause("ended");
    await first.projections.rebuild("ended");
    const asked = first.projections.rebuild("ended");
    await Promise.all([first.close(), asked]);
    await until(() => running() === 0, "no Worker outlives its context");
    expect(first.projections.rebuild("ended")).rejects.toMatchObject({ code: "CLOSED" });
    const second = await Harness.open({ feed, application: path, dataDir: first.dataDir });
    expect(second.status("ended").building).toEqual({ version: 1, progress: 0 });
    await second.close();
  });
});

test("an erasure that taints the rows that are seen and those of a rebuild leaves one build, without her", async () => {
  await countingWorkers(async (running) => {
    const feed = new MemoryFeed(1);
    const shared = count("sums").replace('subjects: ["id"]', 'shared: true, onErase: "rebuild"');
    const harness = await Harness.open({ feed, application: application(shared) });
    for (const id of ["alice", "bob", "bob"]) feed.append(id, up);
    await harness.rows("SELECT 1");
    // The rebuild gets as far as her first event.
    const read = feed.read.bind(feed);
    let isHeld = true;
    feed.read = async (shard, after) => {
      if (!isHeld || after >= 3) return await read(shard, after);
      return { ...(await read(shard, after)), ...(after === 0 ? {} : { upTo: after }) };
    };
    feed.pageRecords = 1;
    await harness.projections.rebuild("sums");
    await until(() => (harness.status("sums").building?.progress ?? 0) > 0, "it has seen her");
    harness.projections.pause("sums");
    const { shard, position } = feed.erase("alice");
    const receipt = Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
    await until(() => harness.status("sums").building?.progress === 0, "it begins anew");
    isHeld = false;
    harness.projections.resume("sums");
    await receipt;
    await until(() => harness.status("sums").building === null, "the rebuilt rows are swapped in");
    expect(await harness.rows("SELECT id, n FROM sums")).toEqual([["bob", 2]]);
    await until(() => running() === 1 && buildsOf(harness).length === 1, "nothing is left of the others");
    await harness.close();
  });
});

test("a rebuild that meets a swap is swapped in itself", async () => {
  const feed = new MemoryFeed(1);
  const mended = join(root, "mended");
  const stuck = `{
    name: "stuck", onFailure: "retry",
    tables: { stuck: { columns: { id: "text", n: "integer" }, key: ["id"], subjects: ["id"] } },
    on: {
      Up: ({ entity }, { stuck }) => stuck.add({ id: entity }, { n: 1 }),
      Bad: () => { if (!require("node:fs").existsSync(${JSON.stringify(mended)})) throw new Error("later"); },
    },
  }`;
  const harness = await Harness.open({ feed, application: application(stuck) });
  for (let i = 0; i < 5; i++) feed.append("a", up);
  await harness.rows("SELECT 1");
  harness.projections.pause("stuck");
  await harness.projections.rebuild("stuck");
  await until(() => buildsOf(harness).length === 2, "the build is opened");
  await Bun.sleep(100);
  // It is where it had to be, and stands still before it can say that it is seen.
  feed.append("a", { type: "Bad", data: {} });
  harness.projections.resume("stuck");
  await until(() => (harness.status("stuck").building?.progress ?? 0) > 0.8, "it is nearly there");
  await harness.projections.rebuild("stuck");
  writeFileSync(mended, "");
  await until(() => harness.status("stuck").building === null, "the rebuilt rows are swapped in");
  expect(await harness.rows("SELECT n FROM stuck")).toEqual([[5]]);
  await harness.close();
});

test("a query that waits for one projection does not get older rows of another that is swapped meanwhile", async () => {
  const feed = new HeldFeed(1);
  feed.pageRecords = 5;
  const other = count("other");
  const first = await Harness.open({ feed, application: application(count("swapped"), other) });
  for (let i = 0; i < 5; i++) feed.append("a", up);
  await first.rows("SELECT 1");
  first.projections.pause("swapped");
  first.projections.pause("other");
  await first.close();
  const { dataDir } = first;
  const both = application(count("swapped"), count("swapped", "version: 2,"), other);
  const second = await Harness.open({ feed, dataDir, application: both });
  await until(() => buildsOf(second).includes("swapped.3.db"), "the new build is opened");
  // Whoever is not opened by now would read later, and another one take what is let pass for it.
  for (const name of ["swapped", "other"])
    await until(() => second.status(name).lagRecords === 0, `the rows of ${name} are opened`);
  await Bun.sleep(100);
  // The old build reads on; the new one gets as far as it had to when it was opened, and not further.
  feed.hold(0, 0);
  feed.hold(5, 1);
  feed.append("a", up);
  second.projections.resume("swapped");
  const rows = second.rows("SELECT swapped.n, other.n FROM swapped.swapped, other.other");
  await until(() => second.status("swapped").lagRecords === 0, "the old build is where the query wants it");
  feed.letGo(0);
  await Bun.sleep(300);
  feed.hold(5, 1);
  second.projections.resume("other");
  expect(await rows).toEqual([[6, 6]]);
  await second.close();
});

test("an erasure leaves nothing of her in a rebuild of a projection that is not declared any more", async () => {
  const feed = new MemoryFeed(1);
  const first = await Harness.open({ feed, application: application(count("kept"), count("left")) });
  for (const id of ["alice", "bob"]) feed.append(id, up);
  await first.rows("SELECT 1");
  // It has taken her in, and cannot catch up.
  const read = feed.read.bind(feed);
  feed.read = async (shard, after) => ({
    ...(await read(shard, after)),
    ...(after === 1 ? { upTo: 1 } : {}),
  });
  feed.pageRecords = 1;
  await first.projections.rebuild("left");
  await until(() => (first.status("left").building?.progress ?? 0) > 0, "it has seen her");
  await first.close();
  const { dataDir } = first;
  const second = await Harness.open({ feed, dataDir, application: application(count("kept")) });
  expect(buildsOf(second)).toHaveLength(3);
  const { shard, position } = feed.erase("alice");
  await Promise.all(second.followers.all.map((follower) => follower.passed(shard, position)));
  const folder = join(dataDir, "projections");
  const holding = readdirSync(folder).filter((file) => readFileSync(join(folder, file)).includes("alice"));
  expect(holding).toEqual([]);
  expect(await second.rows('SELECT id FROM "left"', [], { after: [] })).toEqual([["bob"]]);
  await second.close();
});

/** Keeps the list of builds from being written, until it is called. */
function withUnwritableList({ dataDir }: Harness): () => void {
  const inTheWay = join(dataDir, "projections", "control.json.new");
  mkdirSync(join(inTheWay, "something"), { recursive: true });
  return () => rmSync(inTheWay, { recursive: true });
}

test("a swap that cannot be written to disk is made when it can, and the old rows are seen until then", async () => {
  const feed = new HeldFeed(1);
  const harness = await Harness.open({ feed, application: application(count("full")) });
  for (let i = 0; i < 5; i++) feed.append("a", up);
  await harness.rows("SELECT 1");
  feed.hold(0, 0);
  await harness.projections.rebuild("full");
  await until(() => buildsOf(harness).length === 2, "the build is opened");
  const mend = withUnwritableList(harness);
  for (const refused of ["pause", "resume"] as const)
    expect(() => harness.projections[refused]("full")).toThrow(expect.objectContaining({ code: "IO_ERROR" }));
  expect(harness.projections.rebuild("full")).rejects.toMatchObject({ code: "IO_ERROR" });
  feed.letGo(0);
  await until(() => harness.status("full").building?.progress === 1, "it has caught up");
  await Bun.sleep(700);
  expect(harness.status("full")).toMatchObject({ state: "live", building: { version: 1, progress: 1 } });
  expect(await harness.rows("SELECT n FROM full")).toEqual([[5]]);
  expect(buildsOf(harness)).toContain("full.1.db");
  mend();
  await until(() => harness.status("full").building === null, "swapped in");
  await until(() => buildsOf(harness).length === 1, "the old rows are dropped");
  expect(await harness.rows("SELECT n FROM full")).toEqual([[5]]);
  await harness.close();
});

test("rows that an erasure taints are made again when the list of builds can be written", async () => {
  const feed = new MemoryFeed(1);
  const shared = count("sums").replace('subjects: ["id"]', 'shared: true, onErase: "rebuild"');
  const harness = await Harness.open({ feed, application: application(shared) });
  for (const id of ["alice", "bob"]) feed.append(id, up);
  await harness.rows("SELECT 1");
  const mend = withUnwritableList(harness);
  const { shard, position } = feed.erase("alice");
  let isPast = false;
  const receipt = Promise.all(harness.followers.all.map((follower) => follower.passed(shard, position)));
  void receipt.then(() => {
    isPast = true;
  });
  await until(() => harness.status("sums").lagRecords === 0, "it has taken the erasure");
  await Bun.sleep(700);
  expect(isPast).toBe(false);
  mend();
  await receipt;
  expect(await harness.rows("SELECT id FROM sums")).toEqual([["bob"]]);
  const folder = join(harness.dataDir, "projections");
  const holding = readdirSync(folder).filter((file) => readFileSync(join(folder, file)).includes("alice"));
  expect(holding).toEqual([]);
  await harness.close();
});

if (postgresProblem === undefined) {
  test("an erasure waits for an old build of a database that could not be reached", async () => {
    const server = await startPostgres();
    const { drop } = Places.prototype;
    let isAway = true;
    Places.prototype.drop = async function (...parts) {
      return !isAway && (await drop.apply(this, parts));
    };
    try {
      const feed = new MemoryFeed(1);
      const path = application(count("away", 'sink: "elsewhere",'));
      const harness = await Harness.open({ feed, application: path, sinks: { elsewhere: server.url } });
      for (const id of ["alice", "bob"]) feed.append(id, up);
      await harness.projections.rebuild("away");
      await until(() => harness.status("away").building === null, "the rebuilt rows are swapped in");
      const { shard, position } = feed.erase("alice");
      let isPast = false;
      const receipt = Promise.all(harness.followers.all.map((one) => one.passed(shard, position)));
      void receipt.then(() => {
        isPast = true;
      });
      await until(() => harness.status("away").lagRecords === 0, "it has taken the erasure");
      await Bun.sleep(700);
      expect(isPast).toBe(false);
      isAway = false;
      await receipt;
      const tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'away\\_\\_%'";
      expect(await harness.rows(tables, [], { sink: "elsewhere" })).toEqual([[1]]);
      await harness.close();
    } finally {
      Places.prototype.drop = drop;
      await server.end();
    }
  });

  test("a database that shows the new rows before it has said so gives no older ones to who waits", async () => {
    const server = await startPostgres();
    const feed = new HeldFeed(1);
    feed.pageRecords = 5;
    const sinks = { elsewhere: server.url };
    const path = application(count("early", 'sink: "elsewhere",'));
    const harness = await Harness.open({ feed, application: path, sinks });
    for (let i = 0; i < 5; i++) feed.append("a", up);
    const read = () => harness.rows("SELECT n FROM early", [], { sink: "elsewhere" });
    expect(await read()).toEqual([[5]]);
    const { publish } = Feeder.prototype;
    const { promise: said, resolve: say } = Promise.withResolvers<void>();
    let isShown = false;
    Feeder.prototype.publish = async function () {
      await publish.call(this);
      isShown = true;
      await said;
    };
    try {
      await harness.projections.rebuild("early");
      await until(() => isShown, "the database shows the new rows");
      feed.hold(5, 1);
      feed.append("a", up);
      await until(
        () => harness.status("early").lagRecords === 0,
        "the old build is where the query wants it",
      );
      const rows = read();
      await Bun.sleep(300);
      feed.letGo(5);
      expect(await rows).toEqual([[6]]);
      say();
      await until(() => harness.status("early").building === null, "swapped in");
      expect(await read()).toEqual([[6]]);
    } finally {
      Feeder.prototype.publish = publish;
    }
    await harness.close();
    await server.end();
  });

  test("a rebuild that meets a database which shows the new rows already gives it the old ones again", async () => {
    const server = await startPostgres();
    const feed = new HeldFeed(1);
    const sinks = { elsewhere: server.url };
    const path = application(count("back", 'sink: "elsewhere",'));
    const harness = await Harness.open({ feed, application: path, sinks });
    for (let i = 0; i < 5; i++) feed.append("a", up);
    const read = (sql: string) => harness.rows(sql, [], { sink: "elsewhere", after: [] });
    await until(() => harness.status("back").lagRecords === 0, "built");
    const { publish } = Feeder.prototype;
    const { promise: said, resolve: say } = Promise.withResolvers<void>();
    let isShown = false;
    Feeder.prototype.publish = async function () {
      await publish.call(this);
      if (isShown) return;
      isShown = true;
      await said;
    };
    try {
      await harness.projections.rebuild("back");
      await until(() => isShown, "the database shows the new rows");
      feed.hold(0, 0);
      await harness.projections.rebuild("back");
      const tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'back\\_\\_%'";
      await until(async () => (await read(tables))[0]?.[0] === 2, "the first rebuild is dropped");
      expect(await read("SELECT n FROM back")).toEqual([[5]]);
      feed.letGo(0);
      say();
      await until(() => harness.status("back").building === null, "swapped in");
      await until(async () => (await read(tables))[0]?.[0] === 1, "nothing is left of the others");
      expect(await read("SELECT n FROM back")).toEqual([[5]]);
    } finally {
      Feeder.prototype.publish = publish;
    }
    await harness.close();
    await server.end();
  });
}
