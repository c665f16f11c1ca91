/**
 * Warp as the others are measured: the compiled server with `warp/client`, and the library in the client's process.
 * Both fsync before they acknowledge, encrypt what they store, and fold each event into a state.
 */
import { join } from "node:path";
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import { connect } from "../../src/client/index.ts";
import { type NewEvent, start } from "../../src/index.ts";
import { cache, run } from "./harness/install.ts";
import type { Peer, RunningPeer } from "./harness/peer.ts";
import { accepts, freePort } from "./harness/processes.ts";

const root = join(import.meta.dir, "../..");
const binary = join(cache, "warp");
const durability = "the journal is fsynced before the acknowledgement; everything stored is encrypted";
const notes = {
  durability,
  isDurable: true,
  seq: "the entity's actor gives it",
  batch: "one append, all or none",
  state: "the folded state, in memory",
};

interface Source {
  entity(id: string): {
    append(event: NewEvent): Promise<{ readonly ok: boolean }>;
    appendBatch(events: readonly NewEvent[]): Promise<{ readonly ok: boolean }>;
    read(): Promise<unknown>;
    seq(): Promise<number>;
  };
  entities(): AsyncIterable<{ readonly id: string }>;
}

/** Callers ask for entities by id at every call, as a program does that serves requests. */
function driving(source: Source, version: string, stop: () => Promise<void>): RunningPeer {
  return {
    version,
    async append(id, _seq, events) {
      const entity = source.entity(id);
      const [first] = events;
      const isOne = events.length === 1 && first !== undefined;
      const result = isOne ? await entity.append(first) : await entity.appendBatch(events);
      if (!result.ok) throw new Error("an append without expectations met a conflict");
    },
    read: (id) => source.entity(id).read(),
    async count() {
      let events = 0;
      for await (const { id } of source.entities()) events += await source.entity(id).seq();
      return events;
    },
    stop,
  };
}

async function versionOf(): Promise<string> {
  const { version } = (await import("../../package.json")) as { readonly version: string };
  return version;
}

export const warpOverTcp: Peer = {
  name: "warp-tcp",
  title: "Warp, server",
  partner: "warp-tcp",
  isClose: true,
  notes: { ...notes, client: "warp/client, one connection" },
  async install() {
    run([process.execPath, "scripts/build.ts", `--outfile=${binary}`], { cwd: root });
  },
  async start({ directory, processes }) {
    const port = freePort();
    const args = ["--listen", `127.0.0.1:${port}`, "--http", `127.0.0.1:${freePort()}`];
    const context = ["--app", "warp:bench", "--context", "bench", "--data", join(directory, "data")];
    await processes.start("warp", [binary, "serve", "--log-level", "warn", ...args, ...context], () =>
      accepts(port),
    );
    const client = await connect({ address: `127.0.0.1:${port}` });
    return driving(client, await versionOf(), () => client.close());
  },
};

export const warpInProcess: Peer = {
  name: "warp",
  title: "Warp, in process",
  partner: "warp",
  isClose: true,
  notes: { ...notes, client: "the library" },
  async install() {},
  async start({ directory }) {
    const warp = await start({ context: "bench", aggregates: [ledger], dataDir: join(directory, "data") });
    return driving(warp, await versionOf(), () => warp.close());
  },
};
