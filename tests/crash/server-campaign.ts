/**
 * The crash campaign over the wire: a server is killed at random moments and started again on the same port and
 * directory, while the clients of many callers keep retrying.
 *
 *   bun tests/crash/server-campaign.ts --kills 300 [--seed N] [--binary dist/warp]
 *
 * - What is killed: a server that is making its directory or recovering, one under load, one that is told to stop.
 * - Every call is answered in the end, so nothing is left unknown: what was acknowledged is there once and whole, what
 *   was refused is absent and was refused for a reason that its entity's history shows.
 * - After every few kills callers rest: clients read everything back, and `warp check` reads the files, of a server that
 *   was killed or stopped. A directory lives through several such checks.
 * - A failure leaves its directory behind.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Client, connect, WarpError } from "../../src/client/index.ts";
import { fromSources, type Program, runWarp } from "../e2e/command.ts";
import { freePort } from "../e2e/free-port.ts";
import { type RunningServer, spawnServer, whenListening } from "../e2e/server.ts";
import type { LogLine } from "./load.ts";
import { Model } from "./model.ts";
import { Operations, perform } from "./operations.ts";
import { seededRandom } from "./seeded.ts";
import { loadFlags } from "./settings.ts";
import { repeatKeyed, verify } from "./verify.ts";

const killsPerCheck = 4;
const checksPerDirectory = 4;
const clients = 3;
const callers = 36;
const callTimeoutMs = 120_000;

export interface ServerCampaignResult {
  readonly kills: number;
  readonly events: number;
  readonly operations: number;
  /** Answers to a first call that its client had to repeat, as the server had done it before it was killed. */
  readonly repeated: number;
  /** Kills by what was under way. */
  readonly during: Readonly<Record<string, number>>;
  readonly complaints: readonly string[];
}

export async function runServerCampaign(
  seed: number,
  kills: number,
  program: Program = fromSources,
): Promise<ServerCampaignResult> {
  const random = seededRandom(seed);
  const during: Record<string, number> = {};
  const total = { kills: 0, events: 0, operations: 0, repeated: 0 };
  const complaints: string[] = [];
  const count = (kinds: readonly string[]): void => {
    for (const kind of kinds) during[kind] = (during[kind] ?? 0) + 1;
    total.kills += kinds.length;
  };
  for (let run = 0; total.kills < kills && complaints.length === 0; run++) {
    const directory = mkdtempSync(join(tmpdir(), "warp-served-"));
    const life = new Life(join(directory, "data"), `d${run}`, random, program);
    try {
      count(await life.begin());
      for (let check = 0; check < checksPerDirectory && total.kills < kills; check++) {
        count(await life.killSome(Math.min(killsPerCheck, kills - total.kills)));
        complaints.push(...(await life.check()));
        if (complaints.length > 0) break;
      }
    } catch (thrown) {
      const code = thrown instanceof WarpError ? `${thrown.code} ${JSON.stringify(thrown.details)} ` : "";
      complaints.push(`${code}${thrown}`);
    } finally {
      await life.end();
    }
    total.events += life.events;
    total.operations += life.model.operations.size;
    total.repeated += life.repeated;
    if (complaints.length === 0) rmSync(directory, { recursive: true });
    else complaints.splice(0, Number.POSITIVE_INFINITY, ...complaints.map((one) => `${one} [${directory}]`));
  }
  return { ...total, during, complaints: complaints.slice(0, 12) };
}

/** One directory, its server and its clients. */
class Life {
  readonly model = new Model();
  /** Found by the last check. */
  events = 0;
  repeated = 0;
  readonly #data: string;
  readonly #random: () => number;
  readonly #program: Program;
  readonly #operations: Operations;
  readonly #address = `127.0.0.1:${freePort()}`;
  #clients: readonly Client[] = [];
  #server: RunningServer | undefined;
  #answered = 0;
  /** How long the last start took. */
  #startMs = 300;

  constructor(data: string, run: string, random: () => number, program: Program) {
    this.#data = data;
    this.#random = random;
    this.#program = program;
    this.#operations = new Operations(run, random, false);
  }

  /** Connects, while the server that makes the directory is killed and started again. Returns what was under way. */
  async begin(): Promise<string[]> {
    const settings = { address: this.#address, timeoutMs: callTimeoutMs };
    const connecting = Promise.all(Array.from({ length: clients }, () => connect(settings)));
    await this.#startAndKill();
    await Promise.all([this.#start(), connecting]);
    this.#clients = await connecting;
    return ["making"];
  }

  /** Kills the server under load, so many times, and lets the callers come to rest. Returns what was under way. */
  async killSome(kills: number): Promise<string[]> {
    const during: string[] = [];
    let isOver = false;
    const caller = async (index: number): Promise<void> => {
      while (!isOver) await this.#call(index);
    };
    const working = Promise.all(Array.from({ length: callers }, (_, index) => caller(index)));
    try {
      while (during.length < kills) {
        during.push(await this.#kill());
        await this.#start();
      }
    } finally {
      isOver = true;
    }
    await working;
    return during;
  }

  /** Everything that clients read, and everything that stands in the files. */
  async check(): Promise<string[]> {
    const [client] = this.#clients;
    const server = this.#server;
    if (client === undefined || server === undefined) return ["there is nothing to check"];
    const verified = await verify(client, this.model);
    this.events = verified.events;
    const keyed = this.model.answeredKeyed();
    const sample = keyed.filter(() => this.#random() < 40 / keyed.length);
    const complaints = [...this.model.complaints, ...verified.complaints];
    complaints.push(...(await repeatKeyed(client, this.model, sample)));
    const unheard = [...this.model.operations.values()].filter(({ status }) => status === "unknown").length;
    if (unheard > 0) complaints.push(`${unheard} calls were never answered`);

    const isStopped = this.#random() < 0.5;
    server.process.kill(isStopped ? "SIGTERM" : "SIGKILL");
    const code = await server.ended;
    if (isStopped && code !== 0) complaints.push(`the server ended with ${code} when told to stop`);
    const found = await runWarp(["check", this.#data], "", {}, this.#program);
    if (found.code !== 0)
      complaints.push(`warp check ends with ${found.code}: ${found.stdout}${found.stderr}`);
    await this.#start();
    return complaints;
  }

  async end(): Promise<void> {
    this.#server?.process.kill("SIGKILL");
    await this.#server?.ended;
    // What is still unanswered after a failure is given up with its client.
    for (const client of this.#clients) client.close().catch(() => {});
  }

  async #call(index: number): Promise<void> {
    const operation = this.#operations.next();
    const client = this.#clients[index % clients];
    if (client === undefined) return;
    this.model.take([{ try: operation }]);
    let line: LogLine;
    try {
      const done = await perform(client, operation);
      if (done.duplicate) this.repeated++;
      line = { done };
    } catch (thrown) {
      const error = thrown instanceof WarpError ? thrown.code : "NOT_A_WARP_ERROR";
      line = { error, op: operation.op, message: String(thrown) };
    }
    this.model.take([line]);
    this.#answered++;
    if (this.#random() < 0.3) await Bun.sleep(this.#random() * 10);
  }

  async #kill(): Promise<string> {
    const random = this.#random;
    const server = this.#server;
    const kind = random();
    if (server === undefined) return "nothing";
    const until = this.#answered + Math.floor(random() ** 2 * 500);
    while (this.#answered < until && server.process.exitCode === null) await Bun.sleep(1);
    await Bun.sleep(random() * 10);
    const { process } = server;
    if (process.exitCode !== null)
      throw new Error(`the server ended by itself: ${JSON.stringify(server.log())}`);
    if (kind < 0.15) {
      process.kill("SIGTERM");
      await Promise.race([process.exited, Bun.sleep(random() * 60)]);
    }
    process.kill("SIGKILL");
    await server.ended;
    if (kind < 0.15) return "stopping";
    if (kind > 0.4) return "serving";
    await this.#startAndKill();
    return "starting";
  }

  async #startAndKill(): Promise<void> {
    const starting = spawnServer(this.#arguments(), {}, this.#program);
    await Bun.sleep(this.#random() * this.#startMs * 1.1);
    starting.kill("SIGKILL");
    await starting.exited;
  }

  async #start(): Promise<void> {
    const startedAt = performance.now();
    this.#server = await whenListening(spawnServer(this.#arguments(), {}, this.#program));
    this.#startMs = performance.now() - startedAt;
  }

  #arguments(): string[] {
    return [...loadFlags(this.#data), "--listen", this.#address];
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { kills: { type: "string" }, seed: { type: "string" }, binary: { type: "string" } },
  });
  const seed = Number(values.seed ?? Date.now() % 2 ** 31);
  console.log(`seed ${seed}`);
  const program = values.binary === undefined ? fromSources : [values.binary];
  const result = await runServerCampaign(seed, Number(values.kills ?? 100), program);
  console.log(JSON.stringify(result, undefined, 2));
  process.exit(result.complaints.length === 0 ? 0 : 1);
}
