import { expect, test } from "bun:test";
import type { Actor } from "../actor.ts";
import type { ShardState } from "../storage/shard-state.ts";
import { Subjects, type SubjectsParts } from "./subjects.ts";

/** As many as are kept before some are forgotten. */
const kept = 65_536;

/** The shard's names have whom `has` says. */
function subjectsOf(has: (name: string) => boolean) {
  const shard = {
    index: 0,
    settledPosition: 0,
    ids: { mayHave: has },
    erased: { any: false },
  } as unknown as ShardState;
  const reading = { load: async () => ({ number: 7 }) };
  const subjects = new Subjects({ shards: [shard], reading, residency: {} } as unknown as SubjectsParts);
  return (...names: string[]) =>
    subjects.find(
      shard,
      names.map((subject) => ({ subject }) as Parameters<Subjects["find"]>[1][number]),
    );
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `s${i}`);

test("no subject of an append is forgotten before it has its number, however many are known", () => {
  for (const known of [kept - 2, kept - 1, kept, kept + 1]) {
    const find = subjectsOf(() => false);
    find(...many(known));
    const [alice, bob] = find("alice", "bob") as Actor[];
    // They are recorded.
    for (const actor of [alice, bob]) if (actor !== undefined) actor.tipPosition = 1;
    expect((find("alice") as Actor[])[0]).toBe(alice as Actor);
    expect((find("bob") as Actor[])[0]).toBe(bob as Actor);
  }
});

test("an append that names two who have to be read finds both, also while nothing can be forgotten", async () => {
  const find = subjectsOf((name) => name.includes("alice") || name.includes("bob"));
  for (const actor of find(...many(kept)) as Actor[]) actor.tipPosition = 1;
  let tries = 0;
  for (let found = find("alice", "bob"); "ready" in found; found = find("alice", "bob")) {
    expect(++tries).toBeLessThan(5);
    await found.ready;
  }
  expect(tries).toBe(2);
});
