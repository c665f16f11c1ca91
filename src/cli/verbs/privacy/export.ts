/**
 * `warp export ENTITY`: everything that the context holds of an entity, as NDJSON with a manifest.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { toWarpError } from "../../../core/errors.ts";
import { syncDirectory } from "../../../core/replace-file.ts";
import { exitCode, NotFoundError } from "../../exit.ts";
import { formatBytes } from "../../progress.ts";
import { addTargetOptions, targetSettings } from "../../settings.ts";
import type { Verb } from "../../verb.ts";

export const exportVerb: Verb = {
  name: "export",
  summary: "write everything that is held of an entity, as NDJSON with a manifest",
  examples: [
    ["warp export alice --to alice.ndjson", "events, states and what else is known, hashed in the last line"],
    ["warp export alice | jq 'select(.kind == \"state\")'", "on standard output"],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .option("--to <file>", "write to this file, which must not exist (default: standard output)");
    addTargetOptions(command);
  },

  async run(command, { output, withTarget }) {
    const [entity = ""] = command.args;
    const { to } = command.opts<{ to?: string }>();
    return await withTarget(targetSettings(command, false), async (target) => {
      const isEntity = (await target.seq(entity)) > 0;
      if (!isEntity && (await target.deletePlan(entity)).personal.parts === 0)
        throw new NotFoundError(`the entity ${JSON.stringify(entity)} has no events`);
      if (to === undefined) {
        for await (const text of target.export(entity)) await output.raw(text);
        return exitCode.ok;
      }
      const bytes = await writeNewFile(to, target.export(entity));
      await output.item({ entity, file: to, bytes }, `exported ${entity} to ${to}: ${formatBytes(bytes)}`);
      return exitCode.ok;
    });
  },
};

/**
 * Writes a file that must not exist, for its owner's eyes only, and returns its bytes when they are durable. What cannot be
 * written to its end leaves no file behind. Errors: IO_ERROR, DISK_FULL, and what `pieces` fails with.
 */
export async function writeNewFile(path: string, pieces: AsyncIterable<string>): Promise<number> {
  const file = await open(path, "wx", 0o600).catch((thrown: unknown) => {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  });
  try {
    const bytes = await writeAll(file, pieces).finally(() => file.close());
    // Whoever exports may delete next: the file has its name when this says so.
    syncDirectory(dirname(path));
    return bytes;
  } catch (thrown) {
    await rm(path, { force: true });
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}

async function writeAll(file: FileHandle, pieces: AsyncIterable<string>): Promise<number> {
  let bytes = 0;
  for await (const text of pieces) {
    const piece = Buffer.from(text);
    for (let at = 0; at < piece.length; ) at += (await file.write(piece, at)).bytesWritten;
    bytes += piece.length;
  }
  await file.sync();
  return bytes;
}
