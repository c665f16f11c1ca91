import { describe, expect, test } from "bun:test";
import type { Target } from "../../target.ts";
import type { Verb } from "../../verb.ts";
import { complete } from "./complete.ts";

const ids = ["alice", "alan", "b c", "bob"];
const target: Pick<Target, "entities" | "commands" | "aggregates"> = {
  aggregates: ["account", "profile"],
  commands: ["account.debit", "account.deposit", "profile.rename"],
  async *entities({ prefix = "", limit = ids.length } = {}) {
    for (const id of ids.filter((one) => one.startsWith(prefix)).slice(0, limit)) yield { id, seq: 1 };
  },
};
const verbs = ["get", "send", "entities"].map((name) => ({ name }) as Verb);

async function candidates(line: string): Promise<string[]> {
  const [found] = await complete(line, verbs, ["exit"], () => ["--at", "--aggregate"], target);
  return found;
}

describe("completion", () => {
  test("of the first word has the verbs", async () => {
    expect(await candidates("")).toEqual(["get ", "send ", "entities ", "exit "]);
    expect(await candidates("e")).toEqual(["entities ", "exit "]);
  });

  test("of the second has the ids that begin so, quoted where they must be", async () => {
    expect(await candidates("get al")).toEqual(["alice ", "alan "]);
    expect(await candidates('get "b')).toEqual(['"b c" ']);
    expect(await candidates("entities a")).toEqual([]);
  });

  test("has commands behind the entity, options behind a dash, aggregates behind theirs", async () => {
    expect(await candidates("send alice de")).toEqual(["debit ", "deposit "]);
    expect(await candidates("send alice profile.")).toEqual(["profile.rename "]);
    expect(await candidates("get alice --a")).toEqual(["--at ", "--aggregate "]);
    expect(await candidates("get alice --aggregate p")).toEqual(["profile"]);
  });

  test("has nothing inside quotes that are open", async () => {
    expect(await candidates("get 'a b")).toEqual([]);
  });
});
