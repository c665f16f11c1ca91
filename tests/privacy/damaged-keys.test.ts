/**
 * A damaged slot of the vault is the damage of one entity: she can be erased, what needs her key is refused, and the context goes
 * on and opens again. So with a hold that nobody can read.
 */
import { afterEach, expect, test } from "bun:test";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkDirectory, defineAggregate, type Warp } from "../../src/index.ts";
import { slotOffset } from "../../src/shard/files/vault.ts";
import { cleanUp, codeOf, collect, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";
import { garble } from "../faults/journal-files.ts";

afterEach(cleanUp);

const account = defineAggregate({
  name: "account",
  initialState: { count: 0 },
  evolve: { Credited: (state: { count: number }) => ({ count: state.count + 1 }) },
  retention: { keepLast: 2, beyond: "drop" },
});

const open = (dataDir: string) => openSmall(dataDir, { shards: 1, aggregates: [account] });

/** The vault slot of the entity that was made first: once damages it, twice repairs it. */
const garbleFirst = (dataDir: string) => garble(join(dataDir, "shards/000/vault"), slotOffset(1) + 20, 1);

/** A closed context: alice, whose number is 1, and bob. `use` does more with it. */
async function filled(use: (warp: Warp) => Promise<unknown> = async () => {}): Promise<string> {
  const dataDir = freshDirectory();
  const warp = await open(dataDir);
  for (let i = 0; i < 3; i++) {
    for (const id of ["alice", "bob"]) await warp.entity(id).append(credited(1), { key: `${id}-${i}` });
    await settled(warp);
  }
  await use(warp);
  await warp.close();
  return dataDir;
}

/** Erases alice, whose key is damaged, in an open context, and looks at what is left of her in every way. */
async function eraseAlice(dataDir: string, warp: Warp): Promise<void> {
  const receipt = await warp.entity("alice").delete();
  expect(receipt).toMatchObject({ status: "erased", fingerprint: "0".repeat(32), removed: { events: 3 } });
  await warp.entity("bob").append(credited(1));
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  const again = await open(dataDir);
  expect(await codeOf(again.entity("alice").seq())).toBe("ERASED");
  expect(await again.entity("bob").seq()).toBe(4);
  expect(await collect(again.erasures())).toHaveLength(1);
}

test("she is erased, and the context opens again", async () => {
  const dataDir = await filled();
  garbleFirst(dataDir);
  const warp = await open(dataDir);
  expect(await codeOf(warp.entity("alice").seq())).toBe("CORRUPT");
  await eraseAlice(dataDir, warp);
});

test("so she is when retention has dropped the beginning of her history", async () => {
  const dataDir = await filled((warp) => warp.retain());
  garbleFirst(dataDir);
  await eraseAlice(dataDir, await open(dataDir));
});

test("a ledger that is ahead of her damaged key erases her", async () => {
  const dataDir = await filled();
  const older = freshDirectory();
  cpSync(dataDir, older, { recursive: true });
  const warp = await open(dataDir);
  await warp.entity("alice").delete();
  await warp.close();
  cpSync(join(dataDir, "shards/000/ledger"), join(older, "shards/000/ledger"));
  garbleFirst(older);
  const rolledBack = await open(older);
  await rolledBack.whenTidy();
  expect(await codeOf(rolledBack.entity("alice").seq())).toBe("ERASED");
  expect(await rolledBack.entity("bob").seq()).toBe(3);
  await rolledBack.close();
  expect([...checkDirectory({ dataDir: older })]).toEqual([]);
});

test("a hold on her is refused, and the writer goes on; one that she has can be released, and she be erased then", async () => {
  const dataDir = await filled((warp) => warp.entity("alice").hold({ reason: "claim" }));
  garbleFirst(dataDir);
  const warp = await open(dataDir);
  expect(await codeOf(warp.entity("alice").hold({ reason: "another" }))).toBe("CORRUPT");
  expect(await codeOf(warp.entity("alice").delete())).toBe("CORRUPT");
  expect(await warp.entity("bob").hold({ reason: "claim" })).toMatchObject({ reason: "claim" });
  await warp.entity("alice").releaseHold();
  await eraseAlice(dataDir, warp);
});

test("a filter of keys of calls that has to be built without hers is not kept", async () => {
  const dataDir = await filled();
  const filter = join(dataDir, "shards/000/keys.filter");
  rmSync(filter);
  garbleFirst(dataDir);
  const warp = await open(dataDir);
  const repeat = (of: Warp, id: string) => of.entity(id).append(credited(1), { key: `${id}-1` });
  expect(await repeat(warp, "bob")).toMatchObject({ duplicate: true });
  await warp.close();
  expect(existsSync(filter)).toBe(false);
  garbleFirst(dataDir);
  const repaired = await open(dataDir);
  expect(await repeat(repaired, "alice")).toMatchObject({ duplicate: true });
  await repaired.close();
  expect(existsSync(filter)).toBe(true);
});

test("keys are not rotated until she is erased, and the context goes on meanwhile", async () => {
  const dataDir = await filled();
  garbleFirst(dataDir);
  const warp = await open(dataDir);
  const refusal = await warp.rotateKeys().catch((error) => error);
  expect(refusal).toMatchObject({ code: "CORRUPT", details: { number: 1, offset: slotOffset(1) } });
  expect(await warp.entity("carol").append(credited(1))).toMatchObject({ ok: true });
  await settled(warp);
  await warp.entity("alice").delete();
  expect(await warp.rotateKeys()).toMatchObject({ period: 2 });
  expect(await warp.keysStatus()).toMatchObject([{ period: 2, isCurrent: true }]);
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});

test("somebody of whom others speak is erased too, and they can be read again", async () => {
  const dataDir = freshDirectory();
  const warp = await open(dataDir);
  const personal = { subject: "customer", data: { city: "Ulm" } };
  await warp.entity("order").append({ ...credited(1), personal });
  await warp.close();
  // She was named before the order was.
  garbleFirst(dataDir);
  const damaged = await open(dataDir);
  expect(await codeOf(damaged.entity("order").seq())).toBe("CORRUPT");
  expect(await damaged.entity("customer").delete()).toMatchObject({ status: "erased" });
  expect(await collect(damaged.entity("order").events())).toMatchObject([{ seq: 1, personal: null }]);
  await damaged.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
});

/** Closes the context, and looks whether it opens again and takes appends. */
async function opensAgain(warp: Warp, again: () => Promise<Warp>): Promise<Warp> {
  await settled(warp);
  await warp.close();
  const opened = await again();
  expect(await opened.entity("bob").append(credited(1))).toMatchObject({ ok: true });
  await settled(opened);
  return opened;
}

for (const damage of ["damaged", "zeros"] as const) {
  const code = damage === "damaged" ? "CORRUPT" : "ERASED";
  const lose = (dataDir: string) => {
    if (damage === "damaged") return garbleFirst(dataDir);
    const path = join(dataDir, "shards/000/vault");
    const vault = readFileSync(path);
    vault.fill(0, slotOffset(1), slotOffset(2));
    writeFileSync(path, vault);
  };

  test(`in log mode nothing is appended to her, whose slot is ${damage}, and she is erased`, async () => {
    const dataDir = freshDirectory();
    const openLog = () => openSmall(dataDir, { shards: 1, mode: "log" });
    const whole = await openLog();
    for (const id of ["alice", "bob"]) await whole.entity(id).append(credited(1));
    await settled(whole);
    await whole.close();
    lose(dataDir);
    const warp = await openLog();
    expect(await codeOf(warp.entity("alice").append(credited(1)))).toBe(code);
    expect(await codeOf(warp.entity("alice").seq())).toBe(code);
    const again = await opensAgain(warp, openLog);
    expect(await again.entity("alice").delete()).toMatchObject({ status: "erased" });
    expect(await again.entity("alice").append(credited(1), { expect: "none" })).toMatchObject({ seq: 1 });
    await settled(again);
    await again.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
  });

  test(`nobody speaks of her, whose slot is ${damage}, until she is erased`, async () => {
    const dataDir = freshDirectory();
    const whole = await open(dataDir);
    const personal = { subject: "customer", data: { city: "Ulm" } };
    await whole.entity("order").append({ ...credited(1), personal });
    await settled(whole);
    await whole.close();
    // She was named before the order was.
    lose(dataDir);
    const warp = await open(dataDir);
    for (let call = 0; call < 2; call++)
      expect(await codeOf(warp.entity("order-2").append({ ...credited(1), personal }))).toBe(code);
    const other = { subject: "other", data: {} };
    expect(await warp.entity("order-2").append({ ...credited(1), personal: other })).toMatchObject({
      ok: true,
    });
    const again = await opensAgain(warp, () => open(dataDir));
    expect(await codeOf(again.entity("order-3").append({ ...credited(1), personal }))).toBe(code);
    expect(await again.entity("customer").delete()).toMatchObject({ status: "erased" });
    // Somebody new has the id.
    await again.entity("customer").append(credited(1), { expect: "none" });
    expect(await again.entity("order-3").append({ ...credited(1), personal })).toMatchObject({ ok: true });
    expect(await collect(again.entity("order-3").events())).toMatchObject([{ personal: { city: "Ulm" } }]);
    await settled(again);
    await again.close();
    expect([...checkDirectory({ dataDir })]).toEqual([]);
  });
}
