/**
 * The command line against a server: one process a call.
 */
import { jsonLines, runWarp } from "../e2e/command.ts";
import { Failure, type FrontEnd, type Guard, type Stored } from "./front-end.ts";

const refused = 5;
const notFound = 4;
const pending = 6;

export function openCommandLine(address: string): FrontEnd {
  const run = async (
    verb: string,
    words: readonly string[],
    options: Readonly<Record<string, string | number | boolean | undefined>> = {},
    input?: string,
  ): Promise<Record<string, unknown>[]> => {
    const flags = Object.entries(options).flatMap(([name, value]) => {
      if (value === undefined || value === false) return [];
      return value === true ? [`--${name}`] : [`--${name}=${value}`];
    });
    // Ids that look like options stand behind the two dashes.
    const args = [verb, "--json", `--addr=${address}`, ...flags, "--", ...words];
    const { code, stdout, stderr } = await runWarp(args, input);
    if (code === notFound) return [];
    if (code !== 0 && code !== refused && code !== pending)
      throw new Failure(String(JSON.parse(stderr).code));
    return jsonLines(stdout);
  };
  const guardOf = ({ expect, key }: Guard = {}) => ({ expect, key });
  const withoutEntity = ([{ entity: _, ...outcome } = {}]: Record<string, unknown>[]) => outcome;
  return {
    name: "command line",
    unspeakable: new Set(),
    async append(entity, events, guard) {
      const lines = events.map((event) => `${JSON.stringify(event)}\n`).join("");
      return withoutEntity(await run("append", [entity], { ...guardOf(guard), batch: "-" }, lines));
    },
    async send(entity, command, input, guard) {
      const words = input === undefined ? [] : [JSON.stringify(input)];
      return withoutEntity(await run("send", [entity, command, ...words], guardOf(guard)));
    },
    async seq(entity) {
      return Number((await run("get", [entity]))[0]?.seq ?? 0);
    },
    async state(entity, aggregate, at) {
      const moment = at === undefined ? {} : "seq" in at ? { at: at.seq } : timeOf(at);
      return (await run("get", [entity], { aggregate, ...moment }))[0]?.state;
    },
    async events(entity, range = {}) {
      const { direction, ...rest } = range;
      const lines = await run("events", [entity], { ...rest, reverse: direction === "backward" });
      return lines as unknown as Stored[];
    },
    async entities(query) {
      return (await run("entities", [], query)) as { id: string; seq: number }[];
    },
    export: (entity) => run("export", [entity]),
    delete: async (entity, options = {}) => (await run("delete", [entity], options))[0] ?? {},
    deletePlan: async (entity) => (await run("delete", [entity], { "dry-run": true }))[0] ?? {},
    hold: async (entity, reason) => (await run("hold", [entity], { reason }))[0]?.hold,
    async releaseHold(entity) {
      await run("hold", [entity], { release: true });
    },
    async readAll({ entity, prefix, types = [] }, from) {
      const where = typeof from === "string" ? from : new Date(from.time).toISOString();
      const words = entity === undefined ? [] : [entity];
      const typed = types.map((type) => ["type", type]);
      const options = { prefix, from: where, once: true, marks: true, ...Object.fromEntries(typed) };
      const lines = await run("tail", words, options);
      const cursor = String(lines.pop()?.caughtUp);
      return { events: lines as unknown as Stored[], cursor };
    },
    close: async () => undefined,
  };
}

function timeOf(at: { recorded: number } | { occurred: number }): Record<string, string> {
  if ("recorded" in at) return { at: new Date(at.recorded).toISOString() };
  return { "occurred-at": new Date(at.occurred).toISOString() };
}
