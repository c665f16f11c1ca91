/**
 * What projections have of personal parts: all of it when they ask for it, nothing when they do not, and none of who was erased.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/core/logger.ts";
import { start, type Warp } from "../../src/index.ts";

const root = mkdtempSync(join(tmpdir(), "warp-projection-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const application = join(import.meta.dir, "personal-application.ts");

async function shipped(warp: Warp, host: string, subject: string, content: string) {
  const personal = { subject, data: content };
  const done = await warp.entity(host).append({ type: "Shipped", data: { customer: subject }, personal });
  if (!done.ok) throw new Error("a conflict");
  return done;
}

test("rows are built again without what was said of a subject who is erased, and those about her go", async () => {
  const dataDir = join(root, "data");
  const warp = await start({ dataDir, application, shards: 4, logger: silentLogger });
  const secret = "a-street-that-nobody-else-has";
  for (let i = 0; i < 6; i++) await shipped(warp, `order-${i}`, "customer-2", secret);
  const after = await shipped(warp, "order-0", "customer-3", "Oak Street 3");
  const rows = async (sql: string) => (await warp.query(sql, [], { after, timeoutMs: 240_000 })).rows;
  expect(await rows("SELECT count(*), max(has) FROM parcel")).toEqual([[7, 0]]);
  const contents = "SELECT content, count(*) FROM address GROUP BY content ORDER BY content";
  expect(await rows(contents)).toEqual([
    ['"Oak Street 3"', 1],
    [`"${secret}"`, 6],
  ]);
  const filesWith = (text: string) =>
    readdirSync(join(dataDir, "projections")).filter((file) =>
      readFileSync(join(dataDir, "projections", file)).includes(text),
    );
  expect(filesWith(secret).length).toBeGreaterThan(0);

  const receipt = await warp.entity("customer-2").delete({ waitMs: 120_000 });
  expect(receipt).toMatchObject({ status: "erased", pending: [], personal: { parts: 6, hosts: 6 } });
  expect(await rows(contents)).toEqual([
    ['"Oak Street 3"', 1],
    ['"none"', 6],
  ]);
  expect(await rows("SELECT host, customer FROM parcel")).toEqual([["order-0", "customer-3"]]);
  expect(filesWith(secret)).toEqual([]);
  expect(filesWith("customer-2")).toEqual([]);
  // What is built anew meets the erasure again, and stays.
  await warp.projections.rebuild("addresses");
  expect(await rows(contents)).toEqual([
    ['"Oak Street 3"', 1],
    ['"none"', 6],
  ]);
  // She was no entity: nobody but others spoke of her.
  await warp.projections.rebuild("parcels");
  expect(await rows("SELECT host, customer FROM parcel")).toEqual([["order-0", "customer-3"]]);
  await warp.close();
});
