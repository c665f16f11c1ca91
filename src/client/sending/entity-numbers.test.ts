import { expect, test } from "bun:test";
import type { EntityName } from "../../net/protocol/entity-number.ts";
import { EntityNumbers, neverCalled, type Numberable } from "./entity-numbers.ts";

const handle = (id: string): Numberable => ({ id, number: neverCalled });

/** As a call does that can be encoded. */
function call(numbers: EntityNumbers, entity: Numberable): EntityName {
  const name = numbers.nameOf(entity);
  if (typeof name === "object") numbers.keep(entity, name.number);
  return name;
}

function numbersOf(limit: number): EntityNumbers {
  const numbers = new EntityNumbers();
  numbers.begin(limit);
  return numbers;
}

test("the second call tells a number, the third names the entity by it", () => {
  const numbers = numbersOf(4);
  const alice = handle("alice");
  expect(call(numbers, alice)).toBe("alice");
  expect(call(numbers, alice)).toEqual({ number: 0, id: "alice" });
  expect(call(numbers, alice)).toBe(0);
});

test("a number whose call could not be encoded is told again", () => {
  const numbers = numbersOf(4);
  const alice = handle("alice");
  call(numbers, alice);
  expect(numbers.nameOf(alice)).toEqual({ number: 0, id: "alice" });
  expect(numbers.nameOf(alice)).toEqual({ number: 0, id: "alice" });
});

test("without a connection, and for what is no id, there are none", () => {
  const none = new EntityNumbers();
  const alice = handle("alice");
  for (let i = 0; i < 20; i++) expect(call(none, alice)).toBe("alice");
  const long = handle("x".repeat(513));
  const numbers = numbersOf(4);
  for (let i = 0; i < 3; i++) expect(call(numbers, long)).toBe(long.id);
});

test("a new connection knows none of the old one's", () => {
  const numbers = numbersOf(4);
  const [alice, bob] = [handle("alice"), handle("bob")];
  for (let i = 0; i < 3; i++) call(numbers, alice);
  numbers.begin(4);
  for (let i = 0; i < 2; i++) call(numbers, bob);
  expect(call(numbers, bob)).toBe(0);
  expect(call(numbers, alice)).toEqual({ number: 1, id: "alice" });
});

test("what is called goes on having its number, what is not loses it to others", () => {
  const numbers = numbersOf(8);
  const busy = Array.from({ length: 4 }, (_, i) => handle(`busy-${i}`));
  const idle = Array.from({ length: 4 }, (_, i) => handle(`idle-${i}`));
  for (let i = 0; i < 3; i++) for (const one of [...busy, ...idle]) call(numbers, one);
  const late = Array.from({ length: 4 }, (_, i) => handle(`late-${i}`));
  for (let i = 0; i < 200; i++) {
    for (const one of busy) expect(call(numbers, one)).toBeNumber();
    for (const one of late) call(numbers, one);
  }
  for (const one of late) expect(call(numbers, one)).toBeNumber();
  for (const one of idle) expect(call(numbers, one)).not.toBeNumber();
});

test("an entity of which many are called once in a while rarely takes a number from another", () => {
  const numbers = numbersOf(100);
  const many = Array.from({ length: 10_000 }, (_, i) => handle(`e-${i}`));
  for (const one of many) call(numbers, one);
  let told = 0;
  for (const one of many) if (typeof call(numbers, one) === "object") told++;
  expect(told).toBeGreaterThan(100);
  expect(told).toBeLessThan(100 + many.length / 8);
});
