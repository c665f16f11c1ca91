import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PeriodKeys } from "../core/period-keys.ts";
import { checkShards, type Finding } from "./check.ts";
import { slotOffset } from "./files/vault.ts";
import type { ReadRequest, ShardWorkerOptions } from "./messages.ts";
import { shardOf } from "./placement.ts";
import { Reader } from "./read.ts";
import {
  SampleTail,
  sampleData,
  sampleDirectory,
  sampleOptions,
  sampleSeed,
  seededRandom,
} from "./sample.ts";
import { Writer } from "./writer.ts";

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Two shards with some of everything, closed. */
function closedShards(seed: number, entityCount = 60) {
  const directory = sampleDirectory();
  directories.push(directory);
  const options = sampleOptions(directory, { shards: [0, 1] });
  const random = seededRandom(seed);
  const tail = new SampleTail(8 * 2 ** 20);
  const writer = new Writer(options, tail.memory);
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < entityCount; i++) {
      if (random() < 0.3) continue;
      const id = `entity-${i}-ü`;
      const entity = tail.byId.get(id) ?? tail.entity(shardOf(id, 2), id);
      const kind = random();
      const count = kind < 0.1 ? 0 : kind < 0.15 ? 60 : 1 + Math.floor(random() * 3);
      tail.append(
        [entity],
        Array.from({ length: count }, () => sampleData(random)),
        kind > 0.8,
      );
    }
    const snapshots = tail.entities
      .filter(({ seq }) => seq > 2)
      .map(({ shard, number, seq }) => ({
        shard,
        number,
        aggregate: "account",
        version: 1,
        seq,
        state: Buffer.from(`${seq}`),
      }));
    const deliveries = options.shards.map((shard) => ({
      shard,
      usedAt: 1_700_000_000_000 + round,
      numbers: Float64Array.of(1_700_000_000_000, round, 5, 0, round, 1, 1, 1),
    }));
    writer.settle({ ...tail.settleMessage(snapshots), deliveries });
  }
  writer.close();
  return { directory, options, tail };
}

function findingsOf(options: ShardWorkerOptions, shards = options.shards): Finding[] {
  const { dataDir, context, periods } = options;
  return [...checkShards({ dataDir, context, periods, shards, shardCount: 2 })];
}

/** Everything that can be read of the shards, as one text; a failure to read is part of it. */
function contentOf(options: ShardWorkerOptions, tail: SampleTail): string {
  const parts: unknown[] = [];
  const reader = new Reader(options);
  const ask = (request: ReadRequest) => {
    const answer = reader.answer(request);
    parts.push(answer.ok ? answer.result : answer.error);
  };
  const aggregates = [{ name: "account", version: 1 }];
  for (const shard of options.shards) {
    ask({ id: 1, op: "names", shard, prefix: "", after: undefined, limit: 1000 });
  }
  for (const { shard, number, id, callerKeys } of tail.entities) {
    ask({ id: 1, op: "load", shard, entity: id, aggregates });
    ask({ id: 1, op: "entries", shard, number, from: 1, to: 1e6, direction: "forward", bytesMax: 1e7 });
    for (const { key } of callerKeys) ask({ id: 1, op: "key", shard, number, key });
  }
  reader.close();
  try {
    const writer = new Writer({ ...options, create: false }, new SharedArrayBuffer(16));
    parts.push(writer.describe().map(({ ids, keys, ...rest }) => rest));
    writer.abandon();
  } catch (error) {
    parts.push(String(error));
  }
  return Bun.inspect(parts, { depth: 12 });
}

describe("check", () => {
  test("finds nothing in shards that are whole, and leaves no trace", () => {
    const { options, directory } = closedShards(1);
    const folder = join(directory, "shards", "000");
    const before = readdirSync(folder).sort();
    expect(findingsOf(options)).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  test("finds nothing in shards whose WAL was left by a crash", () => {
    const { options, tail } = closedShards(2);
    const writer = new Writer(options, tail.memory);
    tail.append([tail.entity(0, `late-${[0, 1, 2, 3].find((i) => shardOf(`late-${i}`, 2) === 0)}`)], ["1"]);
    writer.settle(tail.settleMessage());
    const copy = `${options.dataDir}-copy`;
    directories.push(copy);
    cpSync(options.dataDir, copy, { recursive: true });
    expect(findingsOf({ ...options, dataDir: copy })).toEqual([]);
    writer.close();
  });

  test("finds every flipped byte of vault, names.db and runs.db, or it changes nothing", () => {
    const seed = sampleSeed();
    const random = seededRandom(seed);
    const { options, tail, directory } = closedShards(seed);
    const copy = `${directory}-flipped`;
    directories.push(copy);
    const flipped: ShardWorkerOptions = { ...options, dataDir: copy };
    const restore = () => {
      rmSync(copy, { recursive: true, force: true });
      cpSync(join(directory, "shards"), join(copy, "shards"), { recursive: true });
    };
    restore();
    const whole = contentOf(flipped, tail);
    restore();
    let found = 0;
    for (const name of ["vault", "names.db", "runs.db"]) {
      const path = join(copy, "shards", "000", name);
      const original = readFileSync(path);
      for (let i = 0; i < 60; i++) {
        // Half of them where the file's header, schema and first slots are.
        const span = i % 2 === 0 ? original.length : Math.min(original.length, 4096 + 64 * 40);
        const offset = Math.floor(random() * span);
        const bytes = Buffer.from(original);
        bytes[offset] = (bytes[offset] ?? 0) ^ (1 << Math.floor(random() * 8));
        writeFileSync(path, bytes);
        const findings = findingsOf(flipped, [0]);
        if (findings.length > 0) {
          found++;
          expect(findings[0]?.file).toStartWith("shards/000/");
        } else {
          const isSame = contentOf(flipped, tail) === whole;
          expect(`byte ${offset} of ${name} is found or changes nothing: ${isSame}`).toEndWith("true");
          restore();
        }
        writeFileSync(path, original);
      }
    }
    expect(found).toBeGreaterThan(20);
  });

  test("names what is wrong and where", () => {
    const spoil = (file: "names.db" | "runs.db", ...statements: string[]): string => {
      const { options, directory } = closedShards(3);
      const database = new Database(join(directory, "shards", "000", file));
      for (const statement of statements) database.run(statement);
      database.close();
      return findingsOf(options, [0])
        .map(({ what }) => what)
        .join("\n");
    };
    const cases: [RegExp, "names.db" | "runs.db", ...string[]][] = [
      [
        /seq 2 comes where 1 is due|comes where/,
        "runs.db",
        "DELETE FROM runs WHERE id = (SELECT id FROM runs WHERE seq = 1 LIMIT 1)",
      ],
      [/has runs and no key/, "runs.db", "UPDATE runs SET number = number + 10000 WHERE id = 1"],
      [/run 3: its tag does not match/, "runs.db", "UPDATE runs SET count = count + 1 WHERE id = 3"],
      [
        /run 3: its tag does not match/,
        "runs.db",
        "UPDATE runs SET data = (SELECT data FROM runs WHERE id = 4) WHERE id = 3",
      ],
      [
        /its batch .* comes after|tag does not match/,
        "runs.db",
        "UPDATE runs SET batch = batch + 1 WHERE id = 2",
      ],
      [/the tag of a snapshot/, "runs.db", "UPDATE snapshots SET version = 2 WHERE number = 3"],
      [/has no such event/, "runs.db", "UPDATE snapshots SET seq = seq + 1000 WHERE number = 3"],
      [/caller key \d+: its tag/, "runs.db", "UPDATE callerKeys SET firstSeq = firstSeq + 1"],
      [/stands under another hash/, "runs.db", "UPDATE callerKeys SET hash = randomblob(16)"],
      [/the hold of number 3: its tag/, "runs.db", "INSERT INTO holds VALUES (3, zeroblob(60))"],
      [/the hold of number 900: its entity has no key/, "runs.db", "INSERT INTO holds VALUES (900, x'00')"],
      [/delivery window/, "runs.db", "UPDATE deliveries SET usedAt = usedAt + 1"],
      [/checksum of the meta row/, "runs.db", "UPDATE meta SET position = position + 1"],
      [/checksum of the meta row/, "names.db", "UPDATE meta SET nextNumber = nextNumber + 1"],
      [/has runs and no name/, "names.db", "DELETE FROM names WHERE number = 2"],
      [/given out only up to/, "names.db", "INSERT INTO names VALUES (900, x'78')"],
      [
        /belongs to shard 1/,
        "names.db",
        `UPDATE names SET id = x'${Buffer.from([0, 1, 2, 3].map((i) => `o${i}`).find((id) => shardOf(id, 2) === 1) ?? "").toString("hex")}' WHERE number = 2`,
      ],
      [/not UTF-8/, "names.db", "UPDATE names SET id = x'ff' WHERE number = 2"],
      [/are not those of this format/, "names.db", "CREATE TABLE extra (x)"],
      [/are not those of this format/, "runs.db", "DROP INDEX runsByEntity"],
    ];
    for (const [expected, file, ...statements] of cases) expect(spoil(file, ...statements)).toMatch(expected);
  });

  test("names the slot and the file that are damaged, erased or missing", () => {
    const { options, directory } = closedShards(4);
    const path = join(directory, "shards", "000", "vault");
    const whole = readFileSync(path);
    const bytes = Buffer.from(whole);
    bytes[slotOffset(5) + 30] = (bytes[slotOffset(5) + 30] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(findingsOf(options, [0])[0]).toMatchObject({
      severity: "damage",
      file: "shards/000/vault",
      details: { number: 5, offset: slotOffset(5) },
    });
    bytes.fill(0, slotOffset(5), slotOffset(6));
    writeFileSync(path, bytes);
    expect(findingsOf(options, [0])[0]).toMatchObject({
      file: "shards/000/names.db",
      details: { number: 5 },
    });
    const unused = Buffer.from(whole);
    unused[slotOffset(900)] = 1;
    writeFileSync(path, unused);
    expect(findingsOf(options, [0])).toMatchObject([{ severity: "notice", details: { number: 900 } }]);
    unlinkSync(path);
    expect(findingsOf(options, [0])).toEqual([
      { severity: "damage", file: "shards/000/vault", what: "it is missing", details: {} },
    ]);
  });

  test("of another period key finds every slot damaged, and lists only the first ones", () => {
    const { options } = closedShards(5);
    const periods = PeriodKeys.of([{ period: 1, key: new Uint8Array(32) }]).memory;
    const findings = findingsOf({ ...options, periods }, [0]);
    const inVault = findings.filter(({ file }) => file === "shards/000/vault");
    expect(inVault.length).toBe(21);
    expect(inVault.at(-1)?.what).toContain("not listed");
  });

  test("notices a filter file that will be rebuilt", () => {
    const { options, directory } = closedShards(6);
    writeFileSync(join(directory, "shards", "000", "ids.filter"), "WARPFLTR");
    expect(findingsOf(options, [0])).toMatchObject([{ severity: "notice", file: "shards/000/ids.filter" }]);
  });
});
