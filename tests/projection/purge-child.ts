/**
 * Purges rows of 64 MiB, and prints by how many bytes the memory of the process grew meanwhile at most.
 */
import { defineProjection } from "../../src/index.ts";
import { SqliteSink } from "../../src/projection/sinks/sqlite.ts";

const projection = defineProjection({
  name: "large",
  tables: { note: { columns: { id: "text", text: "text" }, key: ["id"], subjects: ["id"] } },
  on: { Noted: () => undefined },
});
const sink = new SqliteSink(process.argv[2] ?? "", { number: 1, projection, incarnation: "one" });
let batch = (await sink.open()) ?? 0;
const [table] = projection.tables;
if (table === undefined) throw new Error("there is a table");
const parts = { writer: "w", statements: [], erased: undefined };
for (let i = 0; i < 64; i++) {
  const changes = Array.from({ length: 256 }, (_, j) => ({
    key: [`${i} ${j}`],
    row: [`${i} ${j}`, "x".repeat(4096)],
  }));
  await sink.commit({ ...parts, batch: batch++, rows: [{ table, changes }] });
}
const peak = () => process.resourceUsage().maxRSS * (process.platform === "darwin" ? 1 : 1024);
const before = peak();
await sink.purge();
console.log(peak() - before);
await sink.close();
