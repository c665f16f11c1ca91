import { describe, expect, test } from "bun:test";
import { placedText, shardOf } from "./placement.ts";

describe("placement", () => {
  test("never changes: these are the values for every client in every language", () => {
    const ids = ["a", "alice", "order-1", "{eu}:order-1", "größe", "🦊", "e".repeat(512)];
    expect(ids.map((id) => shardOf(id, 16))).toEqual([3, 14, 12, 14, 12, 3, 15]);
    expect(ids.map((id) => shardOf(id, 256))).toEqual([179, 30, 156, 206, 60, 147, 255]);
    expect(ids.map((id) => shardOf(id, 1))).toEqual(ids.map(() => 0));
  });

  test("goes by the tag when there is one that is not empty", () => {
    expect(placedText("{eu}:order-1")).toBe("eu");
    expect(placedText("order:{eu}:{us}")).toBe("eu");
    expect(placedText("a}b{c}")).toBe("c");
    for (const id of ["{}x", "x{", "{x", "x}", "}{", "a{}{b}"]) expect(placedText(id)).toBe(id);
    expect(shardOf("x{größe}y", 256)).toBe(shardOf("{größe}", 256));
    expect(shardOf("x{größe}y", 256)).toBe(shardOf("größe", 256));
  });

  test("spreads ids that count up evenly", () => {
    for (const name of ["entity-", "", "user:", "größe-"]) {
      const counts = new Array<number>(64).fill(0);
      for (let i = 0; i < 64_000; i++) {
        const shard = shardOf(`${name}${i}`, 64);
        counts[shard] = (counts[shard] ?? 0) + 1;
      }
      // 1000 each; six standard deviations are about 190.
      for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(190);
    }
  });
});
