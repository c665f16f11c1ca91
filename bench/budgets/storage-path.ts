/** What happens before and behind an acknowledgement and after a crash: the journal's turns, settling, and replaying the journal. */
import { closeSync, cpSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import { Processor } from "../../src/cli/verbs/bench/processors/processor.ts";
import { readPartHeads, readRecordHead } from "../../src/core/append-record.ts";
import { bytesOf, writeEntry } from "../../src/core/entry.ts";
import { openKeyring } from "../../src/core/keyring.ts";
import { limits } from "../../src/core/limits.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { start } from "../../src/index.ts";
import { BlockWriter } from "../../src/journal/block-writer.ts";
import { blockKind, segmentHeaderBytes } from "../../src/journal/format.ts";
import { Position } from "../../src/journal/position.ts";
import { replayJournal } from "../../src/journal/replay.ts";
import { Tail } from "../../src/journal/tail.ts";
import { Runs } from "../../src/shard/files/runs.ts";
import { formBytes, sealPacked, shardAssociated } from "../../src/shard/files/sealed.ts";
import { Gather } from "../../src/shard/gather.ts";
import {
  SampleTail,
  sampleData,
  sampleDirectory,
  sampleOptions,
  seededRandom,
} from "../../src/shard/sample.ts";
import { Writer } from "../../src/shard/writer.ts";
import { type Run, sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { turn } from "./append-path.ts";
import { ids, payments } from "./sample.ts";
import { wholeRun } from "./whole-run.ts";

const shards = Array.from({ length: 16 }, (_, i) => i);
/** Events of a run: what 10,000 busy entities gather between two rounds. */
export const perRun = 10;
const roundEntities = 2000;
const random = seededRandom(1);
const data = Array.from({ length: 4096 }, () => sampleData(random));

/** A round: a run of `perRun` events, each a record of its own, for every entity. */
function appendRound(tail: SampleTail): void {
  for (let i = 0; i < perRun; i++)
    for (const entity of tail.entities) tail.append([entity], [data[(entity.number * 7 + i) & 4095] ?? ""]);
}

function sampleTail(): SampleTail {
  const tail = new SampleTail(32 * 1024 * 1024);
  for (let i = 0; i < roundEntities; i++) tail.entity(i % shards.length, `entity-${i}`);
  return tail;
}

/** Of one event alone, with the head of its record. */
const recordBytes = 160;

/** A turn as the journal writes it, with an operating system that takes it into memory: the disk is another matter. */
export async function openJournal(): Promise<Steps> {
  const folder = mkdtempSync(join(tmpdir(), "warp-budgets-"));
  const file = openSync(join(folder, "0001"), "w+");
  const position = new Position();
  const { segmentBytes } = limits;
  const begin = () =>
    position.openSegment({ id: 1, file, use: 1, key: new Uint8Array(32).fill(7) }, segmentHeaderBytes);
  begin();
  const writer = new BlockWriter(position, { durability: "os", segmentBytes });
  const body = [Buffer.alloc(turn * recordBytes, data.join(""))];
  return {
    steps: {
      "seal and write the block": {
        per: turn,
        run: (times) => {
          for (let i = 0; i < times; i++) {
            if (!writer.hasRoom(turn * recordBytes)) begin();
            writer.write(blockKind.records, body);
          }
        },
      },
    },
    whole: () => wholeRun(["journal"], "--in-process"),
    async close() {
      closeSync(file);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const types = [{ name: "Paid", utf8: Buffer.from("Paid"), version: 1 }];

/** One run as it is sealed: the form byte, and an entry for each of its events. */
export function plainRun(): Buffer {
  const out = bytesOf(new ArrayBuffer(16 * 1024));
  let end = formBytes;
  for (let i = 0; i < perRun; i++) {
    const draft = { count: 1, types, typeIndexes: undefined, occurred: undefined, isMsgpack: false };
    end = writeEntry(out, end, { ...draft, data: `[${data[i]}]` }, 1e12 + i, i + 1);
  }
  return Buffer.from(out.buffer.subarray(0, end));
}

export async function openSettle(): Promise<Steps> {
  const tail = sampleTail();
  appendRound(tail);
  const bytes = new Uint8Array(tail.memory);
  const ranges = Float64Array.of(0, tail.bytes);
  const gather = new Gather(shards);
  const events = roundEntities * perRun;
  const positions = { settled: 0, named: Number.MAX_SAFE_INTEGER, nextNumber: 2 ** 32 };
  const scratch = plainRun();
  const associated = shardAssociated("sample", 3).run;
  const key = new Uint8Array(32).fill(7);
  const folder = sampleDirectory();
  const cacheBytes = limits.shardCacheBytes / shards.length;
  const runs = Runs.open({ directory: folder, shard: 0, access: "write", cacheBytes });
  const sealed = sealPacked(key, scratch, scratch.length, associated.of(7, 1, perRun, 9));
  const rows = roundEntities / shards.length;
  let position = 0;
  /** What a round has for a shard; the seldom checkpoint is in the whole. */
  const insertRows = (): void => {
    const seq = position++ * perRun + 1;
    runs.settle({ position, nextNumber: rows + 1, lastRecordedAt: 1e12 }, ({ insertRun }) => {
      for (let number = 1; number <= rows; number++) insertRun.run(number, seq, perRun, position, sealed);
    });
    if (runs.walBytes > limits.walBytesMax) runs.checkpoint("PASSIVE");
  };
  return {
    steps: {
      "gather the records": {
        per: events,
        run: (times) => {
          for (let i = 0; i < times; i++) sink.value = gather.take(bytes, ranges, () => positions);
        },
      },
      "seal the run": {
        per: perRun,
        run: (times) => {
          for (let i = 0; i < times; i++)
            sink.value = sealPacked(key, scratch, scratch.length, associated.of(7, i, perRun, 9));
        },
      },
      "insert the rows": {
        per: rows * perRun,
        run: (times) => {
          for (let i = 0; i < times; i++) insertRows();
        },
      },
    },
    whole: async () => wholeSettle(),
    async close() {
      runs.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The writer's own rounds, checkpoints included; it runs in this thread here. */
function wholeSettle(): number {
  const directory = sampleDirectory();
  const tail = sampleTail();
  const writer = new Writer(sampleOptions(directory, { shards }), tail.memory);
  let used = 0;
  let events = 0;
  for (let round = 0; round < 24; round++) {
    tail.rewind();
    appendRound(tail);
    const message = tail.settleMessage();
    const before = process.cpuUsage();
    writer.settle(message);
    writer.grownFilters();
    writer.checkpointGrown();
    const { user, system } = process.cpuUsage(before);
    if (round < 8) continue;
    used += (user + system) * 1000;
    events += roundEntities * perRun;
  }
  writer.close();
  rmSync(directory, { recursive: true, force: true });
  return used / events;
}

const replayed = 150_000;

/** A directory whose journal holds everything, as a kill would leave it. */
async function killedDirectory(folder: string): Promise<string> {
  const dataDir = join(folder, "data");
  const warp = await start({
    ...{ context: "bench", aggregates: [ledger], dataDir, durability: "os", logger: silentLogger },
    ...{ settle: { delayMs: 3_600_000, bytes: 60 * 1024 * 1024 }, memory: { tailBytes: 128 * 1024 * 1024 } },
  });
  for (let from = 0; from < replayed; from += 1000) {
    const some = Array.from({ length: 1000 }, (_, i) => ids[((from + i) * 7919) % ids.length] ?? "");
    await Promise.all(some.map((id) => warp.entity(id).append(payments.event())));
  }
  const killed = join(folder, "killed");
  cpSync(dataDir, killed, { recursive: true });
  await warp.close();
  return killed;
}

export async function openReplay(): Promise<Steps> {
  const folder = mkdtempSync(join(tmpdir(), "warp-budgets-"));
  const killed = await killedDirectory(folder);
  const keyring = openKeyring({ dataDir: killed, context: "bench", create: false });
  const options = {
    directory: join(killed, "journal"),
    context: "bench",
    keyOf: (period: number) => keyring.keyOf(period),
  };
  const blocks = [...replayJournal(options)].map((block) => Buffer.from(block));
  const events = replayed;
  const tail = new Tail(64 * 1024 * 1024);
  let turn = 1;
  const records: Buffer[] = [];
  for (const block of blocks) {
    const bytes = bytesOf(block.buffer, block.byteOffset, block.length);
    for (let at = 0; at < block.length; at += readRecordHead(bytes, at).length)
      records.push(block.subarray(at, at + readRecordHead(bytes, at).length));
  }
  const walk: Run = (times) => {
    for (let i = 0; i < times; i++) {
      for (const block of blocks) {
        const bytes = bytesOf(block.buffer, block.byteOffset, block.length);
        for (let at = 0; at < block.length; ) {
          const head = readRecordHead(bytes, at);
          sink.value = readPartHeads(bytes, head);
          at += head.length;
        }
      }
    }
  };
  const copy: Run = (times) => {
    for (let i = 0; i < times; i++) {
      for (const record of records) {
        const at = tail.reserve(record.length, turn, () => {});
        tail.bytes.buffer.set(record, at);
        tail.commit(at + record.length);
      }
      tail.close(turn);
      tail.free(turn++);
    }
  };
  return {
    steps: {
      "read and open the blocks": {
        per: events,
        run: (times) => {
          for (let i = 0; i < times; i++) for (const block of replayJournal(options)) sink.value = block;
        },
      },
      "walk the records": { per: events, run: walk },
      "copy them into the tail": { per: events, run: copy },
    },
    async whole() {
      const processor = new Processor([]);
      const begun = performance.now();
      const warp = await start({
        ...{
          context: "bench",
          aggregates: [ledger],
          dataDir: killed,
          durability: "os",
          logger: silentLogger,
        },
      });
      const main = processor.use().threads.find(({ name }) => name === "main");
      const ns = ((main?.busy ?? 0) * (performance.now() - begun) * 1e6) / replayed;
      await warp.close();
      return ns;
    },
    async close() {
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
