import { expect, test } from "bun:test";
import type { Folding } from "../actor/folding.ts";
import { Filter } from "./filter.ts";
import { RecentChunks } from "./recent-chunks.ts";

const entityFilter = () =>
  new Filter({ entity: "alice", stored: true }, { shards: 1, folding: undefined as unknown as Folding });

test("a page that was read before an erasure is not kept behind it", () => {
  const recent = new RecentChunks();
  const { forgotten } = recent;
  recent.forget();
  recent.add(entityFilter(), 0, { shard: 0, after: 3, upTo: 9, chunks: [] }, forgotten);
  expect(recent.find(entityFilter(), 0, 0, 3)).toBeUndefined();
});

test("a page is shared among those who know the entity by the same number", () => {
  const filter = entityFilter();
  const recent = new RecentChunks();
  const page = { shard: 0, after: 3, upTo: 9, chunks: [] };
  recent.add(filter, 0, page, recent.forgotten);
  expect(recent.find(filter, 0, 0, 3)).toBe(page);
  // It could lack the erasure of number 7, which has no id any more.
  expect(recent.find(filter, 7, 0, 3)).toBeUndefined();
});
