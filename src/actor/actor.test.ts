import { expect, test } from "bun:test";
import { Filter } from "../shard/files/filter.ts";
import { Actor } from "./actor.ts";
import { ShardState } from "./storage/shard-state.ts";

function actor(): Actor {
  const shard = new ShardState({
    ...{ index: 0, writer: 0, epoch: 0, settledPosition: 0, nextNumber: 1, lastRecordedAt: 0 },
    ...{
      ids: Filter.forElements(1),
      keys: Filter.forElements(1),
      idHashKey: new Uint8Array(32),
      erasedPosition: 0,
    },
    ...{ erasedIds: new Float64Array(0), erasedAt: new Float64Array(0) },
  });
  return new Actor("e", shard, undefined);
}

test("what waits for an actor runs in order, once, however often it is suspended meanwhile", () => {
  const one = actor();
  const ran: string[] = [];
  const note = (name: string) => () => void ran.push(name);
  one.suspend();
  one.whenReady(note("first"));
  one.whenReady(() => {
    ran.push("suspends");
    one.suspend();
    // It waits for the actor itself, as a write does whose actor went on meanwhile.
    one.whenReady(note("last"));
  });
  one.whenReady(note("waits"));
  one.resume();
  expect(ran).toEqual(["first", "suspends"]);
  expect(one.isWaiting).toBe(true);
  one.resume(note("again"));
  expect(ran).toEqual(["first", "suspends", "again", "waits", "last"]);
  expect(one.isWaiting).toBe(false);
});
