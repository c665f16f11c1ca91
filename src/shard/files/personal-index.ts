/**
 * The table `personal` of runs.db: in which runs of which hosts parts of a subject lie. Numbers only; made of the runs.
 *
 * - A row comes with its run, in one transaction. It goes when the subject or the host is erased, or the run is dropped.
 * - A state that has folded what can still be erased is stored nowhere, since it would be sealed under the host's key alone:
 *   while an entity has rows here, it gets no new snapshot. Its last one is of before it spoke of anybody.
 */
import type { Database, Statement } from "bun:sqlite";
import { guard } from "../sqlite/database.ts";

export const personalSchema = [
  `CREATE TABLE personal (
    subject INTEGER NOT NULL,
    host INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    PRIMARY KEY (subject, host, seq)
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX personalByHost ON personal (host, seq)",
];

/** A run of a host with parts of a subject. */
export interface PersonalRow {
  readonly host: number;
  /** First seq of the run. */
  readonly seq: number;
  readonly parts: number;
}

export class PersonalIndex {
  readonly #database: Database;
  readonly #path: string;
  readonly #insert: Statement;
  readonly #ofHost: Statement<unknown, [number]>;

  constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
    this.#insert = database.query("INSERT OR REPLACE INTO personal VALUES (?, ?, ?, ?)");
    this.#ofHost = database.query("SELECT 1 FROM personal WHERE host = ? LIMIT 1");
  }

  /** Inside a transaction: the run of a host that begins at `seq` has so many parts of each subject. */
  add(host: number, seq: number, subjects: ReadonlyMap<number, number>): void {
    for (const [subject, parts] of subjects) this.#insert.run(subject, host, seq, parts);
  }

  /** True when the entity speaks of somebody whose erasure is not complete, if there is one. */
  hasHost(host: number): boolean {
    return this.#ofHost.get(host) !== null;
  }

  /** Inside a transaction: forgets at most `limit` rows of a number as a subject; returns how many there were. */
  removeSubject(number: number, limit: number): number {
    const rows = "SELECT host, seq FROM personal WHERE subject = ?1 LIMIT ?2";
    const query = `DELETE FROM personal WHERE subject = ?1 AND (host, seq) IN (${rows})`;
    return this.#database.query(query).run(number, limit).changes;
  }

  /** Inside a transaction: forgets the runs of a host up to a seq. */
  removeHost(number: number, to: number = Number.MAX_SAFE_INTEGER): void {
    this.#database.query("DELETE FROM personal WHERE host = ? AND seq <= ?").run(number, to);
  }

  /** Parts of a subject, and in how many hosts. */
  countOf(subject: number): { readonly parts: number; readonly hosts: number } {
    const query =
      "SELECT coalesce(sum(parts), 0) AS parts, count(DISTINCT host) AS hosts FROM personal WHERE subject = ?";
    return guard(
      this.#path,
      () =>
        this.#database.query<{ parts: number; hosts: number }, [number]>(query).get(subject) ?? {
          parts: 0,
          hosts: 0,
        },
    );
  }

  /** Hosts of a subject behind one, rising. */
  hostsOf(subject: number, after: number, limit: number): number[] {
    const query = "SELECT DISTINCT host FROM personal WHERE subject = ? AND host > ? ORDER BY host LIMIT ?";
    return guard(this.#path, () =>
      this.#database
        .query<{ host: number }, [number, number, number]>(query)
        .all(subject, after, limit)
        .map(({ host }) => host),
    );
  }

  /** Runs with parts of a subject, in the order of hosts and seqs, behind one. */
  runsOf(subject: number, after: Pick<PersonalRow, "host" | "seq">): IterableIterator<PersonalRow> {
    const query =
      "SELECT host, seq, parts FROM personal WHERE subject = ? AND (host, seq) > (?, ?) ORDER BY host, seq";
    return this.#database
      .query<PersonalRow, [number, number, number]>(query)
      .iterate(subject, after.host, after.seq);
  }
}
