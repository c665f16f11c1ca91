/**
 * What `check` says when something is not as it should be.
 *
 * A check goes on after a finding where it can, and lists at most {@link listedMax} of one kind: of a million damaged
 * slots the first ones help.
 */
import { WarpError } from "../../core/errors.ts";

export interface Finding {
  /** `damage`: data is lost or wrong, or may be. `notice`: the engine repairs it by itself or never reads it. */
  readonly severity: "damage" | "notice";
  /** Relative to the data directory. */
  readonly file: string;
  readonly what: string;
  /** Where: `offset` in the file, or `row`, `number`, `seq` of a table's row. */
  readonly details: Readonly<Record<string, unknown>>;
}

const listedMax = 20;

export function damage(file: string, what: string, details: Finding["details"] = {}): Finding {
  return { severity: "damage", file, what, details };
}

export function notice(file: string, what: string, details: Finding["details"] = {}): Finding {
  return { severity: "notice", file, what, details };
}

/** The findings of one part of the check: cut when they are many, and closed with one more when it throws. */
export function* part(file: string, findings: Iterable<Finding>): Generator<Finding> {
  let listed = 0;
  try {
    for (const finding of findings) {
      listed++;
      if (listed <= listedMax) {
        yield finding;
        continue;
      }
      yield damage(file, "there is more of this, and it is not listed");
      return;
    }
  } catch (error) {
    const details = error instanceof WarpError ? error.details : {};
    yield damage(file, error instanceof Error ? error.message : String(error), {
      ...details,
      file: undefined,
    });
  }
}
