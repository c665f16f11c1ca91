/**
 * Erasing somebody whom entities speak of that are not in memory, or leave it while she is erased.
 */
import { afterEach, expect, test } from "bun:test";
import type { Warp } from "../../src/index.ts";
import { cleanUp, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";
import { order } from "./personal-sample.ts";

afterEach(cleanUp);

const hosts = 60;
const shipped = (subject: string) => ({
  type: "Shipped",
  data: {},
  personal: { subject, data: "Elm Street 1" },
});

/** Every order speaks of every customer, before many events that speak of nobody. */
async function fill(dataDir: string, customers: readonly string[]): Promise<void> {
  const warp = await openSmall(dataDir, { aggregates: [order] });
  const write = async (_: unknown, i: number) => {
    const host = warp.entity(`order-${i}`);
    for (const customer of customers) await host.append(shipped(customer));
    // Who speaks of somebody gets no snapshot any more: a load takes its time.
    await host.appendBatch(Array.from({ length: 1000 }, () => credited(1)));
  };
  await Promise.all(Array.from({ length: hosts }, write));
  for (const customer of customers) await warp.entity(customer).append(credited(1));
  await settled(warp);
  await warp.close();
}

async function expectWithout(warp: Warp): Promise<void> {
  for (let i = 0; i < hosts; i++)
    expect(await warp.entity(`order-${i}`).read()).toMatchObject({ address: null });
}

test("hosts that are loaded while she is erased do not stop it, and are folded without her", async () => {
  const dataDir = freshDirectory();
  await fill(dataDir, ["customer-1"]);
  const warp = await openSmall(dataDir, { aggregates: [order] });
  const deleted = warp.entity("customer-1").delete({ waitMs: 240_000 });
  const reads: Promise<unknown>[] = [];
  // One after the other, so that some are asked for at each moment of the erasure.
  for (let i = 0; i < hosts; i++) {
    reads.push(warp.entity(`order-${i}`).read());
    await Bun.sleep(0.3);
  }
  expect((await deleted).status).toBe("erased");
  await Promise.all(reads);
  await expectWithout(warp);
});

test("who is erased may leave memory meanwhile", async () => {
  const dataDir = freshDirectory();
  const customers = Array.from({ length: 6 }, (_, i) => `customer-${i}`);
  await fill(dataDir, customers);
  // Nothing stays in memory that is not held.
  const warp = await openSmall(dataDir, { aggregates: [order], memory: { residentBytes: 1 << 20 } });
  let isOver = false;
  let made = 0;
  const press = async () => {
    while (!isOver) await warp.entity(`other-${made++}`).append(credited(1));
  };
  const pressing = Array.from({ length: 100 }, press);
  const receipts = await Promise.all(
    customers.map((customer) => warp.entity(customer).delete({ waitMs: 240_000 })),
  );
  isOver = true;
  await Promise.all(pressing);
  expect(receipts.map(({ status }) => status)).toEqual(customers.map(() => "erased"));
  await expectWithout(warp);
});
