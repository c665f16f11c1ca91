/**
 * Random calls of every verb, many at a time, with restarts in between, against a plain model in memory.
 *
 * Calls on one entity are made in order and not awaited, so the model knows every result beforehand.
 */
import { afterEach, expect, test } from "bun:test";
import { reject, type Warp } from "../../src/index.ts";
import { account, cleanUp, collect, credited, freshDirectory, openSmall, seededRandom } from "./sample.ts";

afterEach(cleanUp);

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

class Model {
  readonly cents = new Map<string, number[]>();
  /** By id and key: the result's ok, and its seq when it appended. */
  readonly keys = new Map<string, object>();

  events(id: string): number[] {
    const known = this.cents.get(id) ?? [];
    this.cents.set(id, known);
    return known;
  }

  sum(id: string): number {
    return this.events(id).reduce((sum, cents) => sum + cents, 0);
  }
}

test("every verb behaves as the model, over restarts", async () => {
  console.log(`seed ${seed}`);
  const random = seededRandom(seed);
  const whole = (max: number) => Math.floor(random() * max);
  const idOf = () => (random() < 0.5 ? `{t${whole(4)}}${whole(5)}` : `e${whole(60)}`);
  const dataDir = freshDirectory();
  const model = new Model();

  const check = async (result: Promise<unknown>, expected: object) => {
    expect(await result).toMatchObject(expected);
  };

  const together = (warp: Warp): Promise<void> => {
    const tag = whole(4);
    const ids = [0, 1, 2, 3, 4].filter(() => random() < 0.6).map((i) => `{t${tag}}${i}`);
    if (ids.length === 0) return Promise.resolve();
    const refuses = random() < 0.3;
    const result = warp.atomically(ids, (all) => {
      for (const one of all) one.append(credited(5), credited(1));
      return refuses ? reject("NO") : undefined;
    });
    if (refuses) return check(result, { ok: false, code: "NO" });
    for (const id of ids) model.events(id).push(5, 1);
    const results = ids.map((id) => ({ seq: model.events(id).length, count: 2 }));
    return check(result, { ok: true, results });
  };

  const call = (warp: Warp): Promise<void> => {
    const id = idOf();
    const entity = warp.entity(id);
    const events = model.events(id);
    const cents = 1 + whole(50);
    const appended = (count: number) => ({ ok: true, duplicate: false, seq: events.length, count });
    switch (whole(6)) {
      case 0:
        events.push(cents);
        return check(entity.append(credited(cents)), appended(1));
      case 1: {
        const batch = Array.from({ length: 1 + whole(20) }, () => 1 + whole(9));
        events.push(...batch);
        return check(entity.appendBatch(batch.map(credited)), appended(batch.length));
      }
      case 2: {
        const expected = Math.max(0, events.length - whole(2));
        const conflict = { ok: false, reason: "conflict", seq: events.length };
        if (expected !== events.length)
          return check(entity.append(credited(1), { expect: expected }), conflict);
        events.push(cents);
        return check(entity.append(credited(cents), { expect: expected }), appended(1));
      }
      case 3: {
        const key = `k${whole(4)}`;
        const known = model.keys.get(`${id} ${key}`);
        const result = entity.append(credited(5), { key });
        if (known !== undefined) return check(result, { ...known, duplicate: true });
        events.push(5);
        model.keys.set(`${id} ${key}`, { ok: true, seq: events.length });
        return check(result, appended(1));
      }
      case 4: {
        const key = `d${whole(4)}`;
        const known = model.keys.get(`${id} ${key}`);
        const result = entity.send("debit", { cents: 100 }, { key });
        if (known !== undefined) return check(result, { ...known, duplicate: true });
        const have = model.sum(id);
        if (have >= 100) events.push(-100);
        const refused = { ok: false, code: "INSUFFICIENT_FUNDS", details: { have }, seq: events.length };
        const outcome = have >= 100 ? { ok: true, seq: events.length } : refused;
        model.keys.set(`${id} ${key}`, outcome);
        return check(result, { ...outcome, duplicate: false });
      }
      default: {
        const seq = whole(events.length + 1);
        const past = events.slice(0, seq).reduce((sum, one) => sum + one, 0);
        // Only what is durable by now is looked at; the rest is compared at the end of the round.
        return entity.stateAt({ seq }, account).then((state) => {
          if (state.count === seq) expect(state.cents).toBe(past);
        });
      }
    }
  };

  for (let round = 0; round < 8; round++) {
    const memory = { tailBytes: 1 << 20, residentBytes: round % 2 === 0 ? 5_000 : 10_000_000 };
    const writers = 1 + (round % 2);
    const warp = await openSmall(dataDir, { memory, writers, settle: { delayMs: whole(30) } });
    for (let burst = 0; burst < 12; burst++) {
      await Promise.all(Array.from({ length: 60 }, () => call(warp)));
      // Waits for all its entities, and calls on one of them may pass it meanwhile: so nothing else runs beside it.
      for (let i = 0; i < 3; i++) await together(warp);
    }
    for (const [id, events] of model.cents) {
      const entity = warp.entity(id);
      expect(await entity.read(account)).toEqual({ cents: model.sum(id), count: events.length });
      const stored = (await collect(entity.events())).map(({ type, data }) => [type, data]);
      const expected = events.map((cents) =>
        cents < 0 ? ["Debited", { cents: -cents }] : ["Credited", { cents }],
      );
      expect(stored).toEqual(expected);
    }
    const listed = (await collect(warp.entities())).map(({ id, seq }) => [id, seq]);
    const known = [...model.cents].filter(([, events]) => events.length > 0);
    expect(new Map(listed as [string, number][])).toEqual(
      new Map(known.map(([id, events]) => [id, events.length])),
    );
    await warp.close();
  }
});
