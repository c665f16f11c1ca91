/**
 * `warp erasures ls` and `warp erasures verify`: the ledgers of what was erased.
 */
import type { ErasureListed } from "../../../core/receipt.ts";
import { exitCode, UsageError } from "../../exit.ts";
import { formatTime } from "../../moment.ts";
import type { Column } from "../../output.ts";
import { formatCount, formatCounted } from "../../progress.ts";
import { addTargetOptions, targetSettings } from "../../settings.ts";
import type { Verb } from "../../verb.ts";

const columns: readonly Column<ErasureListed>[] = [
  { title: "shard", of: ({ shard }) => String(shard), align: "right" },
  { title: "entry", of: ({ entry }) => String(entry), align: "right" },
  { title: "erased", of: ({ erasedAt }) => formatTime(erasedAt) },
  { title: "of", of: ({ kind }) => kind },
  { title: "number", of: ({ number }) => String(number), align: "right" },
  { title: "key", of: ({ fingerprint }) => fingerprint },
  { title: "events or parts", of: ({ removed }) => formatCount(removed.events), align: "right" },
  { title: "state", of: ({ isComplete }) => (isComplete ? "complete" : "pending") },
  { title: "reason", of: ({ reason }) => reason },
  { title: "by", of: ({ by }) => by },
];

export const erasuresVerb: Verb = {
  name: "erasures",
  summary: "list what was erased, or prove the ledger unbroken",
  examples: [
    ["warp erasures ls", "every erasure: no name, no data, only numbers and references"],
    ["warp erasures verify", "exit status 0: no entry was changed or taken out"],
  ],

  define(command) {
    command.argument("<ls|verify>", "what to do");
    addTargetOptions(command);
  },

  async run(command, { output, withTarget }) {
    const [action] = command.args;
    if (action !== "ls" && action !== "verify") throw new UsageError("it is erasures ls, or erasures verify");
    return await withTarget(targetSettings(command, false), async (target) => {
      if (action === "ls") {
        await output.table(target.erasures(), columns);
        return exitCode.ok;
      }
      // Reading verifies: a broken chain throws CORRUPT with file and offset.
      let [entries, pending, subjects] = [0, 0, 0];
      for await (const { isComplete, kind } of target.erasures()) {
        entries++;
        if (kind === "subject") subjects++;
        if (!isComplete) pending++;
      }
      const of = `${formatCount(entries - subjects)} of entities and ${formatCount(subjects)} of subjects`;
      const text = `${formatCounted(entries, "erasure")} (${of}), ${formatCount(pending)} of them pending; the chain is unbroken`;
      await output.item({ entries, subjects, pending }, text);
      return exitCode.ok;
    });
  },
};
