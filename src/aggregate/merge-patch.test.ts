import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { deepFreeze } from "./freeze.ts";
import { mergePatch } from "./merge-patch.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${seed}`);

describe("the table of RFC 7396, appendix A", () => {
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', "{}"],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', "null", "null"],
    ['{"a":"foo"}', '"bar"', '"bar"'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ["[1,2]", '{"a":"b","c":null}', '{"a":"b"}'],
    ["{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])("%s patched by %s is %s", (target, patch, result) => {
    const before = deepFreeze(JSON.parse(target));
    expect(mergePatch(before, deepFreeze(JSON.parse(patch)))).toStrictEqual(JSON.parse(result));
  });
});

test("a patch that names __proto__ or constructor changes no prototype", () => {
  const patched = mergePatch(
    {},
    JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
  );
  expect(Reflect.get({}, "polluted")).toBeUndefined();
  expect(Object.getPrototypeOf(patched)).toBe(Object.prototype);
  expect(Object.keys(patched as object)).toEqual(["__proto__", "constructor"]);
  expect(JSON.stringify(mergePatch(patched, JSON.parse('{"__proto__":null,"constructor":null}')))).toBe("{}");
});

test("dates and bytes replace as a whole", () => {
  const at = new Date(0);
  const bytes = new Uint8Array([1]);
  expect(mergePatch({ at: { year: 1 }, bytes: [1] }, { at, bytes })).toStrictEqual({ at, bytes });
});

test("patching twice with the same patch is patching once, and nothing that was given changes", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (target, patch) => {
      const once = mergePatch(deepFreeze(target), deepFreeze(patch));
      expect(mergePatch(once, patch)).toStrictEqual(once);
    }),
    { seed, numRuns: 500 },
  );
});
