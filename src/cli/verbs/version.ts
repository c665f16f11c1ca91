/**
 * `warp version`: which Warp this is, and what it runs on.
 */
import manifest from "../../../package.json" with { type: "json" };
import { exitCode } from "../exit.ts";
import type { Verb } from "../verb.ts";

export const versionVerb: Verb = {
  name: "version",
  summary: "print the version of Warp and of what it runs on",
  examples: [["warp version --json", "the same for a program"]],
  define: () => undefined,
  async run(_command, { output }) {
    const { version } = manifest;
    const platform = `${process.platform}-${process.arch}`;
    const text = `warp ${version} (Bun ${Bun.version}, ${platform})`;
    await output.item({ version, bun: Bun.version, platform }, text);
    return exitCode.ok;
  },
};
