/**
 * What a write came back with, as it is printed, and the exit status that says it.
 */
import { type ExitCode, exitCode } from "../../exit.ts";
import { type Output, toJson } from "../../output.ts";
import type { SendOutcome } from "../../target.ts";

/** The result is on standard output, also when the write was refused: that is an answer and no failure. */
export async function printOutcome(output: Output, entity: string, outcome: SendOutcome): Promise<ExitCode> {
  await output.item({ entity, ...outcome }, sentenceOf(entity, outcome));
  return outcome.ok ? exitCode.ok : exitCode.refused;
}

function sentenceOf(entity: string, outcome: SendOutcome): string {
  if (outcome.ok) {
    const { seq, firstSeq, count, duplicate } = outcome;
    if (count === 0) return `${entity}: nothing to append, at seq ${seq}`;
    const events = count === 1 ? `seq ${seq}` : `seq ${firstSeq} to ${seq}`;
    return `${entity}: ${duplicate ? "was already appended" : "appended"}, ${events}`;
  }
  if (outcome.reason === "conflict") return `${entity}: conflict, it is at seq ${outcome.seq}`;
  const { code, details } = outcome;
  return `${entity}: rejected, ${code}${details === undefined ? "" : ` ${toJson(details)}`}`;
}
