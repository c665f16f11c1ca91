/**
 * `warp delete ENTITY`: erases an entity, or with `--dry-run` says what that would remove.
 */
import type { DeletePlan, PersonalCounts, Receipt } from "../../../core/receipt.ts";
import { exitCode, NotFoundError, toLine } from "../../exit.ts";
import { formatTime } from "../../moment.ts";
import { formatBytes, formatCounted, formatDuration } from "../../progress.ts";
import { addTargetOptions, targetSettings } from "../../settings.ts";
import type { Verb } from "../../verb.ts";

interface DeleteVerbOptions {
  readonly dryRun?: boolean;
  readonly reason?: string;
  readonly by?: string;
}

export const deleteVerb: Verb = {
  name: "delete",
  summary: "erase an entity: its events, states, keys and name",
  examples: [
    ["warp delete alice --dry-run", "what would be removed, and what would refuse it"],
    ["warp delete alice --reason art-17 --by ticket-4711", "erases her and prints the receipt"],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .option("--dry-run", "say what would be removed, and remove nothing")
      .option("--reason <reference>", "why: kept in the ledger, so a reference and not a name")
      .option("--by <reference>", "on whose word: kept in the ledger too");
    addTargetOptions(command);
  },

  async run(command, { output, withTarget }) {
    const [entity = ""] = command.args;
    const { dryRun, ...options } = command.opts<DeleteVerbOptions>();
    return await withTarget(targetSettings(command, false), async (target) => {
      if (dryRun === true) {
        const plan = await target.deletePlan(entity);
        // A rejection under a key is stored too.
        if (plan.events === 0 && plan.callerKeys === 0 && plan.personal.parts === 0) throw nothing(entity);
        await output.item(plan, planText(plan));
        return exitCode.ok;
      }
      const { reason, by } = options;
      const given = { ...(reason === undefined ? {} : { reason }), ...(by === undefined ? {} : { by }) };
      const receipt = await target.delete(entity, given);
      if (receipt.status === "nothing") throw nothing(entity);
      await output.item(receipt, receiptText(receipt));
      return receipt.status === "erased" ? exitCode.ok : exitCode.pending;
    });
  },
};

function nothing(entity: string): NotFoundError {
  return new NotFoundError(`there is no entity ${JSON.stringify(entity)} to delete`);
}

export function planText({
  entity,
  events,
  runs,
  snapshots,
  callerKeys,
  bytes,
  personal,
  hold,
  followers,
}: DeletePlan): string {
  const rows = [
    formatCounted(runs, "run"),
    formatCounted(snapshots, "snapshot"),
    formatCounted(callerKeys, "key"),
  ].join(", ");
  const all = formatCounted(events, "event");
  const lines = [`${entity}: ${all} (${rows}; ${formatBytes(bytes)}) would be erased`];
  if (personal.parts > 0) lines.push(`${partsText(personal)} would be unreadable`);
  if (hold !== undefined) lines.push(`it is held since ${formatTime(hold.since)}: ${toLine(hold.reason)}`);
  for (const name of followers) lines.push(`${name} would have to pass it`);
  return lines.join("\n");
}

function partsText({ parts, hosts }: PersonalCounts): string {
  const where =
    hosts === undefined ? "other entities" : formatCounted(hosts, "other entity", "other entities");
  return `${formatCounted(parts, "part")} of events of ${where}`;
}

export function receiptText(receipt: Receipt): string {
  const { entity, status, removed, personal, shard, entry, fingerprint, pending, backups } = receipt;
  // Nothing of it had left the journal yet, whose own key is destroyed; or its slot was damaged.
  const key = /^0+$/.test(fingerprint) ? "no whole key was in the vault" : `key ${fingerprint} destroyed`;
  const lines = [
    `${entity}: ${status === "erased" ? "erased" : "erasure is pending"}, ${formatCounted(removed.events, "event")}`,
  ];
  if (entry > 0 || personal.keys.length === 0)
    lines.push(`${key}; entry ${entry} of the ledger of shard ${shard}`);
  if (personal.keys.length > 0)
    lines.push(`${partsText(personal)}, under ${formatCounted(personal.keys.length, "destroyed key")}`);
  for (const what of pending) lines.push(`not done yet: ${what}`);
  for (const { target, backedUpAt, everyMs, restoredFrom } of backups) {
    if (restoredFrom === true) {
      lines.push(
        `${target} may hold the wrapped key for as long as it exists: this context was restored from it`,
      );
      continue;
    }
    const when = everyMs === undefined ? "made by hand" : `every ${formatDuration(everyMs)}`;
    const newest = backedUpAt === 0 ? "none was finished" : `the newest began ${formatTime(backedUpAt)}`;
    lines.push(`${target} may hold the wrapped key until its next backup (${when}; ${newest})`);
  }
  return lines.join("\n");
}
