import { expect, test } from "bun:test";
import { join } from "node:path";

const program = `
  import { jsonLogger } from ${JSON.stringify(join(import.meta.dir, "logger.ts"))};
  const logger = jsonLogger("info");
  logger.info("100 %s of", { count: 1 });
  for await (const _ of Bun.stdin.stream()) break;
  for (let i = 0; i < 20; i++) {
    logger.info("nobody reads this");
    await Bun.sleep(1);
  }
  console.log("went on");
`;

test("a line of JSON goes to standard error, and a program goes on when nobody reads that any more", async () => {
  const child = Bun.spawn([process.execPath, "-e", program], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
  const reader = child.stderr.getReader();
  const { value } = await reader.read();
  const line = new TextDecoder().decode(value);
  expect(JSON.parse(line)).toMatchObject({ level: "info", message: "100 %s of", count: 1 });
  expect(line).toEndWith("}\n");
  await reader.cancel();
  child.stdin.write("go on");
  child.stdin.end();
  expect(await new Response(child.stdout).text()).toBe("went on\n");
  expect(await child.exited).toBe(0);
});
