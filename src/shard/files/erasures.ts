/**
 * The table `erasures` of runs.db: how far each erasure of this shard is, and what it removed.
 *
 * - A row comes with the transaction that settles the ERASE record, or when the ledger is found to know more than it.
 * - The rows of an erased entity are ciphertext without a key. They are removed in slices, so that the writer settles
 *   other records in between; what was removed is counted in the same transaction.
 * - A slice ends by bytes too: to free a row, SQLite reads every page that it goes on in.
 * - Rows go in the order of the file, those of all entities that are due together. SQLite uses the pages that were freed last first, one by
 *   one: pages that are freed in another order scatter what is written next, and every checkpoint with it (docs/decisions/0007-erasure.md).
 */
import type { Database } from "bun:sqlite";
import { guard, transact } from "../sqlite/database.ts";
import type { PersonalIndex } from "./personal-index.ts";

export const erasureState = { complete: 0, rowsRemain: 1, nameRemains: 2 } as const;

export const erasuresSchema = [
  `CREATE TABLE erasures (
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    state INTEGER NOT NULL,
    events INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    snapshots INTEGER NOT NULL,
    callerKeys INTEGER NOT NULL
  ) STRICT`,
  "CREATE INDEX erasuresByPosition ON erasures (position)",
  "CREATE INDEX erasuresUnderWay ON erasures (state, number) WHERE state > 0",
];

export interface ErasureRow {
  readonly number: number;
  /** Of the ERASE record. */
  readonly position: number;
  /** Its index in the ledger. */
  readonly entry: number;
  readonly state: number;
  /** Events that the entity had, and rows that were removed so far. */
  readonly events: number;
  readonly runs: number;
  readonly snapshots: number;
  readonly callerKeys: number;
}

/** Rows of erased entities that are planned at once; each takes some 50 bytes until it is gone. */
const plannedRowsMax = 65_536;

type Table = "runs" | "callerKeys";

interface Planned {
  readonly table: Table;
  readonly id: number;
  readonly number: number;
}

/** What a slice may still remove; what it does remove is taken off. One row is always removed, whatever its bytes. */
export interface Slice {
  rows: number;
  bytes: number;
}

export class Erasures {
  readonly #database: Database;
  readonly #path: string;
  readonly #personal: PersonalIndex;
  /** What is removed next, the first one last. */
  #planned: Planned[] = [];

  constructor(database: Database, path: string, personal: PersonalIndex) {
    this.#database = database;
    this.#path = path;
    this.#personal = personal;
  }

  /** The newest ledger entry that is carried out here. */
  get lastEntry(): number {
    const query = "SELECT max(entry) AS n FROM erasures";
    return guard(this.#path, () => this.#database.query<{ n: number | null }, []>(query).get()?.n ?? 0);
  }

  /** Erasures at positions behind `after`, up to and including `upTo`, in their order. */
  between(after: number, upTo: number): Pick<ErasureRow, "number" | "position">[] {
    const query =
      "SELECT number, position FROM erasures WHERE position > ? AND position <= ? ORDER BY position";
    return guard(this.#path, () =>
      this.#database.query<ErasureRow, [number, number]>(query).all(after, upTo),
    );
  }

  find(number: number): ErasureRow | undefined {
    const query = "SELECT * FROM erasures WHERE number = ?";
    return guard(
      this.#path,
      () => this.#database.query<ErasureRow, [number]>(query).get(number) ?? undefined,
    );
  }

  /** Inside a transaction: the entity is erased, its rows remain. A repeat changes only what the record says. */
  begin(number: number, position: number, entry: number, events: number): void {
    const statement = this.#database.query(
      `INSERT INTO erasures VALUES (?, ?, ?, ${erasureState.rowsRemain}, ?, 0, 0, 0)
       ON CONFLICT (number) DO UPDATE SET position = excluded.position, events = excluded.events`,
    );
    statement.run(number, position, entry, events);
  }

  /** As {@link begin}, for entries of the ledger that this file does not have yet; counts the events itself. */
  beginAll(entries: readonly { number: number; position: number; index: number }[]): void {
    const tip = this.#database.query<{ n: number | null }, [number]>(
      "SELECT max(seq + count - 1) AS n FROM runs WHERE number = ?",
    );
    transact(this.#database, this.#path, "IMMEDIATE", () => {
      for (const { number, position, index } of entries)
        this.begin(number, position, index, tip.get(number)?.n ?? 0);
    });
  }

  /** Removes about so much of erased entities. Returns the entities of which nothing is left. */
  sweep(slice: Slice): ErasureRow[] {
    return transact(this.#database, this.#path, "IMMEDIATE", () => {
      if (this.#planned.length === 0) this.#plan();
      this.#removePlanned(slice);
      return this.#planned.length === 0 ? this.#finish(slice) : [];
    });
  }

  /** Erasures of which only the name remains. */
  get named(): ErasureRow[] {
    return this.#inState(erasureState.nameRemains, -1);
  }

  /** Numbers of erased entities of which rows remain. */
  get withRows(): number[] {
    return this.#inState(erasureState.rowsRemain, -1).map(({ number }) => number);
  }

  get hasRows(): boolean {
    return this.#inState(erasureState.rowsRemain, 1).length > 0;
  }

  /** The names are gone too. */
  complete(numbers: readonly number[]): void {
    const statement = this.#database.query("UPDATE erasures SET state = 0 WHERE number = ?");
    transact(this.#database, this.#path, "IMMEDIATE", () => {
      for (const number of numbers) statement.run(number);
    });
  }

  #inState(state: number, limit: number): ErasureRow[] {
    const query = "SELECT * FROM erasures WHERE state = ? AND state > 0 ORDER BY number LIMIT ?";
    return guard(this.#path, () =>
      this.#database.query<ErasureRow, [number, number]>(query).all(state, limit),
    );
  }

  /** Plans the rows of the entities that are due by now, in the order of the file. */
  #plan(): void {
    for (const table of ["callerKeys", "runs"] as const) {
      const rows = this.#database.query<{ id: number }, [number, number]>(
        `SELECT id FROM ${table} WHERE number = ? LIMIT ?`,
      );
      const planned: Planned[] = [];
      for (const { number } of this.#inState(erasureState.rowsRemain, plannedRowsMax)) {
        if (planned.length >= plannedRowsMax) break;
        for (const { id } of rows.all(number, plannedRowsMax - planned.length))
          planned.push({ table, id, number });
      }
      planned.sort((one, other) => other.id - one.id);
      this.#planned.push(...planned);
    }
  }

  #removePlanned(slice: Slice): void {
    const removed = new Map<number, { runs: number; callerKeys: number }>();
    for (
      let next = this.#planned.at(-1);
      next !== undefined && !isSpent(slice);
      next = this.#planned.at(-1)
    ) {
      const { table, id, number } = next;
      // A row's header says how long its data is: nothing of that is read.
      const length = `SELECT length(data) AS bytes FROM ${table} WHERE id = ?`;
      slice.bytes -= this.#database.query<{ bytes: number }, [number]>(length).get(id)?.bytes ?? 0;
      slice.rows -= 1;
      this.#database.query(`DELETE FROM ${table} WHERE id = ?`).run(id);
      const counts = removed.get(number) ?? { runs: 0, callerKeys: 0 };
      counts[table]++;
      removed.set(number, counts);
      this.#planned.pop();
    }
    for (const [number, { runs, callerKeys }] of removed)
      this.#count(number, erasureState.rowsRemain, runs, 0, callerKeys);
  }

  /** Removes the rest of entities that have neither runs nor caller keys left. */
  #finish(slice: Slice): ErasureRow[] {
    const finished: number[] = [];
    const left = this.#database.query(
      "SELECT 1 FROM runs WHERE number = ?1 UNION ALL SELECT 1 FROM callerKeys WHERE number = ?1 LIMIT 1",
    );
    for (const { number } of this.#inState(erasureState.rowsRemain, Math.max(1, slice.rows))) {
      if (isSpent(slice)) break;
      if (left.get(number) !== null) continue;
      slice.rows -= this.#personal.removeSubject(number, slice.rows);
      if (isSpent(slice)) break;
      const snapshots = this.#removeSnapshots(number, slice);
      slice.rows -= 1;
      this.#count(number, erasureState.nameRemains, 0, snapshots, 0);
      finished.push(number);
    }
    return finished.flatMap((number) => this.find(number) ?? []);
  }

  /** All of them: an entity has one of each aggregate, and one before them. */
  #removeSnapshots(number: number, slice: Slice): number {
    this.#personal.removeHost(number);
    this.#database.query("DELETE FROM holds WHERE number = ?").run(number);
    const remove = (table: "bases" | "snapshots") => {
      const query = `SELECT sum(length(data)) AS bytes FROM ${table} WHERE number = ?`;
      const row = this.#database.query<{ bytes: number | null }, [number]>(query).get(number);
      slice.bytes -= row?.bytes ?? 0;
      const { changes } = this.#database.query(`DELETE FROM ${table} WHERE number = ?`).run(number);
      slice.rows -= changes;
      return changes;
    };
    remove("bases");
    return remove("snapshots");
  }

  #count(number: number, state: number, runs: number, snapshots: number, callerKeys: number): void {
    const statement = this.#database.query(
      `UPDATE erasures SET state = ?, runs = runs + ?, snapshots = snapshots + ?, callerKeys = callerKeys + ?
       WHERE number = ?`,
    );
    statement.run(state, runs, snapshots, callerKeys, number);
  }
}

function isSpent({ rows, bytes }: Slice): boolean {
  return rows <= 0 || bytes <= 0;
}
