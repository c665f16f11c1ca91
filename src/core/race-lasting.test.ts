import { expect, test } from "bun:test";
import { raceLasting } from "./race-lasting.ts";

test("is settled by whichever comes first, also by what has come already", async () => {
  const lasting = Promise.withResolvers<string>();
  const never = new Promise<string>(() => {});
  expect(await raceLasting(Promise.resolve("work"), lasting.promise)).toBe("work");
  expect(raceLasting(Promise.reject(new Error("no")), lasting.promise)).rejects.toThrow("no");
  const both = [raceLasting(never, lasting.promise), raceLasting(never, lasting.promise)];
  lasting.resolve("end");
  expect(await Promise.all(both)).toEqual(["end", "end"]);
  expect(await raceLasting(never, lasting.promise)).toBe("end");
  const failed = Promise.reject(new Error("failed"));
  expect(raceLasting(never, failed)).rejects.toThrow("failed");
  await failed.catch(() => {});
  expect(raceLasting(never, failed)).rejects.toThrow("failed");
});

test("what lasts does not keep what was waited for beside it", async () => {
  const lasting = new Promise<string>(() => {});
  const refs: WeakRef<object>[] = [];
  for (let i = 0; i < 1000; i++) {
    const result = { i };
    refs.push(new WeakRef(result));
    await raceLasting(Promise.resolve(result), lasting);
  }
  await new Promise((resolve) => setImmediate(resolve));
  Bun.gc(true);
  // Some may still lie on the stack.
  expect(refs.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(100);
});
