import { describe, expect, test } from "bun:test";
import { entityIdFault, requireEntityId } from "./entity-id.ts";
import { WarpError } from "./errors.ts";
import { limits } from "./limits.ts";

describe("an entity id", () => {
  test("is any well-formed text of 1 to 512 bytes", () => {
    for (const id of ["a", "acc_1", "{x}:1", "🦊", "é".repeat(256), "😀".repeat(128), "a b\n", "￿"]) {
      expect(entityIdFault(id)).toBeUndefined();
    }
    expect(entityIdFault("x".repeat(limits.entityIdBytesMax))).toBeUndefined();
  });

  test("that is empty, too long, ill-formed, has a NUL or is no string is INVALID_ARGUMENT", () => {
    for (const id of [
      "",
      "x".repeat(513),
      `${"é".repeat(256)}x`,
      "\ud800",
      "a\udc00b",
      "a\0b",
      7,
      undefined,
    ]) {
      expect(entityIdFault(id)).toBeString();
      expect(() => requireEntityId(id)).toThrow(WarpError);
    }
  });
});
