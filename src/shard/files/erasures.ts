/**
 * The table `erasures` of runs.db: how far each erasure of this shard is, and what it removed.
 *
 * - A row comes with the transaction that settles the ERASE record, or when the ledger is found to know more than it.
 * - The rows of an erased entity are ciphertext without a key. They are removed in slices, so that the writer settles
 *   other records in between; what was removed is counted in the same transaction.
 * - A slice ends by bytes too: to free a row, SQLite reads every page that it goes on in.
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

/** What a slice may still remove; what it does remove is taken off. One row is always removed, whatever its bytes. */
export interface Slice {
  rows: number;
  bytes: number;
}

export class Erasures {
  readonly #database: Database;
  readonly #path: string;
  readonly #personal: PersonalIndex;

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
      const due = this.#inState(erasureState.rowsRemain, Math.max(1, slice.rows >> 2));
      const swept: ErasureRow[] = [];
      for (const row of due) {
        if (isSpent(slice)) break;
        const runs = this.#remove("runs", row.number, slice);
        const keys = this.#remove("callerKeys", row.number, slice);
        if (!isSpent(slice)) slice.rows -= this.#personal.removeSubject(row.number, slice.rows);
        const isDone = !isSpent(slice);
        const snapshots = isDone ? this.#removeSnapshots(row.number, slice) : 0;
        slice.rows -= 1;
        this.#count(row.number, isDone ? erasureState.nameRemains : row.state, runs, snapshots, keys);
        if (isDone) swept.push(row);
      }
      return swept.flatMap(({ number }) => this.find(number) ?? []);
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

  #remove(table: "runs" | "callerKeys", number: number, slice: Slice): number {
    // A row's header says how long its data is: nothing of that is read.
    const query = `SELECT id, length(data) AS bytes FROM ${table} WHERE number = ?`;
    const rows = this.#database.query<{ id: number; bytes: number }, [number]>(query);
    const ids: number[] = [];
    if (isSpent(slice)) return 0;
    for (const { id, bytes } of rows.iterate(number)) {
      ids.push(id);
      slice.rows -= 1;
      slice.bytes -= bytes;
      if (isSpent(slice)) break;
    }
    const remove = this.#database.query(`DELETE FROM ${table} WHERE id = ?`);
    for (const id of ids) remove.run(id);
    return ids.length;
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
