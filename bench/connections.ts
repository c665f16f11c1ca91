/**
 * What connections cost, and whose cost it is: appends over 1 to 1,000 connections beside a bare echo over as many.
 *
 * `bun bench/connections.ts [--connections=1,10,100,1000] [--callers=1000] [--windows=4]`
 *
 * - Each caller stays with its connection, appends, waits and appends again; events of 100 bytes, 10,000 entities.
 * - The echo is a server and a client on the same run-time, with requests and answers of the same sizes, as many of them under way,
 *   and nothing else: no protocol, no engine, no promise. What it takes is the kernel's and the run-time's.
 * - Both take turns of a second, after three of warming up; medians. `µs` is the processor time of a call: of the client's process,
 *   and of the server's main thread.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect } from "../src/client/index.ts";
import { encodeEvents } from "../src/client/encoding.ts";
import { FrameWriter } from "../src/net/protocol/frame-writer.ts";
import { writeOutcome } from "../src/net/protocol/replies.ts";
import { writeAppend } from "../src/net/protocol/requests.ts";
import { ids, order, payments } from "./budgets/sample.ts";
import { median } from "./results-page.ts";
import { scratchDirectory } from "./scratch.ts";

const { values } = parseArgs({
  options: {
    connections: { type: "string", default: "1,10,100,1000" },
    callers: { type: "string", default: "1000" },
    windows: { type: "string", default: "4" },
    /** The other processes: `echo-server`, `echo` and `warp`, the last two with the address to connect to. */
    role: { type: "string" },
    address: { type: "string", default: "" },
  },
});
const callers = Number(values.callers);
const windowMs = 1000;

function bytesOf(write: (writer: FrameWriter) => void): number {
  const writer = new FrameWriter(1024);
  write(writer);
  return writer.at;
}

const requestBytes = bytesOf((writer) => {
  const delivery = { sessionStart: 1.7e12, sessionNumber: 2 ** 52, counter: 100_000, behind: 1 };
  writeAppend(writer, 100_000, "entity-1234", encodeEvents([payments.event()], false), undefined, delivery);
});
const answerBytes = bytesOf((writer) =>
  writeOutcome(writer, 100_000, {
    ...{ ok: true, seq: 9, firstSeq: 9, count: 1, duplicate: false, shard: 3, position: 100_000 },
  }),
);

/** What a socket of the echo has of a request or an answer that is not whole. */
interface Part {
  received: number;
}

/** How many whole ones of `bytes` have arrived with this chunk. */
function whole(part: Part, chunk: Buffer, bytes: number): number {
  const all = part.received + chunk.length;
  const count = Math.floor(all / bytes);
  part.received = all - count * bytes;
  return count;
}

async function serveEcho(): Promise<void> {
  const answers = Buffer.alloc(answerBytes * callers);
  const listener = Bun.listen<Part>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open(socket) {
        socket.data = { received: 0 };
        socket.setNoDelay(true);
      },
      data(socket, chunk) {
        const count = whole(socket.data, chunk, requestBytes);
        if (count > 0) socket.write(answers, 0, count * answerBytes);
      },
    },
  });
  console.log(JSON.stringify({ listen: `127.0.0.1:${listener.port}` }));
  for await (const _ of console) break;
  listener.stop(true);
}

/** A closed loop that can be let run for a while: how many calls it has done. */
interface Loop {
  run(ms: number): Promise<number>;
  close(): void;
}

async function echoLoop(connections: number): Promise<Loop> {
  const requests = Buffer.alloc(requestBytes * callers);
  let done = 0;
  let isOver = true;
  const hostname = "127.0.0.1";
  const port = Number(values.address.split(":")[1]);
  const sockets: Bun.Socket<Part>[] = [];
  for (let i = 0; i < connections; i++) {
    const socket = await Bun.connect<Part>({
      ...{ hostname, port, data: { received: 0 } },
      socket: {
        data(socket, chunk) {
          const count = whole(socket.data, chunk, answerBytes);
          done += count;
          if (!isOver && count > 0) socket.write(requests, 0, count * requestBytes);
        },
      },
    });
    socket.setNoDelay(true);
    sockets.push(socket);
  }
  return {
    async run(ms) {
      done = 0;
      isOver = false;
      for (const socket of sockets) socket.write(requests, 0, (callers / connections) * requestBytes);
      await Bun.sleep(ms);
      isOver = true;
      return done;
    },
    close() {
      for (const socket of sockets) socket.end();
    },
  };
}

async function warpLoop(connections: number): Promise<Loop> {
  const clients: Awaited<ReturnType<typeof connect>>[] = [];
  for (let i = 0; i < connections; i++) clients.push(await connect({ address: values.address }));
  let next = 0;
  return {
    async run(ms) {
      let done = 0;
      let isOver = false;
      const caller = async (number: number): Promise<void> => {
        const client = clients[number % connections];
        while (!isOver) {
          await client?.entity(ids[order[next++ & 0xffff] ?? 0] ?? "").append(payments.event());
          done++;
        }
      };
      const all = Array.from({ length: callers }, (_, number) => caller(number));
      await Bun.sleep(ms);
      isOver = true;
      await Promise.all(all);
      return done;
    },
    close() {
      for (const client of clients) void client.close();
    },
  };
}

interface Window {
  readonly calls: number;
  readonly perSecond: number;
  /** Processor time of the client, µs a call. */
  readonly clientMicros: number;
}

/** Runs a window for each line that it is told the length of. */
async function drive(loop: Loop): Promise<void> {
  console.log("{}");
  for await (const line of console) {
    const ms = Number(line);
    if (ms === 0) break;
    const before = process.cpuUsage();
    const begun = performance.now();
    const calls = await loop.run(ms);
    const { user, system } = process.cpuUsage(before);
    const perSecond = (calls / (performance.now() - begun)) * 1000;
    console.log(JSON.stringify({ calls, perSecond, clientMicros: (user + system) / calls }));
    // What is still under way does not belong to the next window.
    await Bun.sleep(50);
  }
  loop.close();
}

class Child {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #output: AsyncIterator<Uint8Array>;
  #text = "";

  constructor(file: string, args: readonly string[]) {
    this.#process = Bun.spawn([process.execPath, join(import.meta.dir, file), ...args], {
      ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit" },
    });
    this.#output = this.#process.stdout[Symbol.asyncIterator]();
  }

  async line<Line>(): Promise<Line> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#output.next();
      if (done === true) throw new Error("a process of the benchmark ended early");
      this.#text += new TextDecoder().decode(value);
    }
    const [line = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return JSON.parse(line) as Line;
  }

  say(line: string): void {
    this.#process.stdin.write(`${line}\n`);
    this.#process.stdin.flush();
  }

  /** Processor time of its main thread so far, µs. Linux alone tells it. */
  get mainMicros(): number {
    const { pid } = this.#process;
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1000;
  }

  async end(how: "line" | "signal"): Promise<void> {
    if (how === "line") this.say("0");
    else this.#process.kill("SIGTERM");
    await this.#process.exited;
  }
}

interface Side {
  readonly server: Child;
  readonly client: Child;
  readonly windows: (Window & { readonly serverMicros: number })[];
}

async function runWindow({ server, client, windows }: Side, ms: number): Promise<void> {
  const before = server.mainMicros;
  client.say(String(ms));
  const window = await client.line<Window>();
  const serverMicros = (server.mainMicros - before) / window.calls;
  windows.push({ ...window, serverMicros });
}

function medians({ windows }: Side) {
  const of = (field: "perSecond" | "clientMicros" | "serverMicros") =>
    median(windows.map((window) => window[field]));
  return {
    perSecond: Math.round(of("perSecond")),
    clientMicros: Number(of("clientMicros").toFixed(2)),
    serverMicros: Number(of("serverMicros").toFixed(2)),
  };
}

async function compare(connections: number): Promise<object> {
  const folder = scratchDirectory("connections");
  const serve = [
    "serve",
    "--json",
    "--listen",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
    "--log-level",
    "warn",
  ];
  const data = ["--app", "warp:bench", "--context", "bench", "--data", join(folder, "data")];
  const open = async (role: string, server: Child): Promise<Side> => {
    const { listen } = await server.line<{ readonly listen: string }>();
    const args = [
      `--role=${role}`,
      `--address=${listen}`,
      `--connections=${connections}`,
      `--callers=${callers}`,
    ];
    const client = new Child("connections.ts", args);
    await client.line();
    return { server, client, windows: [] };
  };
  const warp = await open("warp", new Child("../src/main.ts", [...serve, ...data]));
  const echo = await open(
    "echo",
    new Child("connections.ts", ["--role=echo-server", `--callers=${callers}`]),
  );
  await runWindow(warp, 4000);
  await runWindow(echo, 1000);
  warp.windows.length = 0;
  echo.windows.length = 0;
  for (let window = 0; window < Number(values.windows); window++) {
    await runWindow(warp, windowMs);
    await runWindow(echo, windowMs);
  }
  await warp.client.end("line");
  await warp.server.end("signal");
  await echo.client.end("line");
  await echo.server.end("line");
  const [ofWarp, ofEcho] = [medians(warp), medians(echo)];
  const ratio = Number((ofWarp.perSecond / ofEcho.perSecond).toFixed(3));
  return { connections, callers, warp: ofWarp, echo: ofEcho, ratio };
}

const counts = values.connections.split(",").map(Number);
if (values.role === "echo-server") await serveEcho();
else if (values.role === "echo") await drive(await echoLoop(counts[0] ?? 1));
else if (values.role === "warp") await drive(await warpLoop(counts[0] ?? 1));
else for (const connections of counts) console.log(JSON.stringify(await compare(connections)));
if (values.role !== undefined) process.exit(0);
