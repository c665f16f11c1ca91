/**
 * `warp entities`: the ids of a context, in the byte order of their UTF-8.
 */
import { exitCode } from "../exit.ts";
import type { Column } from "../output.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { EntityQuery } from "../target.ts";
import type { Verb } from "../verb.ts";

const columns: readonly Column<{ readonly id: string; readonly seq: number }>[] = [
  { title: "entity", of: ({ id }) => id },
  { title: "events", of: ({ seq }) => String(seq), align: "right" },
];

export const entitiesVerb: Verb = {
  name: "entities",
  summary: "list the entities, with the number of their events",
  examples: [
    ["warp entities --limit 20", "the first twenty"],
    [
      "warp entities --prefix order- --after order-1999 --json",
      "those that follow order-1999, for a program",
    ],
  ],

  define(command) {
    addTargetOptions(command)
      .option("--prefix <text>", "only ids that start with this")
      .option("--after <id>", "only ids behind this one")
      .option("--limit <count>", "list at most this many", wholeNumber(1));
  },

  async run(command, { output, withTarget }) {
    const { prefix, after, limit } = command.opts<EntityQuery>();
    return await withTarget(targetSettings(command, false), async (target) => {
      const query = {
        ...(prefix === undefined ? {} : { prefix }),
        ...(after === undefined ? {} : { after }),
        ...(limit === undefined ? {} : { limit }),
      };
      await output.table(target.entities(query), columns);
      return exitCode.ok;
    });
  },
};
