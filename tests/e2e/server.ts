/**
 * Runs `warp serve`, from its sources or compiled, as a process of its own, on ports that the operating system chooses.
 */
import { root, tested } from "./command.ts";

export interface RunningServer {
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  /** HOST:PORT of the wire protocol. */
  readonly address: string;
  /** Where HTTP is answered. */
  readonly url: string;
  /** The lines of standard error so far, parsed. */
  readonly log: () => Record<string, unknown>[];
  /** Resolves with the exit status when the process has ended and its log is read. */
  readonly ended: Promise<number | null>;
}

/** Settings that make small files, so that many servers can run in one test. */
export const smallServer = [
  ...["--shards", "2", "--writers", "1", "--journal-segment", "256KiB", "--journal-segments", "8"],
  ...["--memory-tail", "1MiB"],
];

/** Starts a server and waits until it says where it listens. Throws with its log when it ends instead. */
export function startServer(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<RunningServer> {
  return whenListening(spawnServer(args, environment));
}

/** Resolves when it says where it listens. Errors: its log, when it ends instead. */
export async function whenListening(process_: RunningServer["process"]): Promise<RunningServer> {
  const log = follow(process_.stderr);
  const [stdout, told] = lines(process_.stdout);
  const ended = Promise.all([process_.exited, log.done, stdout]).then(() => process_.exitCode);
  const first = await Promise.race([told, ended]);
  if (typeof first !== "string") throw new Error(`the server ended: ${log.text()}`);
  const listening = JSON.parse(first) as { listen?: string; http?: string };
  return {
    process: process_,
    address: listening.listen ?? "",
    url: listening.http ?? "",
    log: () => jsonObjects(log.text()),
    ended,
  };
}

/** Starts a server and does not wait for it. */
export function spawnServer(
  args: readonly string[],
  environment: Record<string, string> = {},
  program = tested,
): RunningServer["process"] {
  const doors = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
  return Bun.spawn([...program, "serve", ...doors, ...args, "--json"], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...environment },
  });
}

function jsonObjects(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{") && line.endsWith("}"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function follow(stream: ReadableStream<Uint8Array>) {
  let text = "";
  const decoder = new TextDecoder();
  const done = (async () => {
    for await (const piece of stream) text += decoder.decode(piece, { stream: true });
  })();
  return { text: () => text, done };
}

/** The whole text when it has ended, and its first line as soon as it is there. */
function lines(stream: ReadableStream<Uint8Array>): [Promise<void>, Promise<string>] {
  const first = Promise.withResolvers<string>();
  const decoder = new TextDecoder();
  const done = (async () => {
    let text = "";
    for await (const piece of stream) {
      text += decoder.decode(piece, { stream: true });
      const end = text.indexOf("\n");
      if (end >= 0) first.resolve(text.slice(0, end));
    }
  })();
  return [done, first.promise];
}
