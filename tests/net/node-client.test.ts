/**
 * The client on Node: bundled, since Node 20 does not read TypeScript, and run against a server of this process.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveContext } from "./served-context.ts";

const node = Bun.which("node");

const program = (client: string) => `
import { connect } from ${JSON.stringify(client)};
const client = await connect({ address: process.argv[2] });
const entity = client.entity("node");
const results = await Promise.all(
  Array.from({ length: 300 }, (_, by) => entity.append({ type: "Added", data: { by, text: "grün" } })),
);
const code = await entity.append({ type: "", data: 1 }).catch((error) => error.code);
const events = [];
for await (const event of entity.events({ from: 299 })) events.push([event.seq, event.data]);
await entity.append({ type: "Special", data: { at: new Date(5), big: 2n ** 60n, bytes: Uint8Array.of(1, 2) } });
const special = [];
for await (const event of entity.events({ from: 301 })) special.push(event.data);
const { at, big, bytes } = special[0];
console.log(JSON.stringify({
  runtime: typeof globalThis.Bun,
  ok: results.every((result) => result.ok),
  seqs: new Set(results.map((result) => result.seq)).size,
  code,
  events,
  state: await entity.state("counter"),
  special: [at.getTime(), String(big), [...bytes]],
}));
await client.close();
`;

test.if(node !== null)("the bundled client runs on Node", async () => {
  const served = await serveContext();
  const directory = mkdtempSync(join(tmpdir(), "warp-node-"));
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, "../../src/client/index.ts")],
    target: "node",
    outdir: directory,
    naming: "client.mjs",
  });
  expect(built.success).toBe(true);
  const script = join(directory, "program.mjs");
  writeFileSync(script, program(join(directory, "client.mjs")));
  const run = Bun.spawn([node ?? "node", script, served.tcp.address], { stdout: "pipe", stderr: "pipe" });
  const [output, errors] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
    run.exited,
  ]);
  expect(errors).toBe("");
  expect(JSON.parse(output)).toEqual({
    runtime: "undefined",
    ok: true,
    seqs: 300,
    code: "INVALID_EVENT",
    events: [
      [299, { by: 298, text: "grün" }],
      [300, { by: 299, text: "grün" }],
    ],
    state: { sum: 44_850, times: 300 },
    special: [5, String(2n ** 60n), [1, 2]],
  });
  rmSync(directory, { recursive: true });
  await served.close();
});
