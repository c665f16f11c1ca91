/**
 * Runs the command line, from its sources or compiled, as a process of its own, the way a user would.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const root = join(import.meta.dir, "../..");

/** What starts the command line; a compiled one is its path alone. */
export type Program = readonly string[];
export const fromSources: Program = [process.execPath, join(root, "src/main.ts")];
/** The binary that the checks have compiled (`WARP_TEST_BINARY`); undefined when tests are run by hand. */
export const compiledBinary = process.env.WARP_TEST_BINARY;
/** What tests run unless they say otherwise: it is the same from its sources, and starts slower. */
export const tested: Program = compiledBinary === undefined ? fromSources : [compiledBinary];

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly process: Bun.Subprocess<"pipe", "pipe", "pipe">;
  /** Resolves when the process has ended and everything it wrote is read. */
  readonly ended: Promise<Ended>;
}

/** Starts `warp ARGS`; its standard input stays open until the test ends it. */
export function startWarp(
  args: readonly string[],
  environment: Record<string, string> = {},
  program = tested,
): Started {
  const started = Bun.spawn([...program, ...args], {
    cwd: root,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_COLOR: "1", ...environment },
  });
  const ended = Promise.all([
    started.exited,
    new Response(started.stdout).text(),
    new Response(started.stderr).text(),
  ]).then(([, stdout, stderr]) => ({ code: started.exitCode, stdout, stderr }));
  return { process: started, ended };
}

/** Runs `warp ARGS` to its end with nothing, or `input`, on standard input. */
export async function runWarp(
  args: readonly string[],
  input?: string,
  environment?: Record<string, string>,
  program = tested,
): Promise<Ended> {
  const started = startWarp(args, environment, program);
  if (input !== undefined) started.process.stdin.write(input);
  await started.process.stdin.end();
  return await started.ended;
}

/** What a command printed with `--json`. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), "warp-e2e-"));
}
