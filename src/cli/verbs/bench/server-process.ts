/**
 * A server of the run's own: this executable's `warp serve` as a child, on ports that the operating system chooses.
 *
 * - It folds with the aggregate that is built in for this (`--app warp:bench`), so it needs no file.
 * - The settings of the environment are for other servers; only the root key is taken from it.
 * - In a group of its own, so that Ctrl-C does not stop it under the load; if this process is killed, it drains and ends.
 */
import { WarpError } from "../../../core/errors.ts";
import { ownCommand, supervisedVariable } from "../../own-process.ts";
import type { EngineSettings } from "./in-process.ts";

export interface ServerProcess {
  readonly pid: number;
  /** HOST:PORT of the wire protocol. */
  readonly address: string;
  /** URL of HTTP. */
  readonly http: string;
  /** Resolves when it has ended well after a SIGTERM: everything is settled. Can be called again. */
  stop(): Promise<void>;
}

/** Resolves when it listens. What it has to say beyond that is on standard error. */
export async function startServerProcess(settings: EngineSettings): Promise<ServerProcess> {
  const { dataDir, mode, durability, shards, writers } = settings;
  const args = [
    ...["serve", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "warn"],
    ...["--app", "warp:bench", "--context", "bench", "--data", dataDir],
    ...["--mode", mode, "--durability", durability],
    ...["--shards", String(shards), "--writers", String(writers)],
  ];
  const child = Bun.spawn([...ownCommand(), ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
    detached: true,
    env: { ...withoutSettings(process.env), [supervisedVariable]: "1" },
  });
  const line = await firstLine(child.stdout);
  if (line === undefined) {
    await child.exited;
    throw endedEarly(child.exitCode);
  }
  const { listen, http } = JSON.parse(line) as { readonly listen: string; readonly http: string };
  const stop = async () => {
    child.kill("SIGTERM");
    await child.exited;
    if (child.exitCode !== 0) throw endedEarly(child.exitCode);
  };
  return { pid: child.pid, address: listen, http, stop };
}

function endedEarly(status: number | null): WarpError {
  return new WarpError("ENGINE_FAILED", "the server of this run failed", { exitStatus: status });
}

function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = ([name]: [string, unknown]) => !name.startsWith("WARP_") || name === "WARP_ROOT_KEY";
  return Object.fromEntries(Object.entries(environment).filter(kept));
}

/** Undefined when the text ends before its first line does. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of stream) {
    text += decoder.decode(piece, { stream: true });
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
  return undefined;
}
