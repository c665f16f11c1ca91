/**
 * What must be in a data directory, as far as the callers of killed processes can know.
 *
 * - An operation that was acknowledged is `there` for good, one that was refused is `absent` for good.
 * - One whose caller heard nothing is `unknown` until somebody reads the directory, and from then on what was found.
 */
import type { LogLine } from "./load.ts";
import type { Answer, Operation, Refusal } from "./operations.ts";

export interface Known {
  readonly operation: Operation;
  status: "unknown" | "there" | "absent";
  /** The first seq of each part, once somebody was told or has read it. */
  firstSeqs: readonly number[] | undefined;
  /** What a caller was told when it was refused. */
  refusal: Refusal | undefined;
  /** What its caller was told when it was neither done nor rejected. */
  error: string | undefined;
}

/** How the data of an operation stands in files: in JSON, and in a table, where all rows have it one behind the other. */
export function textsOf(op: string): string[] {
  return [`"op":"${op}"`, `${op}${op}`];
}

/** Complete lines of a log; the last one may be cut off by the end of the process. */
export function logLines(text: string): LogLine[] {
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LogLine);
}

export class Model {
  readonly operations = new Map<string, Known>();
  readonly complaints: string[] = [];
  /** By id: an erasure that was asked for, and whether its receipt came or somebody has seen that it is gone. */
  readonly erasures = new Map<string, "asked" | "gone">();
  /** What was written under entities that are gone, by id. */
  readonly #buried = new Map<string, Operation[]>();

  /** The entity is gone for good: nothing of its operations may be found. */
  bury(id: string): void {
    this.erasures.set(id, "gone");
    for (const [op, { operation }] of this.operations) {
      if (operation.parts[0]?.[0] !== id) continue;
      this.operations.delete(op);
      this.#buried.set(id, [...(this.#buried.get(id) ?? []), operation]);
    }
  }

  /** Writes to entities that are gone, which nobody may do again. */
  get buriedOperations(): Operation[] {
    return [...this.#buried.values()].flat();
  }

  /** What must not be found in any file: ids, data, keys. */
  get buriedTexts(): string[] {
    return [...this.#buried].flatMap(([id, operations]) => [
      id,
      ...operations.flatMap(({ op, key }) => [...textsOf(op), ...(key === undefined ? [] : [key])]),
    ]);
  }

  /** Takes in what a process wrote. Only `errorsAllowed` may have been told to callers. */
  take(lines: readonly LogLine[], errorsAllowed: readonly string[] = []): void {
    for (const line of lines) {
      if ("try" in line && line.try.kind === "erase") {
        this.erasures.set(line.try.parts[0]?.[0] ?? "", "asked");
        this.#erasing.set(line.try.op, line.try.parts[0]?.[0] ?? "");
      } else if ("try" in line) {
        const unheard = {
          status: "unknown",
          firstSeqs: undefined,
          refusal: undefined,
          error: undefined,
        } as const;
        this.operations.set(line.try.op, { operation: line.try, ...unheard });
      } else if ("done" in line) {
        this.#answered(line.done);
      } else if ("error" in line) {
        const known = this.operations.get(line.op);
        if (known !== undefined) known.error = line.error;
        if (!errorsAllowed.includes(line.error)) this.complaints.push(`${line.op} failed: ${line.message}`);
      } else if ("failed" in line && !errorsAllowed.includes(line.failed)) {
        this.complaints.push(`the engine failed: ${line.failed} ${line.message}`);
      }
    }
  }

  /** Operations that nobody knows the end of and that may be repeated without harm. */
  unansweredKeyed(): Known[] {
    return [...this.operations.values()].filter(
      ({ operation, firstSeqs, refusal }) =>
        operation.key !== undefined && firstSeqs === undefined && refusal === undefined,
    );
  }

  /** Operations under a key with an answer, which a repeat must get again. */
  answeredKeyed(): Known[] {
    return [...this.operations.values()].filter(
      ({ operation, firstSeqs, refusal }) =>
        operation.key !== undefined && (firstSeqs !== undefined || refusal !== undefined),
    );
  }

  readonly #erasing = new Map<string, string>();

  #answered(answer: Answer): void {
    const erased = this.#erasing.get(answer.op);
    if (erased !== undefined) {
      this.bury(erased);
      return;
    }
    const known = this.operations.get(answer.op);
    if (known === undefined) {
      this.complaints.push(`${answer.op} was answered and never asked`);
    } else if ("rejected" in answer) {
      known.refusal = answer;
      known.status = "absent";
    } else {
      known.firstSeqs = answer.firstSeqs;
      known.status = "there";
    }
  }
}
