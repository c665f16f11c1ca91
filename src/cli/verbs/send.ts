/**
 * `warp send ENTITY COMMAND [INPUT]`: runs a command of the application on an entity.
 */
import { printOutcome } from "../output.ts";
import { addTargetOptions, addWriteOptions, json, targetSettings, writeOptions } from "../settings.ts";
import type { Verb } from "../verb.ts";

export const sendVerb: Verb = {
  name: "send",
  summary: "run a command of the application on an entity",
  examples: [
    ['warp send alice debit \'{"cents":1000,"ref":"rent"}\' --app banking.ts', "a command with its input"],
    ["warp send alice account.close --addr 127.0.0.1:7400", "on a server; the name may be qualified"],
  ],

  define(command) {
    command
      .argument("<entity>", "id of the entity")
      .argument("<command>", "name of the command, also as aggregate.command")
      .argument("[input]", "its input, as JSON");
    addWriteOptions(addTargetOptions(command));
  },

  async run(command, { output, withTarget }) {
    const [entity = "", name = "", text] = command.args;
    const input = text === undefined ? undefined : json(text);
    return await withTarget(targetSettings(command, false), async (target) => {
      const outcome = await target.send(entity, name, input, writeOptions(command));
      return await printOutcome(output, entity, outcome);
    });
  },
};
