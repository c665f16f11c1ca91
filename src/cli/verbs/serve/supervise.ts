/**
 * Runs the server as a child and starts it again when it ends otherwise than it was told to.
 *
 * - The child is in a group of its own, so that Ctrl-C reaches it once, through here, and drains it.
 * - The child holds one end of a pipe; if this process is killed, the child sees the end of it and drains too.
 * - Between two starts the waiting time doubles, up to a limit; a child that ran for long starts anew at once.
 */
import type { Logger } from "../../../core/logger.ts";
import { type ExitCode, exitCode } from "../../exit.ts";
import { ownCommand, supervisedVariable } from "../../own-process.ts";

const waitMsMin = 100;
const waitMsMax = 30_000;
/** A child that ran so long had started well. */
const steadyMs = 60_000;

export async function supervise(args: readonly string[], logger: Logger): Promise<ExitCode> {
  const stop = new AbortController();
  let child: Bun.Subprocess<"pipe", "inherit", "inherit"> | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    stop.abort();
    child?.kill(name);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    for (let waitMs = waitMsMin; ; waitMs = Math.min(waitMs * 2, waitMsMax)) {
      const startedAt = performance.now();
      child = Bun.spawn([...ownCommand(), ...args], {
        stdin: "pipe",
        stdout: "inherit",
        stderr: "inherit",
        detached: true,
        env: { ...process.env, [supervisedVariable]: "1" },
      });
      const code = await child.exited;
      if (code === exitCode.ok || code === exitCode.usage) return code;
      if (stop.signal.aborted) return exitCode.failure;
      if (performance.now() - startedAt > steadyMs) waitMs = waitMsMin;
      logger.error("the server ended; it is started again", {
        exitCode: code,
        signal: child.signalCode,
        waitMs,
      });
      await pause(waitMs, stop.signal);
      if (stop.signal.aborted) return exitCode.failure;
    }
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** In a supervised child: aborted when the supervisor has gone. Does not keep the process alive. */
export function supervisorGone(): AbortSignal {
  const gone = new AbortController();
  const { stdin } = process;
  stdin.once("end", () => gone.abort()).once("error", () => gone.abort());
  // Nothing is ever sent; it is read for its end.
  stdin.resume();
  stdin.unref();
  return gone.signal;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
