import { expect, test } from "bun:test";
import { withMemorySettings } from "./own-process.ts";

test("memory that was freed is kept for ten seconds", () => {
  const settings = { MIMALLOC_PURGE_DELAY: "10000", MIMALLOC_PURGE_HOLES: "0" };
  expect(withMemorySettings({ PATH: "/bin" })).toEqual({ PATH: "/bin", ...settings });
});

test("what the environment says of it stands", () => {
  const said = { MIMALLOC_PURGE_DELAY: "0", MIMALLOC_PURGE_HOLES: "1" };
  expect(withMemorySettings(said)).toEqual(said);
});
