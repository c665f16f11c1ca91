/**
 * Projections into embedded SQLite, end to end: real engine, real Workers, real files.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/logger.ts";
import { start, type Warp } from "../../src/index.ts";

const root = mkdtempSync(join(tmpdir(), "warp-projection-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const application = join(import.meta.dir, "application.ts");
const open = (name: string): Promise<Warp> =>
  start({ dataDir: join(root, name), application, shards: 4, logger: silentLogger });
/** Projections of a machine that is busy may need longer for their start than a query waits by default. */
const patient = { timeoutMs: 240_000 };
const paid = (cents: number, more: object = {}) => ({ type: "Paid", data: { cents, ...more } });

async function appended(warp: Warp, entity: string, ...events: { type: string; data: unknown }[]) {
  const result = await warp.entity(entity).appendBatch(events);
  if (!result.ok) throw new Error("a conflict");
  return result;
}

test("a caller sees its own write in the rows", async () => {
  const warp = await open("own-write");
  for (let i = 1; i <= 20; i++) {
    const after = await appended(warp, `p${i % 3}`, paid(i));
    const { rows } = await warp.query("SELECT cents, payments FROM total WHERE purse = ?", [`p${i % 3}`], {
      after,
      ...patient,
    });
    const sum = Array.from({ length: i }, (_, k) => k + 1).filter((k) => k % 3 === i % 3);
    expect(rows).toEqual([[sum.reduce((a, b) => a + b, 0), sum.length]]);
  }
  const joined = await warp.query("SELECT count(*), max(total) FROM statement");
  expect(joined.columns).toEqual(["count(*)", "max(total)"]);
  expect(joined.rows[0]?.[0]).toBe(20);
  expect(warp.projections.status.map(({ name, state, lagRecords }) => [name, state, lagRecords])).toEqual([
    ["payments", "live", 0],
    ["totals", "live", 0],
    ["volume", "live", 0],
  ]);
  await warp.close();
});

test("a deletion is complete when the rows are gone too, and leaves no byte of them", async () => {
  const warp = await open("erased");
  const secret = "a-note-that-nobody-else-has";
  await appended(warp, "alice-who-goes", paid(5, { to: "bob", day: secret }));
  await appended(warp, "bob", paid(7, { to: "alice-who-goes" }), paid(8));
  const receipt = await warp.entity("alice-who-goes").delete({ waitMs: 60_000 });
  expect(receipt).toMatchObject({ status: "erased", pending: [] });
  expect((await warp.query("SELECT purse, cents FROM payment")).rows).toEqual([["bob", 8]]);
  expect((await warp.query("SELECT purse FROM total")).rows).toEqual([["bob"]]);
  expect((await warp.query("SELECT day, cents FROM volume")).rows).toEqual([["none", 15]]);
  const folder = join(root, "erased", "projections");
  const traces = readdirSync(folder).filter((file) => {
    const bytes = readFileSync(join(folder, file));
    return bytes.includes("alice-who-goes") || bytes.includes(secret);
  });
  expect(traces).toEqual([]);
  await warp.close();
});
