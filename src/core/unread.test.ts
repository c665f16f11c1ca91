import { expect, test } from "bun:test";
import { Unread } from "./unread.ts";

const delivered = (delivery: number, entity: string) => ({ delivery, event: { entity } });

function allOf(unread: Unread<ReturnType<typeof delivered>>): number[] {
  const all: number[] = [];
  for (let one = unread.shift(); one !== undefined; one = unread.shift()) all.push(one.delivery);
  return all;
}

test("what comes again takes the place of what came before", () => {
  const unread = new Unread<ReturnType<typeof delivered>>();
  for (const [i, entity] of ["a", "b", "c"].entries()) unread.add(delivered(i + 1, entity));
  unread.add(delivered(4, "b"));
  expect(allOf(unread)).toEqual([1, 4, 3]);
  unread.add(delivered(5, "b"));
  expect(allOf(unread)).toEqual([5]);
});

test("what is withdrawn goes, and not what came again in its place", () => {
  const unread = new Unread<ReturnType<typeof delivered>>();
  for (const [i, entity] of ["a", "b", "c"].entries()) unread.add(delivered(i + 1, entity));
  unread.add(delivered(4, "b"));
  unread.withdraw([1, 2, 9]);
  expect(allOf(unread)).toEqual([4, 3]);
  unread.add(delivered(5, "a"));
  unread.clear();
  expect(allOf(unread)).toEqual([]);
});
