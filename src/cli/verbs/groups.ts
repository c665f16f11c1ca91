/**
 * `warp groups`: how far groups of consumers are, and what they parked.
 */
import { exitCode, UsageError } from "../exit.ts";
import { formatTime } from "../moment.ts";
import type { Column } from "../output.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { GroupStatus, ParkedEvent } from "../target.ts";
import type { Verb } from "../verb.ts";

const right = { align: "right" } as const;

const statusColumns: readonly Column<GroupStatus>[] = [
  { title: "group", of: ({ name }) => name },
  { title: "members", of: ({ members }) => String(members), ...right },
  { title: "lag", of: ({ lag }) => String(lag), ...right },
  { title: "under way", of: ({ underWay }) => String(underWay), ...right },
  { title: "waiting", of: ({ waiting }) => String(waiting), ...right },
  { title: "parked", of: ({ parked }) => String(parked), ...right },
  { title: "oldest parked", of: ({ oldestParkedAt: at }) => (at === undefined ? "-" : formatTime(at)) },
];

const parkedColumns: readonly Column<ParkedEvent>[] = [
  { title: "parked", of: ({ parkedAt }) => formatTime(parkedAt) },
  { title: "shard", of: ({ shard }) => String(shard), ...right },
  { title: "number", of: ({ number }) => String(number), ...right },
  { title: "seq", of: ({ seq }) => String(seq), ...right },
  { title: "attempts", of: ({ attempts }) => String(attempts), ...right },
  { title: "reason", of: ({ reason }) => (reason === "" ? "-" : reason) },
];

export const groupsVerb: Verb = {
  name: "groups",
  summary: "list groups of consumers, and what they parked",
  examples: [
    ["warp groups --addr 127.0.0.1:7400", "how far each group is"],
    ["warp groups parked mailer --addr 127.0.0.1:7400", "what the group mailer parked, oldest first"],
    ["warp groups replay mailer --addr 127.0.0.1:7400", "deliver it again, to the members there are"],
    ["warp groups remove mailer", "forget a group without members"],
  ],

  define(command) {
    command.argument("[action]", "parked, replay or remove").argument("[group]", "name of the group");
    addTargetOptions(command).option(
      "--limit <count>",
      "at most this many parked events",
      wholeNumber(1, 10_000),
    );
  },

  async run(command, { output, withTarget }) {
    const [action, group] = command.args;
    const { limit } = command.opts<{ limit?: number }>();
    if (action !== undefined && !/^(parked|replay|remove)$/.test(action)) {
      throw new UsageError(
        `groups can be listed, or parked, replay and remove be asked of one, not ${action}`,
      );
    }
    if (action !== undefined && group === undefined) throw new UsageError(`${action} is asked of a group`);
    return await withTarget(targetSettings(command, false), async ({ groups }) => {
      const name = group ?? "";
      if (action === undefined) {
        await output.table(rowsOf(await groups.status()), statusColumns);
      } else if (action === "parked") {
        await output.table(rowsOf(await groups.parked(name, limit)), parkedColumns);
      } else if (action === "replay") {
        const replayed = await groups.replay(name, limit);
        await output.item({ replayed }, `${replayed} delivered again`);
      } else {
        await groups.remove(name);
        await output.item({ removed: name }, `forgot ${name}`);
      }
      return exitCode.ok;
    });
  },
};

async function* rowsOf<Row>(rows: readonly Row[]): AsyncGenerator<Row> {
  yield* rows;
}
