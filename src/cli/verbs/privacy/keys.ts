/**
 * `warp keys status` and `warp keys rotate`: the period keys that wrap the keys of entities.
 */

import { exitCode, UsageError } from "../../exit.ts";
import { formatCount } from "../../progress.ts";
import { dataOption, rootKeyCommandOption, rootKeyFileOption, rootKeyOf } from "../../settings.ts";
import type { Verb } from "../../verb.ts";
import { keysStatus, rotateKeys } from "./rotation.ts";

interface KeysVerbOptions {
  readonly data: string;
  readonly rootKeyFile?: string;
  readonly rootKeyCommand?: string;
}

export const keysVerb: Verb = {
  name: "keys",
  summary: "show the period keys, or replace them",
  examples: [
    ["warp keys status", "the periods, and how many keys of entities each wraps"],
    [
      "warp keys rotate",
      "wraps all of them by a new period and destroys the old; the server must be stopped",
    ],
  ],

  define(command) {
    command
      .argument("<status|rotate>", "what to do")
      .addOption(dataOption())
      .addOption(rootKeyFileOption())
      .addOption(rootKeyCommandOption());
  },

  async run(command, { output }) {
    const [action] = command.args;
    const options = command.opts<KeysVerbOptions>();
    const settings = { dataDir: options.data, rootKey: rootKeyOf(options) };
    if (action === "rotate") {
      const { period, keys } = await rotateKeys(settings);
      const text = `period ${period} wraps ${formatCount(keys)} keys; the periods before are destroyed`;
      await output.item({ period, keys }, text);
      return exitCode.ok;
    }
    if (action !== "status") throw new UsageError("it is keys status, or keys rotate");
    await output.table(
      (async function* () {
        yield* keysStatus(settings);
      })(),
      [
        { title: "period", of: ({ period }) => String(period), align: "right" },
        { title: "since", of: ({ createdAt }) => createdAt },
        { title: "keys", of: ({ keys }) => formatCount(keys), align: "right" },
        { title: "", of: ({ isCurrent }) => (isCurrent ? "current" : "old") },
      ],
    );
    return exitCode.ok;
  },
};
