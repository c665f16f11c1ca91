/**
 * The story of examples/closing-an-account.sh, told by the program that is tested.
 */
import { expect, test } from "bun:test";
import { root, tested } from "./command.ts";

test("a customer who closed her account is in no restored backup, and the others are", async () => {
  const told = Bun.spawn(["sh", "examples/closing-an-account.sh"], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, NO_COLOR: "1", WARP: tested.join(" ") },
  });
  const [text, errors, code] = await Promise.all([
    new Response(told.stdout).text(),
    new Response(told.stderr).text(),
    told.exited,
  ]);
  expect([code, code === 0 ? "" : errors]).toEqual([0, ""]);
  const [before = "", after = ""] = text.split("$ warp restore");
  expect(before).toContain("exported alice");
  expect(after).toContain("1 entities, 2 events");
  expect(after).toContain("no damage found");
  expect(after).toMatch(/^bob +2$/m);
  expect(after).not.toMatch(/^alice +\d/m);
  expect(after).toContain("ERASED");
});
