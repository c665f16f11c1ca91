/**
 * How long a start takes after the process was killed under load: `bun bench/restart.ts [--gib=1] [--callers=256] [--batch=20]`.
 *
 * A child appends until the shards' files hold `--gib` GiB, goes on, and is killed with SIGKILL. Then a new process
 * opens the directory: its time covers replaying, settling and checkpointing what the journal held, up to the first
 * append that is acknowledged. The files are in the page cache. Prints one JSON line.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { start, type Warp } from "../src/index.ts";
import { atEnd, scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "1" },
    callers: { type: "string", default: "256" },
    /** Events of one append. */
    batch: { type: "string", default: "20" },
    /** What the children are told to do. */
    role: { type: "string", default: "parent" },
    data: { type: "string", default: "" },
  },
});

const entities = 100_000;
const giB = 1024 ** 3;

if (values.role === "load") await load(values.data);
else if (values.role === "open") await reopen(values.data);
else await measure();

function open(dataDir: string): Promise<Warp> {
  return start({ context: "bench", aggregates: [ledger], dataDir });
}

async function measure(): Promise<void> {
  const data = join(scratchDirectory("restart"), "data");
  const loading = child("load", data);
  await firstLine(loading.stdout);
  loading.kill("SIGKILL");
  await loading.exited;
  const shardBytes = bytesUnder(join(data, "shards"));
  const opening = child("open", data);
  const line = await firstLine(opening.stdout);
  await opening.exited;
  console.log(JSON.stringify({ shardBytes, ...JSON.parse(line) }));
}

function child(role: string, data: string) {
  const { gib, callers, batch } = values;
  const args = [
    `--role=${role}`,
    `--data=${data}`,
    `--gib=${gib}`,
    `--callers=${callers}`,
    `--batch=${batch}`,
  ];
  const started = Bun.spawn([process.execPath, import.meta.path, ...args], {
    stdout: "pipe",
    stderr: "inherit",
  });
  atEnd(() => started.kill("SIGKILL"));
  return started;
}

/** Appends until the shards are large enough, says so, and goes on until it is killed. */
async function load(dataDir: string): Promise<void> {
  const warp = await open(dataDir);
  const payments = new Payments(100, 1);
  const random = new Random(1);
  const batch = Number(values.batch);
  let isLarge = false;
  const caller = async () => {
    for (;;) await warp.entity(idOf(random.below(entities))).appendBatch(payments.batch(batch));
  };
  const callers = Array.from({ length: Number(values.callers) }, caller);
  while (!isLarge) {
    await Bun.sleep(250);
    isLarge = bytesUnder(join(dataDir, "shards")) >= Number(values.gib) * giB;
  }
  console.log("large enough");
  await Promise.race(callers);
}

async function reopen(dataDir: string): Promise<void> {
  const begun = performance.now();
  const warp = await open(dataDir);
  const startMs = performance.now() - begun;
  const result = await warp.entity(idOf(0)).append({ type: "Paid", data: new Payments(100, 2).data() });
  if (!result.ok) throw new Error("the first append met a conflict");
  const firstAppendMs = performance.now() - begun;
  console.log(JSON.stringify({ startMs, firstAppendMs }));
  await warp.close();
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true });
    if (text.includes("\n")) return text.slice(0, text.indexOf("\n"));
  }
  throw new Error("a child process ended without a word");
}

function bytesUnder(folder: string): number {
  let bytes = 0;
  for (const path of new Bun.Glob("**/*").scanSync({ cwd: folder })) {
    // Files come and go while the child works.
    bytes += statSync(join(folder, path), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}
