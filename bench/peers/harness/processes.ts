/**
 * The processes of one peer: each writes its output to a file, and all of them end with their owner.
 */
import { chownSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A user of the machine to run as, when this process is root: some servers refuse to be root. */
  readonly user?: string;
}

const stopWaitMs = 10_000;
const readyWaitMs = 60_000;
const pollMs = 50;

export class Processes {
  readonly #logs: string;
  readonly #running: Bun.Subprocess[] = [];

  /** `logs` is the folder of their output. */
  constructor(logs: string) {
    this.#logs = logs;
  }

  /** Starts it and resolves when `isReady` does not throw and says so; throws with the end of its output otherwise. */
  async start(
    name: string,
    command: readonly string[],
    isReady: () => Promise<boolean>,
    options: SpawnOptions = {},
  ): Promise<Bun.Subprocess> {
    const log = join(this.#logs, `${name}.log`);
    const child = Bun.spawn([...asUser(options.user), ...command], {
      stdin: "ignore",
      stdout: openSync(log, "a"),
      stderr: openSync(log, "a"),
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#running.push(child);
    const begun = performance.now();
    for (;;) {
      if (await isReady().catch(() => false)) return child;
      const isLate = performance.now() - begun > readyWaitMs;
      if (child.exitCode !== null || isLate) {
        const said = readFileSync(log, "utf8").trim().split("\n").slice(-12).join("\n");
        throw new Error(`${name} ${isLate ? "does not answer" : "ended"}; it said:\n${said}`);
      }
      await Bun.sleep(pollMs);
    }
  }

  /** Runs it to its end and returns what it printed; throws when it fails. */
  run(command: readonly string[], options: SpawnOptions = {}): string {
    const { cwd, env } = options;
    const { stdout, stderr, exitCode } = Bun.spawnSync([...asUser(options.user), ...command], {
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    if (exitCode === 0) return stdout.toString();
    throw new Error(`${command.join(" ")} failed: ${stderr.toString().trim().slice(-500)}`);
  }

  async stop(): Promise<void> {
    for (const child of this.#running.splice(0).reverse()) {
      child.kill("SIGTERM");
      const ended = await Promise.race([child.exited, Bun.sleep(stopWaitMs).then(() => undefined)]);
      if (ended === undefined) child.kill("SIGKILL");
      await child.exited;
    }
  }
}

/** A port of 127.0.0.1 that nobody listens on. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** Resolves to true when something accepts connections there. */
export async function accepts(port: number): Promise<boolean> {
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => {} } });
  socket.end();
  return true;
}

/** A user to run servers as that refuse to be root; undefined when this process is not root. */
export function unprivilegedUser(): string | undefined {
  if (process.getuid?.() !== 0) return undefined;
  return readFileSync("/etc/passwd", "utf8").includes("\npostgres:") ? "postgres" : "nobody";
}

/** Gives a folder to that user. */
export function giveTo(user: string | undefined, path: string): void {
  if (user === undefined) return;
  const line = readFileSync("/etc/passwd", "utf8").split("\n");
  const [, , uid, gid] = line.find((entry) => entry.startsWith(`${user}:`))?.split(":") ?? [];
  chownSync(path, Number(uid), Number(gid));
}

function asUser(user: string | undefined): string[] {
  return user === undefined ? [] : ["setpriv", `--reuid=${user}`, "--clear-groups", "--"];
}
