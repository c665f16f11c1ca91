import { expect, test } from "bun:test";
import { childEnvironment, supervisedVariable } from "./supervise.ts";

test("a supervised server keeps memory for a while that it may need again", () => {
  expect(childEnvironment({ PATH: "/bin" })).toEqual({
    PATH: "/bin",
    MIMALLOC_PURGE_DELAY: "10000",
    MIMALLOC_PURGE_HOLES: "0",
    [supervisedVariable]: "1",
  });
});

test("what the environment says of memory stands", () => {
  const environment = childEnvironment({ MIMALLOC_PURGE_DELAY: "0", MIMALLOC_PURGE_HOLES: "1" });
  expect(environment).toMatchObject({ MIMALLOC_PURGE_DELAY: "0", MIMALLOC_PURGE_HOLES: "1" });
});
