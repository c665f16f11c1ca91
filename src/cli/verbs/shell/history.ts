/**
 * The lines that were typed in earlier shells, in a file.
 *
 * - Lines may hold anything that was appended: only the user may read them.
 * - A file that cannot be read or written costs the history and nothing else; it is told once.
 */
import { closeSync, existsSync, fchmodSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";

export const historyMax = 1000;

export class History {
  readonly #file: () => string;
  readonly #warn: (why: string) => void;
  #isUsable = true;

  /** `file` may throw: not every user has a home. */
  constructor(file: () => string, warn: (why: string) => void) {
    this.#file = file;
    this.#warn = warn;
  }

  /** Newest first, as readline wants it. */
  read(): string[] {
    return this.#attempt(() => {
      const file = this.#file();
      const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];
      return lines
        .filter((line) => line !== "")
        .slice(-historyMax)
        .reverse();
    }, []);
  }

  write(lines: readonly string[]): void {
    this.#attempt(() => {
      const file = openSync(this.#file(), "w", 0o600);
      try {
        // Also when it was there before, with other rights; what is no file (/dev/null) is not ours to close to others.
        if (fstatSync(file).isFile()) fchmodSync(file, 0o600);
        writeFileSync(file, `${lines.toReversed().join("\n")}\n`);
      } finally {
        closeSync(file);
      }
    }, undefined);
  }

  #attempt<Result>(use: () => Result, otherwise: Result): Result {
    if (!this.#isUsable) return otherwise;
    try {
      return use();
    } catch (thrown) {
      this.#isUsable = false;
      this.#warn(thrown instanceof Error ? thrown.message : String(thrown));
      return otherwise;
    }
  }
}
