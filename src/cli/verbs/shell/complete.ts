/**
 * What can stand where the cursor is: verbs, ids of entities, names of commands, options.
 */
import type { Target } from "../../target.ts";
import type { Verb } from "../../verb.ts";
import { quoted, wordsOf } from "./words.ts";

const idsMax = 50;
/** Verbs whose first argument is an entity. */
const entityVerbs: ReadonlySet<string> = new Set(["append", "send", "get", "events"]);

/** The candidates for the last word of the line, as they have to be typed, and that word. */
export async function complete(
  line: string,
  verbs: readonly Verb[],
  words: readonly string[],
  optionsOf: (verb: string) => readonly string[],
  target: Pick<Target, "entities" | "commands" | "aggregates">,
): Promise<[candidates: string[], word: string]> {
  const typed = /\S*$/.exec(line)?.[0] ?? "";
  const before = wordsBefore(line, typed);
  if (before === undefined) return [[], typed];
  const starts = (candidates: readonly string[]): [string[], string] => [
    candidates.filter((candidate) => candidate.startsWith(typed)),
    typed,
  ];
  const [verb = ""] = before;
  if (before.length === 0)
    return starts([...verbs.map(({ name }) => name), ...words].map((word) => `${word} `));
  if (typed.startsWith("-")) return starts(optionsOf(verb).map((option) => `${option} `));
  if (before.at(-1) === "--aggregate") return starts(target.aggregates);
  if (!entityVerbs.has(verb)) return [[], typed];
  if (before.length === 1) return starts(await idsOf(target, typed));
  if (verb === "send" && before.length === 2) {
    const short = target.commands.map((command) => command.slice(command.indexOf(".") + 1));
    return starts([...new Set([...short, ...target.commands])].map((name) => `${name} `));
  }
  return [[], typed];
}

/** The words in front of the one being typed; undefined inside quotes. */
function wordsBefore(line: string, typed: string): string[] | undefined {
  try {
    return wordsOf(line.slice(0, line.length - typed.length));
  } catch {
    return undefined;
  }
}

async function idsOf(target: Pick<Target, "entities">, typed: string): Promise<string[]> {
  const prefix = typed.replace(/^["']/, "");
  const ids: string[] = [];
  for await (const { id } of target.entities({ prefix, limit: idsMax })) ids.push(`${quoted(id)} `);
  return ids;
}
