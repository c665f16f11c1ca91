import { expect, test } from "bun:test";
import { GroupNumbers } from "./group-numbers.ts";

test("each entity has its own numbers, also when there are many", () => {
  const numbers = new GroupNumbers();
  const many = 100_000;
  for (let entity = 0; entity < many; entity++) expect(numbers.next(`e${entity}`)).toBe(1);
  for (let entity = 0; entity < many; entity += 7) expect(numbers.next(`e${entity}`)).toBe(2);
  expect(numbers.next("e7")).toBe(3);
  expect(numbers.next("e8")).toBe(2);
  expect(numbers.next("")).toBe(1);
});
