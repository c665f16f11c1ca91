/**
 * The client on Node: bundled, since Node 20 does not read TypeScript, and run against a server of this process.
 */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { serveContext } from "./served-context.ts";

/** A real Node: `bun run` puts a directory on the path in which `node` is Bun itself. */
function findNode(): string | undefined {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .map((directory) => join(directory, "node"))
    .filter((path) => existsSync(path))
    .find((path) => Bun.spawnSync([path, "-p", "typeof Bun"]).stdout.toString().trim() === "undefined");
}

const node = findNode();
const name = "the bundled client runs on Node";

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
const subscription = client.subscribe({ entity: "node", from: "start" });
const { value: read } = await subscription.next();
await subscription.return();
const member = client.join("workers", { from: "start" });
const { value: delivery } = await member.next();
delivery.ack();
await member.return();
console.log(JSON.stringify({
  runtime: typeof globalThis.Bun,
  ok: results.every((result) => result.ok),
  seqs: new Set(results.map((result) => result.seq)).size,
  code,
  events,
  state: await entity.state("counter"),
  read: read.events[0].seq,
  delivered: delivery.event.seq,
  special: [at.getTime(), String(big), [...bytes]],
}));
await client.close();
`;

test(node === undefined ? `${name} (DID NOT RUN: there is no Node here)` : name, async () => {
  if (node === undefined) {
    console.warn("there is no Node on this machine: its test of the client did not run");
    return;
  }
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
  const run = Bun.spawn([node, script, served.tcp.address], { stdout: "pipe", stderr: "pipe" });
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
    read: 1,
    delivered: 1,
    special: [5, String(2n ** 60n), [1, 2]],
  });
  rmSync(directory, { recursive: true });
  await served.close();
});
