/**
 * One server under a load that does not pause for as long as it is told to (bench/soak-load.ts), measured in slices. The entities of a
 * slice live for some minutes and are then erased, all of them at once, beside the load. Where a server erases as fast as it appends, its
 * directory grows for these minutes and not any more; where it does not, receipts come later and later, and the record shows it.
 */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Client, connect } from "../src/client/index.ts";
import { machineLine } from "./machine.ts";
import { median } from "./results-page.ts";
import { atEnd, scratchDirectory } from "./scratch.ts";
import type { LoadSlice } from "./soak-load.ts";

export interface SoakSlice extends Omit<LoadSlice, "prefix"> {
  /** All files of the data directory. */
  readonly diskBytes: number;
  /** Entities whose receipt came in it; those of a slice are asked for at once, when another one begins. */
  readonly erased: number;
  /** From asking to the receipt, of those; absent in slices without. */
  readonly erasureP50Ms?: number;
}

export interface SoakOptions {
  readonly seconds: number;
  /** How old entities become. */
  readonly lifeSeconds: number;
  /** Hears what there is after every slice, so that what an interruption leaves is on record. */
  readonly onSlice: (record: SoakRecord) => void;
}

export interface SoakRecord {
  readonly date: string;
  readonly machine: string;
  /** So long it was told to run; it ran for the sum of its slices. */
  readonly secondsAsked: number;
  readonly lifeSeconds: number;
  readonly slices: readonly SoakSlice[];
}

const sliceSeconds = 60;
const entitiesOfSlice = 10_000;
/** Beside the load, for ten thousand. */
const receiptMs = 120_000;
/** A connection has 4,096 requests under way at most, those that wait for receipts among them. */
const erasingConnections = 3;

const root = join(import.meta.dir, "..");

export async function soak({ seconds, lifeSeconds, onSlice }: SoakOptions): Promise<void> {
  const dataDir = join(scratchDirectory("soak"), "data");
  const server = await startServer(dataDir);
  const clients = await Promise.all(
    Array.from({ length: erasingConnections }, () => connect({ address: server.address })),
  );
  const date = new Date().toISOString();
  const machine = machineLine();
  const slices: SoakSlice[] = [];
  /** Whose entities are alive, oldest first. */
  const generations: Generation[] = [];
  const load = startLoad(server);
  try {
    const begun = performance.now();
    const erasing = new Erasing(clients);
    let isOver = false;
    for await (const { prefix, ...figures } of load.slices()) {
      // The one that was cut short.
      if (isOver) continue;
      const waits = erasing.takeWaits();
      const diskBytes = bytesBelow(dataDir);
      const erasureP50Ms = waits.length === 0 ? {} : { erasureP50Ms: median(waits) };
      slices.push({ ...figures, diskBytes, erased: waits.length, ...erasureP50Ms });
      onSlice({ date, machine, secondsAsked: seconds, lifeSeconds, slices });
      console.error(`soak: ${JSON.stringify(slices.at(-1))}`);
      isOver = performance.now() - begun > seconds * 1000;
      if (isOver) load.end();
      generations.push({ ended: performance.now(), prefix });
      const young = generations.filter(({ ended }) => ended >= performance.now() - lifeSeconds * 1000);
      if (!isOver && !erasing.isUnderWay) {
        const old = generations.splice(0, generations.length - young.length);
        erasing.begin(old.map((generation) => generation.prefix));
      }
    }
  } finally {
    load.kill();
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  }
}

/** The entities of a slice. */
interface Generation {
  readonly ended: number;
  readonly prefix: string;
}

/** Erases entities beside the load. */
class Erasing {
  readonly #clients: readonly Client[];
  #waits: number[] = [];
  #failure: unknown;
  isUnderWay = false;

  constructor(clients: readonly Client[]) {
    this.#clients = clients;
  }

  /** The entities of these prefixes, all of them asked for at once. */
  begin(prefixes: readonly string[]): void {
    if (prefixes.length === 0) return;
    this.isUnderWay = true;
    const asked = performance.now();
    const erase = async (id: string, i: number): Promise<void> => {
      const entity = this.#clients[i % this.#clients.length]?.entity(id);
      // A second call waits for the same receipt.
      for (let status: string | undefined = "pending"; status === "pending"; )
        status = (await entity?.delete({ reason: "bench", waitMs: receiptMs }))?.status;
      this.#waits.push(performance.now() - asked);
    };
    const ids = prefixes.flatMap((prefix) =>
      Array.from({ length: entitiesOfSlice }, (_, number) => `${prefix}${number}`),
    );
    Promise.all(ids.map(erase)).then(
      () => {
        this.isUnderWay = false;
      },
      (thrown: unknown) => {
        this.#failure = thrown;
      },
    );
  }

  /** The milliseconds from asking to the receipt, of those that came since this was asked last. Throws what an erasure failed with. */
  takeWaits(): number[] {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#waits.splice(0);
  }
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
    // Ctrl-C is for the process that has started it.
    detached: true,
  });
  atEnd(() => child.kill("SIGKILL"));
  const { value: line } = await linesOf(child.stdout).next();
  if (line === undefined) throw new Error("the server ended before it listened");
  const { listen, http } = JSON.parse(line) as { readonly listen: string; readonly http: string };
  const stop = async () => {
    child.kill("SIGTERM");
    await child.exited;
  };
  return { address: listen, http, stop };
}

interface Load {
  /** Until it has ended. */
  slices(): AsyncGenerator<LoadSlice>;
  end(): void;
  kill(): void;
}

function startLoad({ address, http }: Server): Load {
  const where = [`--addr=${address}`, `--http=${http}`];
  const what = [`--slice=${sliceSeconds}`, `--entities=${entitiesOfSlice}`];
  const child = Bun.spawn([process.execPath, "bench/soak-load.ts", ...where, ...what], {
    cwd: root,
    stdout: "pipe",
    stderr: "inherit",
    detached: true,
  });
  atEnd(() => child.kill("SIGKILL"));
  return {
    async *slices() {
      for await (const line of linesOf(child.stdout)) yield JSON.parse(line) as LoadSlice;
      if ((await child.exited) !== 0) throw new Error("the load of the soak failed");
    },
    end: () => child.kill("SIGTERM"),
    kill: () => child.kill("SIGKILL"),
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}
