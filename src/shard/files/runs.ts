/**
 * runs.db: the events of a shard, as rows of numbers and ciphertext.
 *
 * - Rows of `runs` are in the order of arrival; `batch` is the shard position up to which their transaction settled, so
 *   the batches can be merged by position later. Per entity the runs are contiguous: the index on (number, seq) is
 *   unique, and `check` proves that there are no gaps.
 * - Runs, snapshots, caller keys, delivery windows and the settled position change in one transaction.
 * - Ids of caller keys are never given out twice (AUTOINCREMENT): the saved filter is complete up to one of them.
 * - This file neither seals nor opens what is in `data`: see sealed.ts.
 */
import type { Database, Statement } from "bun:sqlite";
import { join } from "node:path";
import type { DeliverySession, DeliveryWindowDraft } from "../../core/delivery-windows.ts";
import { WarpError } from "../../core/errors.ts";
import {
  type CheckpointMode,
  checkpoint,
  guard,
  type Meta,
  openDatabase,
  prepareSchema,
  readMeta,
  rowChecksum,
  transact,
  walBytesOf,
  writeMeta,
} from "../sqlite/database.ts";
import { Bases, basesByPosition, basesSchema } from "./bases.ts";
import { Erasures, erasuresSchema } from "./erasures.ts";
import { Holds, holdsSchema } from "./holds.ts";
import { PersonalIndex, personalSchema } from "./personal-index.ts";

export const runsSchema = [
  `CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    data BLOB NOT NULL
  ) STRICT`,
  "CREATE UNIQUE INDEX runsByEntity ON runs (number, seq)",
  `CREATE TABLE snapshots (
    number INTEGER NOT NULL,
    aggregate INTEGER NOT NULL,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (number, aggregate)
  ) STRICT`,
  `CREATE TABLE callerKeys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    firstSeq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    data BLOB NOT NULL
  ) STRICT`,
  "CREATE UNIQUE INDEX callerKeysByEntity ON callerKeys (number, hash)",
  `CREATE TABLE deliveries (
    sessionStart REAL NOT NULL,
    sessionNumber REAL NOT NULL,
    usedAt REAL NOT NULL,
    results BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (sessionStart, sessionNumber)
  ) STRICT`,
  ...erasuresSchema,
  ...basesSchema,
  ...holdsSchema,
  ...personalSchema,
];

const insertRun = "INSERT INTO runs (number, seq, count, batch, data) VALUES (?, ?, ?, ?, ?)";
const insertCallerKey = "INSERT INTO callerKeys (number, hash, firstSeq, count, data) VALUES (?, ?, ?, ?, ?)";
const putSnapshot = `INSERT INTO snapshots (number, aggregate, version, seq, data) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (number, aggregate) DO UPDATE SET version = excluded.version, seq = excluded.seq, data = excluded.data
  WHERE excluded.version <> version OR excluded.seq > seq`;
const putDelivery = "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?)";

export interface RunRow {
  readonly seq: number;
  readonly count: number;
  readonly batch: number;
  readonly data: Uint8Array;
}

export interface ArrivedRow extends RunRow {
  readonly id: number;
  readonly number: number;
}

export interface SnapshotRow {
  readonly aggregate: number;
  readonly version: number;
  readonly seq: number;
  readonly data: Uint8Array;
}

export interface CallerKeyRow {
  readonly id: number;
  readonly number: number;
  readonly hash: Uint8Array;
  readonly firstSeq: number;
  readonly count: number;
  readonly data: Uint8Array;
}

interface DeliveryRow extends Omit<DeliveryWindowDraft, "shard"> {
  readonly checksum: number;
}

/** What may be written inside {@link Runs.settle}. */
export interface RunsTransaction {
  readonly insertRun: Statement;
  readonly insertCallerKey: Statement;
  readonly putSnapshot: Statement;
  putDelivery(window: DeliveryWindowDraft): void;
}

export interface RunsOptions {
  readonly directory: string;
  readonly shard: number;
  readonly access: "read" | "write";
  readonly cacheBytes: number;
}

export class Runs {
  readonly path: string;
  readonly erasures: Erasures;
  readonly bases: Bases;
  readonly holds: Holds;
  readonly personal: PersonalIndex;
  readonly #database: Database;
  readonly #shard: number;
  readonly #tip: Statement<{ seq: number; count: number }, [number]>;
  readonly #forward: Statement<RunRow, [number, number, number]>;
  readonly #fromStart: Statement<RunRow, [number, number]>;
  readonly #backward: Statement<RunRow, [number, number]>;
  readonly #arrived: Statement<ArrivedRow, [number]>;
  readonly #arrival: Statement<{ id: number; batch: number }, [number]>;
  readonly #transaction: RunsTransaction;
  #meta: Meta;

  private constructor(options: RunsOptions, path: string, database: Database) {
    this.path = path;
    this.#database = database;
    this.#shard = options.shard;
    this.personal = new PersonalIndex(database, path);
    this.erasures = new Erasures(database, path, this.personal);
    this.bases = new Bases(database, path, this.personal);
    this.holds = new Holds(database, path);
    this.#meta = readMeta(database, path, options.shard);
    this.#tip = database.query("SELECT seq, count FROM runs WHERE number = ? ORDER BY seq DESC LIMIT 1");
    this.#forward = database.query(
      `SELECT seq, count, batch, data FROM runs WHERE number = ?1 AND seq <= ?3
       AND seq >= coalesce((SELECT max(seq) FROM runs WHERE number = ?1 AND seq <= ?2), ?2)
       AND seq + count > ?2 ORDER BY seq`,
    );
    this.#fromStart = database.query(
      "SELECT seq, count, batch, data FROM runs WHERE number = ? AND seq <= ? ORDER BY seq",
    );
    this.#backward = database.query(
      "SELECT seq, count, batch, data FROM runs WHERE number = ? AND seq <= ? ORDER BY seq DESC",
    );
    this.#arrived = database.query(
      "SELECT id, number, seq, count, batch, data FROM runs WHERE id >= ? ORDER BY id",
    );
    this.#arrival = database.query("SELECT id, batch FROM runs WHERE id >= ? ORDER BY id LIMIT 1");
    const delivery = database.query(putDelivery);
    this.#transaction = {
      insertRun: database.query(insertRun),
      insertCallerKey: database.query(insertCallerKey),
      putSnapshot: database.query(putSnapshot),
      putDelivery: ({ sessionStart, sessionNumber, usedAt, results }) => {
        const checksum = rowChecksum([sessionStart, sessionNumber, usedAt], results);
        delivery.run(sessionStart, sessionNumber, usedAt, results, checksum);
      },
    };
  }

  static open(options: RunsOptions): Runs {
    const path = join(options.directory, "runs.db");
    const { access, cacheBytes } = options;
    const database = openDatabase(path, { access, synchronous: "NORMAL", cacheBytes });
    try {
      if (access === "write") {
        prepareSchema(database, path, options.shard, runsSchema);
        guard(path, () => database.run(basesByPosition.replace("INDEX", "INDEX IF NOT EXISTS")));
      }
      return guard(path, () => new Runs(options, path, database));
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** As of the last transaction of this connection's own. */
  get meta(): Meta {
    return this.#meta;
  }

  /** One transaction: what `work` writes, and the new meta row. */
  settle(
    meta: Pick<Meta, "position" | "nextNumber" | "lastRecordedAt">,
    work: (to: RunsTransaction) => void,
  ): void {
    const next: Meta = { ...this.#meta, ...meta };
    transact(this.#database, this.path, "IMMEDIATE", () => {
      work(this.#transaction);
      writeMeta(this.#database, next);
    });
    this.#meta = next;
  }

  /** One consistent view for all reads of `work`. */
  view<Result>(work: () => Result): Result {
    return transact(this.#database, this.path, "DEFERRED", work);
  }

  /** The newest seq of an entity; 0 when it has no run. */
  tipOf(number: number): number {
    const row = this.#tip.get(number);
    return row === null ? 0 : row.seq + row.count - 1;
  }

  /**
   * Runs with a seq in [from, to], ascending; the first may begin before `from`. One that ends before it is left out by its
   * numbers alone: its data, which may be many pages, is not read.
   */
  forward(number: number, from: number, to: number): IterableIterator<RunRow> {
    // Looking for the run that holds `from` is a second search, which the start does not need.
    return from <= 1 ? this.#fromStart.iterate(number, to) : this.#forward.iterate(number, from, to);
  }

  /** The run that begins at `seq`. */
  at(number: number, seq: number): RunRow | undefined {
    const query = "SELECT seq, count, batch, data FROM runs WHERE number = ? AND seq = ?";
    return this.#database.query<RunRow, [number, number]>(query).get(number, seq) ?? undefined;
  }

  /** Runs that begin at `to` or before, descending. */
  backward(number: number, to: number): IterableIterator<RunRow> {
    return this.#backward.iterate(number, to);
  }

  /** All runs of batches behind a position, in the order of arrival. */
  arrivedBehind(position: number): IterableIterator<ArrivedRow> {
    return this.#arrived.iterate(this.#firstBehind(position));
  }

  /** The first run with this id or a later one. */
  arrivedFrom(id: number): ArrivedRow | undefined {
    for (const row of this.#arrived.iterate(id)) return row;
    return undefined;
  }

  /** The ids that there may be: from `first`, below `end`. */
  arrivals(): { first: number; end: number } {
    const query = "SELECT coalesce(min(id), 1) AS first, coalesce(max(id), 0) + 1 AS end FROM runs";
    return this.#database.query<{ first: number; end: number }, []>(query).get() ?? { first: 1, end: 1 };
  }

  /** The batch before this one; 0 when it is the first. */
  batchBefore(batch: number): number {
    const query = "SELECT batch FROM runs WHERE id < ? ORDER BY id DESC LIMIT 1";
    const first = this.#firstBehind(batch - 1);
    return this.#database.query<{ batch: number }, [number]>(query).get(first)?.batch ?? 0;
  }

  /** Changes whenever another connection has written. */
  get version(): number {
    return this.#database.query<{ data_version: number }, []>("PRAGMA data_version").get()?.data_version ?? 0;
  }

  /** The first id that can be of a batch behind `position`: batches rise with ids. */
  #firstBehind(position: number): number {
    let { first, end } = this.arrivals();
    while (first < end) {
      const middle = Math.floor((first + end) / 2);
      const row = this.#arrival.get(middle);
      if (row === null || row.batch > position) end = middle;
      else first = row.id + 1;
    }
    return first;
  }

  /** Numbers behind one that have more than one run, rising. */
  numbersWithRuns(after: number, limit: number): number[] {
    const query =
      "SELECT number FROM runs WHERE number > ? GROUP BY number HAVING count(*) > 1 ORDER BY number LIMIT ?";
    return this.#database
      .query<{ number: number }, [number, number]>(query)
      .all(after, limit)
      .map(({ number }) => number);
  }

  /** Rows of an entity, and the bytes of their ciphertext. */
  sizesOf(number: number): { runs: number; snapshots: number; callerKeys: number; bytes: number } {
    const of = (table: string) =>
      this.#database
        .query<{ n: number; bytes: number | null }, [number]>(
          `SELECT count(*) AS n, sum(length(data)) AS bytes FROM ${table} WHERE number = ?`,
        )
        .get(number) ?? { n: 0, bytes: 0 };
    const [runs, snapshots, callerKeys] = [of("runs"), of("snapshots"), of("callerKeys")];
    const bytes = (runs.bytes ?? 0) + (snapshots.bytes ?? 0) + (callerKeys.bytes ?? 0);
    return { runs: runs.n, snapshots: snapshots.n, callerKeys: callerKeys.n, bytes };
  }

  snapshotsOf(number: number): SnapshotRow[] {
    return this.#database
      .query<SnapshotRow, [number]>("SELECT aggregate, version, seq, data FROM snapshots WHERE number = ?")
      .all(number);
  }

  callerKey(number: number, hash: Uint8Array): CallerKeyRow | undefined {
    const query = "SELECT * FROM callerKeys WHERE number = ? AND hash = ?";
    return this.#database.query<CallerKeyRow, [number, Uint8Array]>(query).get(number, hash) ?? undefined;
  }

  callerKeysAfter(id: number): IterableIterator<CallerKeyRow> {
    return this.#database
      .query<CallerKeyRow, [number]>("SELECT * FROM callerKeys WHERE id > ? ORDER BY id")
      .iterate(id);
  }

  get callerKeyCount(): number {
    return this.#database.query<{ n: number }, []>("SELECT count(*) AS n FROM callerKeys").get()?.n ?? 0;
  }

  get lastCallerKey(): number {
    return (
      this.#database.query<{ n: number | null }, []>("SELECT max(id) AS n FROM callerKeys").get()?.n ?? 0
    );
  }

  /**
   * The delivery windows that were used last, as far as they fit in so many bytes, and the latest start of a session among
   * the others. Errors: CORRUPT.
   */
  deliveries(bytesMax: number): {
    readonly windows: readonly DeliveryWindowDraft[];
    readonly absentTo: number | undefined;
  } {
    const database = this.#database;
    const cut = database
      .query<{ usedAt: number }, [number]>(
        `SELECT usedAt FROM (SELECT usedAt, sum(length(results)) OVER (ORDER BY usedAt DESC) AS bytes FROM deliveries)
         WHERE bytes > ? ORDER BY usedAt DESC LIMIT 1`,
      )
      .get(bytesMax);
    if (cut === null) {
      const rows = database.query<DeliveryRow, []>("SELECT * FROM deliveries").all();
      return { windows: rows.map((row) => this.#verified(row)), absentTo: undefined };
    }
    const rows = database
      .query<DeliveryRow, [number]>("SELECT * FROM deliveries WHERE usedAt > ?")
      .all(cut.usedAt);
    const others = "SELECT max(sessionStart) AS start FROM deliveries WHERE usedAt <= ?";
    const absent = database.query<{ start: number }, [number]>(others).get(cut.usedAt);
    return { windows: rows.map((row) => this.#verified(row)), absentTo: absent?.start };
  }

  /** The results of a session. Errors: CORRUPT. */
  delivery({ sessionStart, sessionNumber }: DeliverySession): Uint8Array | undefined {
    const query = "SELECT * FROM deliveries WHERE sessionStart = ? AND sessionNumber = ?";
    const row = this.#database.query<DeliveryRow, [number, number]>(query).get(sessionStart, sessionNumber);
    return row === null ? undefined : this.#verified(row).results;
  }

  /** Forgets sessions that began before `time`. */
  forgetDeliveries(time: number): void {
    this.#database.query("DELETE FROM deliveries WHERE sessionStart < ?").run(time);
  }

  #verified({ sessionStart, sessionNumber, usedAt, results, checksum }: DeliveryRow): DeliveryWindowDraft {
    if (checksum === rowChecksum([sessionStart, sessionNumber, usedAt], results))
      return { shard: this.#shard, sessionStart, sessionNumber, usedAt, results };
    throw new WarpError("CORRUPT", `${this.path}: a delivery window does not match its checksum`, {
      file: this.path,
      sessionStart,
      sessionNumber,
    });
  }

  /** Bytes that wait in the WAL. */
  get walBytes(): number {
    return walBytesOf(this.#database, this.path);
  }

  checkpoint(mode: CheckpointMode): boolean {
    return checkpoint(this.#database, this.path, mode);
  }

  close(): void {
    this.#database.close();
  }
}
