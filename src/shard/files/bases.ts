/**
 * The table `bases` of runs.db: what histories begin with whose first events were dropped by retention.
 *
 * - Each entity with dropped events has a row for aggregate 0, which says what was dropped, and per aggregate the state
 *   behind the newest of them. All are of that seq, and change together with the removal of the runs.
 * - The newest run of an entity is never dropped. So there is a run behind every base, and its first seq follows.
 */
import type { Database } from "bun:sqlite";
import { guard, transact } from "./database.ts";
import type { PersonalIndex } from "./personal-index.ts";
import type { SnapshotRow } from "./runs.ts";

export const basesSchema = [
  `CREATE TABLE bases (
    number INTEGER NOT NULL,
    aggregate INTEGER NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (number, aggregate)
  ) STRICT`,
];

/** In the place of an aggregate: what was dropped. */
export const droppedMark = 0;

export class Bases {
  readonly #database: Database;
  readonly #path: string;
  readonly #personal: PersonalIndex;

  constructor(database: Database, path: string, personal: PersonalIndex) {
    this.#database = database;
    this.#path = path;
    this.#personal = personal;
  }

  /** Up to which seq the events of an entity were dropped; 0 when they were not. */
  droppedTo(number: number): number {
    const query = `SELECT seq FROM bases WHERE number = ? AND aggregate = ${droppedMark}`;
    return guard(
      this.#path,
      () => this.#database.query<{ seq: number }, [number]>(query).get(number)?.seq ?? 0,
    );
  }

  /** The rows of an entity; none when nothing of it was dropped. */
  of(number: number): SnapshotRow[] {
    const query = "SELECT aggregate, version, seq, data FROM bases WHERE number = ?";
    return guard(this.#path, () => this.#database.query<SnapshotRow, [number]>(query).all(number));
  }

  /**
   * Removes the runs of an entity up to a seq and puts `rows` in their place, in one transaction. Nothing is done, and
   * 0 returned, unless a run ends there and another follows.
   */
  drop(number: number, to: number, rows: readonly SnapshotRow[]): number {
    const remaining = this.#database.query<{ n: number }, [number, number]>(
      "SELECT count(*) AS n FROM runs WHERE number = ? AND seq = ?",
    );
    const put = this.#database.query("INSERT OR REPLACE INTO bases VALUES (?, ?, ?, ?, ?)");
    return transact(this.#database, this.#path, "IMMEDIATE", () => {
      if (remaining.get(number, to + 1)?.n !== 1) return 0;
      const removed = this.#database
        .query("DELETE FROM runs WHERE number = ? AND seq <= ?")
        .run(number, to).changes;
      if (removed === 0) return 0;
      this.#personal.removeHost(number, to);
      this.#database.query("DELETE FROM bases WHERE number = ?").run(number);
      for (const { aggregate, version, seq, data } of rows) put.run(number, aggregate, version, seq, data);
      this.#database.query("DELETE FROM snapshots WHERE number = ? AND seq < ?").run(number, to);
      return removed;
    });
  }
}
