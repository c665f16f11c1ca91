/**
 * The views of the examples against a plain loop over the same events, after a random schedule of appends, kills of the
 * process, rebuilds and deletions.
 */
import { afterAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { effort, printedSeed, seededRandom } from "../crash/seeded.ts";
import { root, temporaryFolder } from "../e2e/command.ts";
import { Killable } from "./killable.ts";

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function randomBelow(): (max: number) => number {
  const random = seededRandom(printedSeed());
  return (max) => Math.floor(random() * max);
}

const sorted = (rows: readonly (readonly unknown[])[]) => rows.map((row) => JSON.stringify(row)).sort();

test("the bank: balances, statements over a JOIN, and the volume of a day", async () => {
  const int = randomBelow();
  const bank = new Killable(join(folder, "bank"), join(root, "examples/banking.ts"));
  await bank.start();
  const people = Array.from({ length: 12 }, (_, i) => `account-${i}`);
  const day = new Date().toISOString().slice(0, 10);
  /** What happened, by account: the amounts in their order, and whether it is closed. */
  const ledger = new Map<
    string,
    { owner: string; movements: { seq: number; cents: number; ref: string }[]; seq: number }
  >();
  let calls = 0;

  const send = async (entity: string, command: string, input: object) => {
    const result = await bank.order<{ ok: boolean; count?: number }>({
      op: "send",
      entity,
      command,
      input,
      key: `call-${++calls}`,
    });
    return result.ok;
  };
  const open = async (entity: string) => {
    // A later life of an id that was erased begins with the word that it does.
    if (!(await send(entity, "open", { owner: `owner of ${entity}`, overdraftCents: 500 }))) return;
    ledger.set(entity, { owner: `owner of ${entity}`, movements: [], seq: 1 });
  };
  const move = async (entity: string, command: "credit" | "debit", cents: number, ref: string) => {
    const account = ledger.get(entity);
    if (account === undefined || !(await send(entity, command, { cents, ref }))) return;
    account.seq++;
    account.movements.push({ seq: account.seq, cents: command === "credit" ? cents : -cents, ref });
  };

  const check = async () => {
    const accounts = [...ledger];
    const sum = (list: { cents: number }[]) => list.reduce((total, { cents }) => total + cents, 0);
    const balances = accounts.map(([id, { owner, movements }]) => [id, owner, sum(movements), "open"]);
    expect(
      sorted(await bank.order({ op: "query", sql: "SELECT account, owner, cents, status FROM accounts" })),
    ).toEqual(sorted(balances));
    const statement = accounts.flatMap(([id, { owner, movements }]) =>
      movements.map(({ seq, cents, ref }, i) => [owner, id, seq, ref, cents, sum(movements.slice(0, i + 1))]),
    );
    const sql = "SELECT owner, account, seq, ref, cents, balance FROM statement";
    expect(sorted(await bank.order({ op: "query", sql }))).toEqual(sorted(statement));
    const all = accounts.flatMap(([, { movements }]) => movements);
    const moved = accounts.filter(([, { movements }]) => movements.length > 0).length;
    const volume =
      all.length === 0
        ? []
        : [[sum(all.map(({ cents }) => ({ cents: Math.abs(cents) }))), all.length, moved]];
    // The day may change while it runs.
    const daily = await bank.order<number[][]>({
      op: "query",
      sql: "SELECT sum(cents), sum(movements), max(accounts) FROM daily_volume",
    });
    if (volume.length > 0 && new Date().toISOString().startsWith(day))
      expect(daily).toEqual(volume as number[][]);
  };

  for (const entity of people) await open(entity);
  for (let round = 0; round < effort(8); round++) {
    const moves = Array.from({ length: 30 }, (_, i) => {
      const entity = people[int(people.length)] ?? "";
      return () => move(entity, int(2) === 0 ? "credit" : "debit", 1 + int(400), `ref ${round}/${i}`);
    });
    // One after the other within an account, so that the loop knows their order; the process is killed in the midst of it.
    const kill =
      int(3) > 0
        ? Bun.sleep(int(60))
            .then(() => bank.kill())
            .then(() => bank.start())
        : undefined;
    for (const one of moves) await one();
    await kill;
    if (int(3) === 0)
      await bank.order({ op: "rebuild", projection: int(2) === 0 ? "accounts" : "movements" });
    if (int(3) === 0) {
      const entity = people.splice(int(people.length), 1)[0] ?? "";
      const receipt = await bank.order<{ status: string; pending: unknown }>({ op: "delete", entity });
      expect(receipt).toMatchObject({ status: "erased", pending: [] });
      ledger.delete(entity);
    }
    await check();
  }
  await bank.close();
}, 600_000);

test("the flights: delays by route and by month", async () => {
  const int = randomBelow();
  const airports = new Killable(join(folder, "airports"), join(root, "examples/flights.ts"));
  await airports.start();
  const file = join(root, "node_modules/vega-datasets/data/flights-20k.json");
  const all = (await Bun.file(file).json()) as {
    date: string;
    delay: number;
    distance: number;
    origin: string;
    destination: string;
  }[];
  const flights = all.slice(0, 4000).map((flight) => ({
    ...flight,
    at: Date.parse(`${flight.date.replaceAll("/", "-").replace(" ", "T")}Z`),
  }));
  const done: typeof flights = [];
  const erased = new Set<string>();
  for (let from = 0; from < flights.length; from += 500) {
    const some = flights.slice(from, from + 500).filter(({ origin }) => !erased.has(origin));
    const byOrigin = Map.groupBy(some, ({ origin }) => origin);
    const appends = [...byOrigin].map(([origin, own]) =>
      airports.order({
        op: "append",
        entity: origin,
        key: `rows ${from}`,
        events: own.map(({ origin: _, at, ...data }) => ({ type: "Departed", data, occurredAt: at })),
      }),
    );
    if (int(2) === 0) {
      await Bun.sleep(int(40));
      await airports.kill();
      await airports.start();
    }
    await Promise.all(appends);
    done.push(...some);
    if (int(4) === 0) await airports.order({ op: "rebuild", projection: "routes" });
    if (int(4) === 0) {
      const entity = [...byOrigin.keys()][int(byOrigin.size)] ?? "";
      const gone = await airports.order<{ status: string }>({ op: "delete", entity });
      expect(gone.status).toBe("erased");
      erased.add(entity);
    }
  }
  const left = done.filter(({ origin }) => !erased.has(origin));
  const expected = (keyOf: (flight: (typeof flights)[number]) => readonly string[]) =>
    [...Map.groupBy(left, (flight) => JSON.stringify(keyOf(flight)))].map(([key, own]) => [
      ...(JSON.parse(key) as string[]),
      own.length,
      own.filter(({ delay }) => delay > 15).length,
      own.reduce((sum, { delay }) => sum + delay, 0) / own.length,
    ]);
  const columns = "flights, late, mean_minutes";
  const byRoute = await airports.order<unknown[][]>({
    op: "query",
    sql: `SELECT origin, destination, ${columns} FROM delays_by_route`,
  });
  expect(sorted(byRoute)).toEqual(sorted(expected(({ origin, destination }) => [origin, destination])));
  const byMonth = await airports.order<unknown[][]>({
    op: "query",
    sql: `SELECT month, ${columns} FROM delays_by_month`,
  });
  expect(sorted(byMonth)).toEqual(sorted(expected(({ at }) => [new Date(at).toISOString().slice(0, 7)])));
  await airports.close();
}, 600_000);
