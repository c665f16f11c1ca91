import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

test("a customer exports, is erased, and is not brought back by a backup; everybody else is", async () => {
  const folder = mkdtempSync(join(tmpdir(), "warp-example-"));
  const warp = `${process.execPath} ${join(import.meta.dir, "../src/main.ts")}`;
  try {
    const script = Bun.spawn(["sh", join(import.meta.dir, "customer-leaves.sh"), join(folder, "bank")], {
      env: { ...process.env, WARP: warp },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors] = await Promise.all([
      new Response(script.stdout).text(),
      new Response(script.stderr).text(),
    ]);
    expect({ code: await script.exited, errors }).toEqual({ code: 0, errors: "" });
    expect(output).toContain('"counts":{"entity":1,"state":1,"event":3}');
    expect(output).toContain("alice: erased, 3 events");
    expect(output).toContain('entity "alice" was erased at');
    expect(output).toContain("1 entities, 3 events");
    expect(output).toContain("bob account at seq 3");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 180_000);
