import { expect, test } from "bun:test";
import type { Folding } from "../actor/folding.ts";
import { Filter } from "./filter.ts";
import { RecentChunks } from "./recent-chunks.ts";

test("a page is shared among those who know the entity by the same number", () => {
  const filter = new Filter(
    { entity: "alice", stored: true },
    { shards: 1, folding: undefined as unknown as Folding },
  );
  const recent = new RecentChunks();
  const page = { shard: 0, after: 3, upTo: 9, chunks: [] };
  recent.add(filter, 0, page);
  expect(recent.find(filter, 0, 0, 3)).toBe(page);
  // It could lack the erasure of number 7, which has no id any more.
  expect(recent.find(filter, 7, 0, 3)).toBeUndefined();
});
