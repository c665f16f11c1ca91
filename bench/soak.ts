/**
 * One server under the same load for as long as it is told to, measured in slices: `warp bench` drives it again and
 * again, each time with entities of its own. Entities live for some minutes and are then erased, as many at once as a slice made, beside the load: so the
 * directory grows for some minutes and should not grow any more, however many hours follow.
 */
import { lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../src/client/index.ts";
import { median } from "./results-page.ts";

export interface SoakSlice {
  /** Since the load began. */
  readonly seconds: number;
  readonly eventsPerSecond: number;
  readonly eventsSoFar: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the server. */
  readonly rssBytes: number;
  /** All files of the data directory. */
  readonly diskBytes: number;
  /** Entities, in this slice. */
  readonly erased: number;
  /** From asking to the receipt, of the erasures in this slice; absent in slices without. */
  readonly erasureP50Ms?: number;
}

export interface SoakOptions {
  readonly seconds: number;
  /** How old entities become. */
  readonly lifeSeconds: number;
}

export interface SoakRecord extends SoakOptions {
  readonly slices: readonly SoakSlice[];
}

const slicesMax = 360;
const sliceSecondsMin = 5;
const entitiesOfSlice = 10_000;
/** Beside the load, for ten thousand. */
const receiptMs = 120_000;

const root = join(import.meta.dir, "..");

export async function soak({ seconds, lifeSeconds }: SoakOptions): Promise<SoakRecord> {
  const directory = mkdtempSync(join(tmpdir(), "warp-soak-"));
  const dataDir = join(directory, "data");
  const server = await startServer(dataDir);
  const client = await connect({ address: server.address, timeoutMs: 2 * receiptMs });
  const slices: SoakSlice[] = [];
  /** Whose entities are alive, oldest first. */
  const generations: Generation[] = [];
  try {
    const sliceSeconds = Math.max(sliceSecondsMin, Math.ceil(seconds / slicesMax));
    const begun = performance.now();
    let events = 0;
    while (performance.now() - begun < seconds * 1000) {
      const isOver =
        (generations[0]?.begun ?? Number.POSITIVE_INFINITY) < performance.now() - lifeSeconds * 1000;
      const old = isOver ? generations.shift() : undefined;
      const generationBegun = performance.now();
      const [line, waits] = await Promise.all([
        runSlice(server.address, server.http, sliceSeconds),
        old === undefined ? [] : eraseAll(client, old.prefix),
      ]);
      generations.push({ begun: generationBegun, prefix: line.server.entityPrefix });
      events += line.events;
      const { eventsPerSecond, p50Ms, p99Ms, rssBytes } = line;
      slices.push({
        seconds: (performance.now() - begun) / 1000,
        eventsPerSecond,
        eventsSoFar: events,
        p50Ms,
        p99Ms,
        rssBytes,
        diskBytes: bytesBelow(dataDir),
        erased: waits.length,
        ...(waits.length === 0 ? {} : { erasureP50Ms: median(waits) }),
      });
      console.error(`soak: ${JSON.stringify(slices.at(-1))}`);
    }
    return { seconds: (performance.now() - begun) / 1000, lifeSeconds, slices };
  } finally {
    await client.close();
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The entities that a slice made. */
interface Generation {
  readonly begun: number;
  readonly prefix: string;
}

/**
 * Erases the entities that `warp bench` made under the prefix, all of them asked for at once; resolves with the milliseconds that each
 * receipt took.
 */
async function eraseAll(client: Client, prefix: string): Promise<number[]> {
  const asked = performance.now();
  const erase = async (_: unknown, number: number): Promise<number> => {
    const id = `${prefix}${number}`;
    const { status } = await client.entity(id).delete({ reason: "bench", waitMs: receiptMs });
    if (status !== "erased") throw new Error(`the receipt of ${id} says ${status}`);
    return performance.now() - asked;
  };
  return await Promise.all(Array.from({ length: entitiesOfSlice }, erase));
}

function bytesBelow(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    // A file may be gone by now: segments and WALs come and go.
    if (entry.isFile())
      bytes += lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  }
  return bytes;
}

interface Server {
  readonly address: string;
  readonly http: string;
  stop(): Promise<void>;
}

async function startServer(dataDir: string): Promise<Server> {
  const places = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", dataDir];
  const options = ["--json", "--log-level", "warn", "--app", "warp:bench", "--context", "bench"];
  const child = Bun.spawn([process.execPath, "src/main.ts", "serve", ...places, ...options], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of child.stdout) {
    text += decoder.decode(piece, { stream: true });
    if (text.includes("\n")) break;
  }
  if (text === "") throw new Error("the server ended before it listened");
  const { listen, http } = JSON.parse(text.slice(0, text.indexOf("\n"))) as {
    readonly listen: string;
    readonly http: string;
  };
  const stop = async () => {
    child.kill("SIGTERM");
    await child.exited;
  };
  return { address: listen, http, stop };
}

type Line = Pick<SoakSlice, "eventsPerSecond" | "p50Ms" | "p99Ms" | "rssBytes"> & {
  readonly events: number;
  readonly server: { readonly entityPrefix: string };
};

async function runSlice(address: string, http: string, seconds: number): Promise<Line> {
  const options = [
    "--callers",
    "256",
    "--entities",
    String(entitiesOfSlice),
    "--seconds",
    String(seconds),
    "--warmup",
    "1",
    "--yardstick",
    "0",
    "--json",
  ];
  const command = ["src/main.ts", "bench", "--addr", address, "--http", http, ...options];
  const child = Bun.spawn([process.execPath, ...command], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
  });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error("a slice of the soak failed");
  return JSON.parse(text) as Line;
}
