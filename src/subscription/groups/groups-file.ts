/**
 * groups.db: which groups there are, how far each is, and what it parked.
 *
 * - Numbers, seqs and positions: no ids of entities, no data. Erased entities are taken out all the same.
 * - WAL without a sync per commit: a power failure loses the newest commits, in order, and their events are delivered again.
 * - Positions mean nothing in another incarnation; a file of one is begun anew. Those that are ahead of what the context recovered, as a
 *   journal without syncs may be behind, are of records that are lost: other records get them.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { guard, isWalEmptied, syncNames } from "../../shard/sqlite/database.ts";

export interface GroupQuery {
  readonly prefix?: string | undefined;
  readonly types?: readonly string[] | undefined;
}

/** A parked event, as a reference. */
export interface ParkedRow {
  readonly id: number;
  readonly shard: number;
  readonly number: number;
  readonly seq: number;
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
  /** ms since 1970. */
  readonly parkedAt: number;
}

export type ParkedEntity = Pick<ParkedRow, "shard" | "number">;

export const groupsFileName = "groups.db";

const schema = [
  "CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, incarnation TEXT NOT NULL) STRICT",
  "CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, query TEXT NOT NULL) STRICT",
  `CREATE TABLE IF NOT EXISTS checkpoints (
    name TEXT NOT NULL, shard INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (name, shard)) STRICT`,
  `CREATE TABLE IF NOT EXISTS parked (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    parkedAt INTEGER NOT NULL,
    UNIQUE (name, shard, number, seq)) STRICT`,
  "CREATE INDEX IF NOT EXISTS parkedByEntity ON parked (shard, number)",
];

export class GroupsFile {
  readonly #path: string;
  readonly #database: Database;

  /** `recovered`: by shard, the newest position when the context was opened. Errors: IO_ERROR, CORRUPT. */
  constructor(dataDir: string, incarnation: string, recovered: readonly number[]) {
    this.#path = join(dataDir, groupsFileName);
    syncNames(this.#path);
    this.#database = this.#guard(() => new Database(this.#path, { create: true, readwrite: true }));
    this.#guard(() => {
      for (const pragma of [
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "temp_store = MEMORY",
        "secure_delete = ON",
      ]) {
        this.#database.run(`PRAGMA ${pragma}`);
      }
      for (const statement of schema) this.#database.run(statement);
      const meta = this.#database.query<{ incarnation: string }, []>("SELECT incarnation FROM meta").get();
      if (meta?.incarnation === incarnation) {
        this.#comeBackTo(recovered);
        return;
      }
      this.#transact(() => {
        for (const table of ["meta", "groups", "checkpoints", "parked"])
          this.#database.run(`DELETE FROM ${table}`);
        this.#database.query("INSERT INTO meta VALUES (1, 1, ?)").run(incarnation);
      });
    });
  }

  names(): string[] {
    const rows = this.#guard(() =>
      this.#database.query<{ name: string }, []>("SELECT name FROM groups ORDER BY name").all(),
    );
    return rows.map(({ name }) => name);
  }

  query(name: string): GroupQuery | undefined {
    const row = this.#guard(() =>
      this.#database.query<{ query: string }, [string]>("SELECT query FROM groups WHERE name = ?").get(name),
    );
    return row === null ? undefined : (JSON.parse(row.query) as GroupQuery);
  }

  create(name: string, query: GroupQuery, positions: readonly (number | undefined)[]): void {
    this.#transact(() => {
      this.#database.query("INSERT INTO groups VALUES (?, ?)").run(name, JSON.stringify(query));
      this.#save(name, positions);
    });
  }

  remove(name: string): void {
    this.#transact(() => {
      for (const table of ["groups", "checkpoints", "parked"]) {
        this.#database.query(`DELETE FROM ${table} WHERE name = ?`).run(name);
      }
    });
  }

  /** By shard. */
  checkpoint(name: string): (number | undefined)[] {
    const query = "SELECT shard, position FROM checkpoints WHERE name = ?";
    const positions: (number | undefined)[] = [];
    const rows = this.#guard(() =>
      this.#database.query<{ shard: number; position: number }, [string]>(query).all(name),
    );
    for (const { shard, position } of rows) positions[shard] = position;
    return positions;
  }

  save(name: string, positions: readonly (number | undefined)[]): void {
    this.#transact(() => this.#save(name, positions));
  }

  /**
   * Parks an event, or says of a parked one, by its `id`, how often it was tried, together with the checkpoint. An event that retention
   * has dropped since it was parked has another seq: that of its mark.
   */
  park(
    name: string,
    row: Omit<ParkedRow, "id">,
    positions: readonly (number | undefined)[],
    id: number | undefined,
  ): void {
    this.#transact(() => {
      const { shard, number, seq, position, attempts, reason, parkedAt } = row;
      const again = this.#database.query("UPDATE parked SET attempts = ?, reason = ? WHERE id = ?");
      const isKnown = id !== undefined && again.run(attempts, reason, id).changes > 0;
      if (!isKnown)
        this.#database
          .query(
            `INSERT INTO parked (name, shard, number, seq, position, attempts, reason, parkedAt) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET attempts = excluded.attempts, reason = excluded.reason`,
          )
          .run(name, shard, number, seq, position, attempts, reason, parkedAt);
      this.#save(name, positions);
    });
  }

  unpark(id: number): void {
    this.#transact(() => this.#database.query("DELETE FROM parked WHERE id = ?").run(id));
  }

  /** Oldest first. */
  parked(name: string, limit: number): ParkedRow[] {
    const query = "SELECT * FROM parked WHERE name = ? ORDER BY id LIMIT ?";
    return this.#guard(() => this.#database.query<ParkedRow, [string, number]>(query).all(name, limit));
  }

  parkedCounts(name: string): { count: number; oldestAt: number | undefined } {
    const query = "SELECT count(*) AS n, min(parkedAt) AS at FROM parked WHERE name = ?";
    const row = this.#guard(() =>
      this.#database.query<{ n: number; at: number | null }, [string]>(query).get(name),
    );
    return { count: row?.n ?? 0, oldestAt: row?.at ?? undefined };
  }

  /** Nothing of these entities stays parked. */
  forget(entities: readonly ParkedEntity[]): void {
    this.#transact(() => {
      const remove = this.#database.query("DELETE FROM parked WHERE shard = ? AND number = ?");
      for (const { shard, number } of entities) remove.run(shard, number);
    });
  }

  /** Empties the WAL, which has what was deleted, on the disk. False while another process reads an older state. */
  emptyWal(): boolean {
    const checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    const isCopied = () => this.#database.query<{ busy: number }, []>(checkpoint).get()?.busy === 0;
    return this.#guard(isCopied) && isWalEmptied(this.#path);
  }

  close(): void {
    this.#database.close();
  }

  #comeBackTo(recovered: readonly number[]): void {
    const ahead = recovered.map((position, shard) => [position, shard] as const);
    this.#transact(() => {
      const back = this.#database.query(
        "UPDATE checkpoints SET position = ?1 WHERE shard = ?2 AND position > ?1",
      );
      const forget = this.#database.query("DELETE FROM parked WHERE position > ?1 AND shard = ?2");
      for (const place of ahead) {
        back.run(...place);
        forget.run(...place);
      }
    });
  }

  #save(name: string, positions: readonly (number | undefined)[]): void {
    const put = this.#database.query("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)");
    for (const [shard, position] of positions.entries())
      if (position !== undefined) put.run(name, shard, position);
  }

  #transact(work: () => unknown): void {
    this.#guard(() => this.#database.transaction(work).immediate());
  }

  #guard<Result>(work: () => Result): Result {
    return guard(this.#path, work);
  }
}
