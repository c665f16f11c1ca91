/**
 * What is left in a shard's files of numbers that its ledger has: nothing, once every erasure is complete.
 */
import { Database } from "bun:sqlite";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { readIdentity } from "../../src/core/data-directory.ts";
import { readLedger } from "../../src/shard/files/ledger.ts";
import { slotBytes, slotOffset } from "../../src/shard/files/vault.ts";

/** A sentence for everything that is left, of a directory that nobody has open. */
export function remainsOf(dataDir: string): string[] {
  const { context } = readIdentity(dataDir);
  return readdirSync(join(dataDir, "shards")).flatMap((name) => {
    const directory = join(dataDir, "shards", name);
    const place = { path: join(directory, "ledger"), context, shard: Number(name) };
    const numbers = readLedger(place).map(({ number }) => number);
    return [...slotsIn(directory, numbers), ...rowsIn(directory, numbers)].map(
      (what) => `shard ${name}: ${what}`,
    );
  });
}

function slotsIn(directory: string, numbers: readonly number[]): string[] {
  const vault = readFileSync(join(directory, "vault"));
  const slotOf = (number: number) => vault.subarray(slotOffset(number), slotOffset(number) + slotBytes);
  return numbers
    .filter((number) => slotOf(number).some((byte) => byte !== 0))
    .map((number) => `the key of number ${number} is there`);
}

function rowsIn(directory: string, numbers: readonly number[]): string[] {
  const left: string[] = [];
  const tables = { "runs.db": ["runs", "snapshots", "bases", "callerKeys", "holds"], "names.db": ["names"] };
  for (const [file, names] of Object.entries(tables)) {
    const database = new Database(join(directory, file), { readonly: true });
    for (const table of names) {
      const query = database.query<{ n: number }, [number]>(
        `SELECT count(*) AS n FROM ${table} WHERE number = ?`,
      );
      for (const number of numbers) {
        const { n } = query.get(number) ?? { n: 0 };
        if (n > 0) left.push(`${file} has ${n} rows of number ${number} in ${table}`);
      }
    }
    if (file === "runs.db") {
      const query = "SELECT count(*) AS n FROM personal WHERE subject = ?1 OR host = ?1";
      const spoken = database.query<{ n: number }, [number]>(query);
      for (const number of numbers)
        if ((spoken.get(number)?.n ?? 0) > 0) left.push(`personal has rows of number ${number}`);
    }
    const [underWay, what] =
      file === "runs.db"
        ? ["SELECT count(*) AS n FROM erasures WHERE state > 0", "erasures are not complete"]
        : ["SELECT count(*) AS n FROM erasing", "names are being erased"];
    const n = database.query<{ n: number }, []>(underWay).get()?.n ?? 0;
    if (n > 0) left.push(`${file}: ${n} ${what}`);
    const known = file === "runs.db" ? "SELECT count(*) AS n FROM erasures" : undefined;
    const rows = known === undefined ? numbers.length : database.query<{ n: number }, []>(known).get()?.n;
    if (rows !== numbers.length) left.push(`runs.db knows ${rows} erasures, the ledger ${numbers.length}`);
    database.close();
    const wal = join(directory, `${file}-wal`);
    if (statSync(wal, { throwIfNoEntry: false })?.size) left.push(`${file} has a WAL`);
  }
  return left;
}
