/**
 * `warp export ENTITY`: everything that the context holds of an entity, as NDJSON with a manifest.
 */
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { toWarpError } from "../../../core/errors.ts";
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
      const bytes = await writeFile(to, target.export(entity));
      await output.item({ entity, file: to, bytes }, `exported ${entity} to ${to}: ${formatBytes(bytes)}`);
      return exitCode.ok;
    });
  },
};

async function writeFile(path: string, pieces: AsyncIterable<string>): Promise<number> {
  const file = createWriteStream(path, { flags: "wx", mode: 0o600, flush: true });
  let bytes = 0;
  try {
    for await (const text of pieces) {
      bytes += Buffer.byteLength(text);
      if (!file.write(text)) await new Promise((resolve) => file.once("drain", resolve));
    }
    file.end();
    await finished(file);
    return bytes;
  } catch (thrown) {
    file.destroy();
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}
