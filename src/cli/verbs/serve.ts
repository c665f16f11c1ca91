/**
 * `warp serve`: answers clients over TCP and HTTP until it is told to stop.
 */
import { Option } from "commander";
import { jsonLogger } from "../../core/logger.ts";
import { exitCode } from "../exit.ts";
import { type Column, type Output, OutputClosed } from "../output.ts";
import { supervisedVariable } from "../own-process.ts";
import { ofVariable } from "../settings.ts";
import type { Verb } from "../verb.ts";
import { type Listening, runServer } from "./serve/run-server.ts";
import {
  formatSetting,
  kebab,
  resolveServerSettings,
  type Sourced,
  serverSettings,
  settingNames,
  shownValue,
  valuesOf,
} from "./serve/server-settings.ts";
import { supervise, supervisorGone } from "./serve/supervise.ts";

interface ServeOptions extends Readonly<Record<string, unknown>> {
  readonly config?: string;
  readonly printConfig?: true;
  readonly supervise?: true;
}

const columns: readonly Column<{ setting: string; value: string; from: string }>[] = [
  { title: "setting", of: ({ setting }) => setting },
  { title: "value", of: ({ value }) => value },
  { title: "from", of: ({ from }) => from },
];

export const serveVerb: Verb = {
  name: "serve",
  summary: "answer clients over TCP and HTTP until told to stop",
  endsBySignal: true,
  examples: [
    ["warp serve --data ./data --app banking.ts", "the application banking.ts, on 127.0.0.1:7400 and :7401"],
    ["warp serve --config warp.toml --supervise", "settings from a file; started again when it fails"],
    ["WARP_LISTEN=127.0.0.1:0 warp serve --print-config", "every setting, and where it comes from"],
  ],

  define(command) {
    for (const name of settingNames) {
      const { value, help, byDefault } = serverSettings[name];
      const usual = byDefault === undefined ? "" : ` (default: ${formatSetting(byDefault)})`;
      command.addOption(new Option(`--${kebab(name)} <${value}>`, help + usual));
    }
    command
      .addOption(ofVariable("WARP_CONFIG", new Option("--config <file>", "TOML file with settings")))
      .option("--print-config", "print every setting and where it comes from, and end")
      .option("--supervise", "run the server as a child, and start it again when it fails");
    command.addHelpText(
      "after",
      "\nEvery setting can also be a variable (--max-body is WARP_MAX_BODY) or a line of the file\n" +
        '(max-body = "16MiB"). The command line counts before variables, they before the file.',
    );
  },

  async run(command, { output, signal }) {
    const options = command.opts<ServeOptions>();
    const sourced = resolveServerSettings({
      flags: options,
      environment: process.env,
      file: options.config,
    });
    if (options.printConfig === true) {
      await output.table(rowsOf(sourced), columns);
      return exitCode.ok;
    }
    const settings = valuesOf(sourced);
    if (options.supervise === true) {
      const args = process.argv.slice(2).filter((arg) => arg !== "--supervise");
      return await supervise(args, jsonLogger(settings.logLevel));
    }
    const isSupervised = process.env[supervisedVariable] === "1";
    const stop = isSupervised ? AbortSignal.any([signal, supervisorGone()]) : signal;
    await runServer(settings, stop, (listening) => announce(listening, output));
    return exitCode.ok;
  },
};

/** Where it listens is for whoever reads it: a server that is started again may have no reader any more. */
async function announce(listening: Listening, output: Output): Promise<void> {
  try {
    await output.item(listening, sentenceOf(listening));
    await output.flush();
  } catch (thrown) {
    if (!(thrown instanceof OutputClosed)) throw thrown;
  }
}

async function* rowsOf(sourced: readonly Sourced[]) {
  for (const one of sourced) yield { setting: kebab(one.name), value: shownValue(one), from: one.from };
}

function sentenceOf({ context, listen, http }: Listening): string {
  const doors = [
    ...(listen === undefined ? [] : [`clients at ${listen}`]),
    ...(http === undefined ? [] : [`HTTP at ${http}`]),
  ];
  return `serving ${context}: ${doors.join(", ")}`;
}
