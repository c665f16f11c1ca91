/**
 * The table `bases` of runs.db: what histories begin with whose first events were dropped by retention.
 *
 * - Each entity with dropped events has a row for aggregate 0, which says what was dropped, and per aggregate the state
 *   behind the newest of them. All are of that seq, and change together with the removal of the runs.
 * - A row for aggregate -1, -2 … has as its version a position at which the newest dropped event of some type stood: that is
 *   how the feed finds what was dropped behind a position. It holds nothing else.
 * - The newest run of an entity is never dropped. So there is a run behind every base, and its first seq follows.
 */
import type { Database } from "bun:sqlite";
import { guard, transact } from "../sqlite/database.ts";
import type { PersonalIndex } from "./personal-index.ts";
import type { SnapshotRow } from "./runs.ts";

/** Files that were made by earlier versions get it when they are opened to be written. */
export const basesByPosition = "CREATE INDEX basesByPosition ON bases (version) WHERE aggregate < 0";

export const basesSchema = [
  `CREATE TABLE bases (
    number INTEGER NOT NULL,
    aggregate INTEGER NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (number, aggregate)
  ) STRICT`,
  basesByPosition,
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

  /**
   * Where events were dropped behind `after`, up to and including `upTo`, in the order of positions: at least `limit` places, if
   * there are so many, and always all of a position.
   */
  placesBetween(after: number, upTo: number, limit: number): { number: number; position: number }[] {
    const where = "FROM bases WHERE aggregate < 0 AND version > ? AND version <= ?";
    const cut = `SELECT version AS position ${where} ORDER BY version LIMIT 1 OFFSET ?`;
    const places = `SELECT number, version AS position ${where} ORDER BY version, number`;
    type Place = { number: number; position: number };
    return guard(this.#path, () => {
      const last = this.#database.query<Place, number[]>(cut).get(after, upTo, limit - 1)?.position ?? upTo;
      return this.#database.query<Place, number[]>(places).all(after, last);
    });
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
