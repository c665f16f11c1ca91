/**
 * One server under the same load for as long as it is told to, measured in slices: `warp bench` drives it again and
 * again, each time with entities of its own, so that directory and files grow as they do in use.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface SoakSlice {
  /** Since the load began. */
  readonly seconds: number;
  readonly eventsPerSecond: number;
  readonly eventsSoFar: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the server. */
  readonly rssBytes: number;
}

export interface SoakRecord {
  readonly seconds: number;
  readonly slices: readonly SoakSlice[];
}

const slicesMax = 360;
const sliceSecondsMin = 5;

const root = join(import.meta.dir, "..");

export async function soak(seconds: number): Promise<SoakRecord> {
  const directory = mkdtempSync(join(tmpdir(), "warp-soak-"));
  const server = await startServer(join(directory, "data"));
  const slices: SoakSlice[] = [];
  try {
    const sliceSeconds = Math.max(sliceSecondsMin, Math.ceil(seconds / slicesMax));
    const begun = performance.now();
    let events = 0;
    while (performance.now() - begun < seconds * 1000) {
      const line = await runSlice(server.address, server.http, sliceSeconds);
      events += line.events;
      const { eventsPerSecond, p50Ms, p99Ms, rssBytes } = line;
      slices.push({
        seconds: (performance.now() - begun) / 1000,
        eventsPerSecond,
        eventsSoFar: events,
        p50Ms,
        p99Ms,
        rssBytes,
      });
      console.error(`soak: ${JSON.stringify(slices.at(-1))}`);
    }
    return { seconds: (performance.now() - begun) / 1000, slices };
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
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

type Line = Omit<SoakSlice, "seconds" | "eventsSoFar"> & { readonly events: number };

async function runSlice(address: string, http: string, seconds: number): Promise<Line> {
  const options = [
    "--callers",
    "256",
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
