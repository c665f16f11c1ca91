/**
 * A load whose n-th write or sync of some files fails, by strace's injection of errors.
 *
 * What must hold: callers are told that the outcome is unknown, the engine says what failed and where, the process goes
 * on and ends by itself, and the next start has everything that was acknowledged.
 */
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAndVerify } from "../crash/campaign.ts";
import type { LoadOrder, LogLine } from "../crash/load.ts";
import { logLines, Model } from "../crash/model.ts";

export interface DiskError {
  /** Files that the error is for, relative to the data directory. */
  readonly files: readonly string[];
  readonly call: "sync" | "write";
  readonly errno: "EIO" | "ENOSPC";
  /** Which call of each thread fails; all later ones fail too when it goes on. */
  readonly nth: number;
  readonly goesOn: boolean;
}

export interface DiskErrorResult {
  /** False when the process never made so many calls. */
  readonly wasHit: boolean;
  readonly complaints: readonly string[];
}

const calls = { sync: "fsync,fdatasync", write: "write,writev,pwrite64,pwritev,pwritev2" } as const;
/** For a process that hangs alone: it takes seconds, under strace and on a disk that others keep busy some ten of them. */
const endsWithinMs = 400_000;
/** What callers may be told when the disk fails. */
const allowed = ["OUTCOME_UNKNOWN", "ENGINE_FAILED", "IO_ERROR", "DISK_FULL"];

export async function loadWithDiskError(
  error: DiskError,
  seed: number,
  random: () => number,
): Promise<DiskErrorResult> {
  const home = mkdtempSync(join(tmpdir(), "warp-faults-"));
  const [dataDir, trace, log] = [join(home, "data"), join(home, "trace"), join(home, "log")];
  const order: LoadOrder = { dataDir, seed, run: "f", callers: 12, operations: 500, pauses: true };
  const model = new Model();
  const when = `${error.nth}${error.goesOn ? "+" : ""}`;
  const child = Bun.spawn(
    [
      ...["strace", "-f", "--seccomp-bpf", "-e", "signal=none", "-s", "0", "-o", trace],
      ...error.files.flatMap((file) => ["-P", join(dataDir, file)]),
      ...[
        "-e",
        `trace=${calls[error.call]}`,
        "-e",
        `inject=${calls[error.call]}:error=${error.errno}:when=${when}`,
      ],
      ...[process.execPath, join(import.meta.dir, "../crash/load.ts"), JSON.stringify(order)],
    ],
    { stdout: openSync(log, "a"), stderr: "inherit", env: { ...process.env, NODE_ENV: "production" } },
  );
  const timer = setTimeout(() => child.kill("SIGKILL"), endsWithinMs);
  await child.exited;
  clearTimeout(timer);
  const lines = logLines(readFileSync(log, "utf8"));
  const wasHit = readFileSync(trace, "latin1").includes("(INJECTED)");
  model.take(lines, allowed);
  const complaints = [...model.complaints, ...endComplaints(lines, error, child, wasHit)];
  const verified = await openAndVerify(home, model, random);
  complaints.push(...verified.complaints);
  if (complaints.length === 0) rmSync(home, { recursive: true });
  return {
    wasHit,
    complaints: complaints.slice(0, 12).map((one) => `${JSON.stringify(error)}: ${one} [${home}]`),
  };
}

function endComplaints(
  lines: readonly LogLine[],
  error: DiskError,
  child: Bun.Subprocess,
  wasHit: boolean,
): string[] {
  const complaints: string[] = [];
  if (child.signalCode !== null) complaints.push(`the process was ended by ${child.signalCode}`);
  const isClosed = lines.some((line) => "mark" in line && line.mark === "closed");
  const failures = lines.flatMap((line) => ("failed" in line ? [line] : []));
  if (!isClosed && failures.length === 0) complaints.push("it neither failed nor closed");
  const answered = lines.filter((line) => "done" in line || "error" in line).length;
  if (answered !== lines.filter((line) => "try" in line).length)
    complaints.push("some callers got no answer");
  const folders = error.files.map((file) => file.split("/")[0] ?? "");
  for (const { failed, details } of failures) {
    const file = (details as { file?: unknown }).file;
    if (!folders.some((folder) => String(file).includes(folder)))
      complaints.push(`${failed} names the file ${String(file)}`);
  }
  if (wasHit && failures.length === 0) complaints.push("nothing was said of the failure");
  return complaints;
}
