/** What a run leaves behind goes when its process ends: by itself, by an error, by Ctrl-C or SIGTERM; after SIGKILL it stays. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const undoing: (() => void)[] = [];

/** Calls it when the process ends; what was asked for last comes first. */
export function atEnd(undo: () => void): void {
  if (undoing.length === 0) {
    process.once("exit", () => {
      for (const one of undoing.toReversed()) one();
    });
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => process.exit(130));
    }
  }
  undoing.push(undo);
}

/** A directory for the files of this run. */
export function scratchDirectory(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `warp-${name}-`));
  // Processes that are being ended may still write for a moment.
  atEnd(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  return directory;
}
