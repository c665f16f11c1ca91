/**
 * Limits: what is too much is slowed down or refused, nothing grows without a bound, nothing stands still.
 */
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { Engine } from "../../src/actor/engine.ts";
import { WarpError } from "../../src/core/errors.ts";
import { limits } from "../../src/core/limits.ts";
import type { Warp } from "../../src/index.ts";
import { cleanUp, codeOf, collect, credited, freshDirectory, openSmall, settled, trace } from "./sample.ts";

afterEach(cleanUp);

const noted = (bytes: number) => ({ type: "Credited", data: { cents: 1, note: "n".repeat(bytes) } });

async function seqs(warp: Warp): Promise<Map<string, number>> {
  return new Map((await collect(warp.entities())).map(({ id, seq }) => [id, seq]));
}

describe("back-pressure", () => {
  test("lets 40 MB through a tail of 1 MiB and a small ring, with idle actors leaving memory all the time", async () => {
    const dataDir = freshDirectory();
    const memory = { tailBytes: 1 << 20, residentBytes: 20_000 };
    const warp = await openSmall(dataDir, { aggregates: [trace], memory, shards: 3, durability: "os" });
    const callers = 64;
    const each = 64;
    await Promise.all(
      Array.from({ length: callers }, async (_, caller) => {
        for (let i = 0; i < each; i++) await warp.entity(`e${(caller * 31 + i) % 500}`).append(noted(10_000));
      }),
    );
    await warp.close();
    const next = await openSmall(dataDir, { aggregates: [trace], shards: 3 });
    const total = [...(await seqs(next)).values()].reduce((sum, seq) => sum + seq, 0);
    expect(total).toBe(callers * each);
    expect(await next.entity("e7").read(trace)).toMatchObject({ last: await next.entity("e7").seq() });
  });

  test("settles a full tail at once, however long records may wait otherwise", async () => {
    const settle = { delayMs: 3_600_000, bytes: 512 * 1024 };
    const warp = await openSmall(freshDirectory(), { settle });
    const sizes = Array.from({ length: 60 }, (_, i) => 20_000 + ((i * 7919) % 60_000));
    await Promise.all(sizes.map((bytes, i) => warp.entity(`e${i}`).append(noted(bytes))));
    expect((await seqs(warp)).size).toBe(60);
  });

  test("of one whose actor cannot be read again meanwhile is refused with why", async () => {
    const warp = await openSmall(freshDirectory());
    const submitted = spyOn(Engine.prototype, "submit");
    const before = Array.from({ length: 150 }, (_, i) => warp.entity(`e${i}`).append(noted(10_000)));
    const waiting = warp.entity("last").append(credited(1));
    const actor = submitted.mock.lastCall?.[0].actor;
    submitted.mockRestore();
    expect(actor?.holds).toBe(1);
    if (actor !== undefined) actor.loadFailure = new WarpError("EVOLVE_FAILED", "not any more");
    expect(await codeOf(waiting)).toBe("EVOLVE_FAILED");
    await Promise.all(before);
    expect(actor).toMatchObject({ holds: 0, tipSeq: 0 });
  });

  test("goes on in the smallest ring there is", async () => {
    const journal = { segmentBytes: 64 * 1024, segmentsMax: 2 };
    const warp = await openSmall(freshDirectory(), { journal, settle: { delayMs: 3_600_000 } });
    for (let i = 0; i < 200; i++) await warp.entity(`e${i % 7}`).append(noted(1000));
    expect([...(await seqs(warp)).values()].reduce((sum, seq) => sum + seq, 0)).toBe(200);
  });
});

test("a list of events is the caller's again as soon as it was given, also while its entity is being read", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir);
  await first.entity("e").append(credited(1));
  await first.close();
  const warp = await openSmall(dataDir);
  const events = [credited(2), credited(3)];
  const appended = warp.entity("e").appendBatch(events);
  events.length = 0;
  expect(await appended).toMatchObject({ ok: true, count: 2, seq: 3 });
});

test("so are the options of a call", async () => {
  const dataDir = freshDirectory();
  const first = await openSmall(dataDir);
  await first.entity("e").append(credited(1));
  await first.close();
  const warp = await openSmall(dataDir);
  const options = { key: "" };
  const calls = ["a", "b", "c"].map((key, i) => {
    options.key = key;
    if (i === 0) return warp.entity("e").append(credited(2), options);
    if (i === 1) return warp.entity("e").appendBatch([credited(2)], options);
    return warp.entity("e").send("debit", { cents: 1 }, options);
  });
  options.key = "d";
  const done = { ok: true, duplicate: false };
  expect(await Promise.all(calls)).toMatchObject([done, done, done]);
  expect(await warp.entity("e").append(credited(2), { key: "a" })).toMatchObject({ seq: 2, duplicate: true });
});

describe("too much", () => {
  test("for one record is EVENT_TOO_LARGE and leaves nothing, whatever the size of a segment", async () => {
    for (const segmentBytes of [64 * 1024, 256 * 1024]) {
      const dataDir = freshDirectory();
      const journal = { segmentBytes, segmentsMax: 4 };
      const warp = await openSmall(dataDir, { journal });
      const entity = warp.entity("e");
      const recordBytesMax = (segmentBytes - 3 * limits.sectorBytes) / 2;
      expect(await codeOf(entity.append(noted(recordBytesMax)))).toBe("EVENT_TOO_LARGE");
      expect(await codeOf(entity.append(noted(segmentBytes)))).toBe("EVENT_TOO_LARGE");
      expect(await entity.append(noted(recordBytesMax - 500))).toMatchObject({ seq: 1 });
      expect(
        await entity.append({ type: "Credited", data: { cents: 1, note: "é".repeat(1000) } }),
      ).toMatchObject({ seq: 2 });
      await warp.close();
      expect(await (await openSmall(dataDir, { journal })).entity("e").seq()).toBe(2);
    }
  });

  test("in one mailbox is OVERLOADED; what was taken is done", async () => {
    const dataDir = freshDirectory();
    const first = await openSmall(dataDir);
    await first.entity("e").append(credited(1));
    await first.close();
    const warp = await openSmall(dataDir);
    const entity = warp.entity("e");
    const calls = Array.from({ length: limits.mailboxMax + 5 }, () => entity.append(credited(1)));
    const outcomes = await Promise.allSettled(calls);
    const refused = outcomes.filter(({ status }) => status === "rejected");
    expect(refused.length).toBe(5);
    expect(refused).toMatchObject(refused.map(() => ({ reason: { code: "OVERLOADED" } })));
    expect(await entity.seq()).toBe(limits.mailboxMax + 1);
  });

  test("under way is OVERLOADED", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    const calls = Array.from({ length: limits.pendingMax + 10 }, () => entity.append(credited(1)));
    const outcomes = await Promise.allSettled(calls);
    const taken = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(taken).toBeLessThanOrEqual(limits.pendingMax);
    expect(taken).toBeGreaterThan(0);
    expect(await entity.seq()).toBe(taken);
  });
});

describe("too much over all entities", () => {
  test("is OVERLOADED also while they are being loaded, and for several entities at once", async () => {
    const dataDir = freshDirectory();
    const ids = Array.from({ length: 21 }, (_, i) => `e${i}`);
    const first = await openSmall(dataDir);
    await Promise.all(ids.map((id) => first.entity(id).append(credited(1))));
    await first.close();
    const warp = await openSmall(dataDir);
    // None is in memory, and this turn ends before any is loaded.
    const calls = ids.flatMap((id) => {
      const entity = warp.entity(id);
      return Array.from({ length: limits.mailboxMax }, () => entity.append(credited(1)));
    });
    expect(warp.pressure.pendingWrites).toBe(limits.pendingMax);
    const append = ([one]: readonly { append: (event: ReturnType<typeof credited>) => void }[]) =>
      one?.append(credited(1));
    expect(await codeOf(warp.atomically(["e0"], append))).toBe("OVERLOADED");
    const outcomes = await Promise.allSettled(calls);
    const taken = outcomes.filter(({ status }) => status === "fulfilled").length;
    expect(taken).toBe(limits.pendingMax);
    expect(warp.pressure.pendingWrites).toBe(0);
    expect(await warp.atomically(["e0"], append)).toMatchObject({ ok: true });
    const total = [...(await seqs(warp)).values()].reduce((sum, seq) => sum + seq, 0);
    expect(total).toBe(ids.length + taken + 1);
  });
});

describe("close", () => {
  test("while writes are under way answers each, and what was acknowledged is there", async () => {
    const dataDir = freshDirectory();
    const warp = await openSmall(dataDir);
    const done: string[] = [];
    const calls = Array.from({ length: 400 }, async (_, i) => {
      await warp.entity(`e${i}`).append(noted(9_000));
      done.push(`e${i}`);
      await warp.entity(`f${i}`).append(noted(10));
      done.push(`f${i}`);
    });
    const outcomes = Promise.allSettled(calls);
    await warp.close();
    for (const outcome of await outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "CLOSED" });
    }
    const next = await openSmall(dataDir);
    expect([...(await seqs(next)).keys()].sort()).toEqual(done.sort());
  });

  test("beside another process that reads an older state, with a journal that is full of it, answers each and ends", async () => {
    const dataDir = freshDirectory();
    const journal = { segmentBytes: 64 * 1024, segmentsMax: 4 };
    const warp = await openSmall(dataDir, { journal, shards: 1, settle: { delayMs: 1 } });
    await warp.entity("e").append(noted(10));
    await settled(warp);
    const reader = new Database(`${dataDir}/shards/000/runs.db`, { readonly: true });
    reader.run("BEGIN");
    reader.query("SELECT count(*) FROM runs").get();
    let done = 0;
    const calls = Array.from({ length: 200 }, async (_, i) => {
      await warp.entity(`e${i}`).append(noted(10_000));
      done++;
    });
    const outcomes = Promise.allSettled(calls);
    for (let before = -1; before < done; ) {
      before = done;
      await Bun.sleep(500);
    }
    expect(done).toBeLessThan(200);
    await warp.close();
    const refused = (await outcomes).filter(({ status }) => status === "rejected");
    expect(refused.length).toBe(200 - done);
    reader.close();
    const next = await openSmall(dataDir, { journal, shards: 1 });
    const there = [...(await seqs(next)).values()].reduce((sum, seq) => sum + seq, 0);
    expect(there).toBeGreaterThanOrEqual(done + 1);
  }, 120_000);

  test("twice is once; whatever is called afterwards is CLOSED", async () => {
    const warp = await openSmall(freshDirectory());
    const entity = warp.entity("e");
    await entity.append(credited(1));
    await settled(warp);
    await Promise.all([warp.close(), warp.close()]);
    expect(await codeOf(entity.append(credited(1)))).toBe("CLOSED");
    expect(await codeOf(entity.send("debit", { cents: 1 }))).toBe("CLOSED");
    expect(await codeOf(warp.atomically(["e"], () => undefined))).toBe("CLOSED");
    expect(await codeOf(collect(entity.events()))).toBe("CLOSED");
    expect(await codeOf(collect(warp.entities()))).toBe("CLOSED");
  });
});
