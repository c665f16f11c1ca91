/**
 * `warp check [DIR]`: verifies the files of a data directory, and writes nothing in them.
 *
 * The directory must not be open elsewhere. Exit status 3 means damage, and standard error names the first of it, also when
 * nobody reads the findings; notices, which the engine deals with by itself, are printed and are no damage. What is
 * journalled and not settled yet is verified block by block; the next opening settles it.
 */
import { checkDirectory, type Finding } from "../../check.ts";
import { WarpError } from "../../core/errors.ts";
import { describeFailure, exitCode } from "../exit.ts";
import { type Column, OutputClosed } from "../output.ts";
import { formatCount } from "../progress.ts";
import { dataOption, rootKeyCommandOption, rootKeyFileOption, rootKeyOf } from "../settings.ts";
import type { Verb } from "../verb.ts";

const columns: readonly Column<Finding>[] = [
  { title: "severity", of: ({ severity }) => severity },
  { title: "file", of: ({ file }) => file },
  { title: "finding", of: ({ what, details }) => `${what}${placeOf(details)}` },
];

export const checkVerb: Verb = {
  name: "check",
  summary: "verify the files of a data directory",
  examples: [
    ["warp check ./data", "exit status 0: nothing is damaged; 3: something is, and is named"],
    ["warp check ./backup --json", "one finding a line, for a program"],
  ],

  define(command) {
    command
      .argument("[dir]", "data directory (default: that of --data)")
      .addOption(dataOption())
      .addOption(rootKeyFileOption())
      .addOption(rootKeyCommandOption());
  },

  async run(command, { output, errors, endAtOnce }) {
    endAtOnce();
    const dataDir = command.args[0] ?? command.opts<{ readonly data: string }>().data;
    const rootKey = rootKeyOf(command);
    let damages = 0;
    let first: Finding | undefined;
    async function* counted(): AsyncGenerator<Finding> {
      for (const finding of checkDirectory({ dataDir, rootKey })) {
        if (finding.severity === "damage") {
          damages++;
          first ??= finding;
        }
        yield finding;
      }
    }
    const findings = counted();
    try {
      await output.table(leftOpen(findings), columns);
      if (first !== undefined) await output.flush();
    } catch (thrown) {
      if (!(thrown instanceof OutputClosed)) throw thrown;
      // The status is that of the whole directory, also when nobody reads the list any more.
      while ((await findings.next()).done !== true);
    } finally {
      await findings.return(undefined);
    }
    if (first === undefined) {
      if (!output.json) await output.item({}, `${dataDir}: no damage found`);
      return exitCode.ok;
    }
    const { file, what, details } = first;
    const count = `${formatCount(damages)} ${damages === 1 ? "finding" : "findings"} of damage, the first`;
    const failure = new WarpError("CORRUPT", `${count} in ${file}: ${what}`, { file, ...details });
    errors.write(describeFailure(failure, output.json));
    return exitCode.damage;
  },
};

/** The same items, for somebody who may stop before the last one, and leaves the rest to be taken by others. */
function leftOpen<Item>(items: AsyncGenerator<Item>): AsyncIterable<Item> {
  return { [Symbol.asyncIterator]: () => ({ next: () => items.next() }) };
}

function placeOf(details: Finding["details"]): string {
  const known = Object.entries(details).filter(([, value]) => value !== undefined);
  return known.length === 0
    ? ""
    : ` (${known.map(([name, value]) => `${name} ${String(value)}`).join(", ")})`;
}
