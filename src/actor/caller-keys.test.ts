import { expect, test } from "bun:test";
import type { Actor } from "./actor.ts";
import { findKeyed } from "./caller-keys.ts";
import type { Write } from "./write.ts";

test("that the disk does not know a key counts until the actor has recorded something", () => {
  const shard = { keys: { mayHave: () => true } };
  const actor = { number: 1, keyed: undefined, tipPosition: 5, shard };
  const keyed = { contentHash: undefined, stored: null, askedAt: 5 };
  const write = { actor: actor as unknown as Actor, keyed } as unknown as Write;
  expect(findKeyed(write, "k")).toBeUndefined();
  // Under the same key, say, and settled already, while this one waited for space.
  actor.tipPosition = 6;
  expect(findKeyed(write, "k")).toBe("ask");
});
