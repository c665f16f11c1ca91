/**
 * Reading a shard for a backup while its writer goes on: read-only connections and short transactions.
 *
 * - What a backup covers is fixed first: the settled position. Rows of later rounds have a later batch and are left out.
 * - Rows rise by id and by batch alike, so where a position begins is found by halving.
 * - A transaction ends after `pageMs` or `pageBytes`: a checkpoint never waits long, and neither does an erasure.
 */
import type { Database, Statement } from "bun:sqlite";
import { closeSync, fdatasyncSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { toWarpError } from "../../core/errors.ts";
import { syncDirectory } from "../../core/replace-file.ts";
import { droppedMark } from "../../shard/files/bases.ts";
import { openDatabase, readMeta, transact } from "../../shard/sqlite/database.ts";
import { slotBytes, slotOffset } from "../../shard/files/vault.ts";
import type { RunMark, ShardPoint } from "../format/objects.ts";
import { columnsOf, type Row, type Table, tables, type Value } from "../format/tables.ts";

const pageBytes = 2 * 1024 * 1024;
const pageMs = 25;
const cacheBytes = 2 * 1024 * 1024;

/** Rows that one statement gives at once. */
const rowsAtOnce = 128;
/** About what a row takes beside its data. */
const rowBytes = 64;
/** Entities whose snapshots one walk looks for … */
const walkedAtOnce = 512;
/** … and how many it reads at once. */
const statesAtOnce = 32;

/** Sealed data ends with its tag. */
const markColumns = "number, seq, hex(substr(data, -16)) AS tag";

/** Seqs of an entity, both ends included. */
export interface SeqRange {
  first: number;
  last: number;
}

export interface Settled {
  readonly point: ShardPoint;
  /** The newest run up to there. */
  readonly newest: RunMark | undefined;
  readonly deliveries: readonly Row[];
}

export class ShardSource {
  readonly directory: string;
  readonly #shard: number;
  readonly #runsPath: string;
  readonly #namesPath: string;
  readonly #runs: Database;
  readonly #names: Database;
  readonly #vault: number;
  /** Which WALs the directory was synced with. */
  readonly #walsInDirectory = new Map<string, string>();

  /** Errors: IO_ERROR, CORRUPT. */
  constructor(directory: string, shard: number) {
    this.directory = directory;
    this.#shard = shard;
    this.#runsPath = join(directory, "runs.db");
    this.#namesPath = join(directory, "names.db");
    const options = { access: "read", synchronous: "NORMAL", cacheBytes } as const;
    const opened: { close(): void }[] = [];
    try {
      this.#runs = openDatabase(this.#runsPath, options);
      opened.push(this.#runs);
      this.#names = openDatabase(this.#namesPath, options);
      opened.push(this.#names);
      this.#vault = openSync(join(directory, "vault"), "r");
    } catch (error) {
      for (const database of opened) database.close();
      throw error;
    }
  }

  /** What is settled now, and the delivery windows that were stored at `deliveriesFrom` or later. */
  point(deliveriesFrom: number): Settled {
    return transact(this.#runs, this.#runsPath, "DEFERRED", () => {
      const { position, nextNumber, lastRecordedAt, epoch } = readMeta(
        this.#runs,
        this.#runsPath,
        this.#shard,
      );
      const newest = (query: string) => this.#runs.query<{ n: number | null }, []>(query).get()?.n ?? 0;
      const lastCallerKey = newest("SELECT max(id) AS n FROM callerKeys");
      const deliveriesAt = newest("SELECT max(usedAt) AS n FROM deliveries");
      // Read in this transaction: a window that is used again a moment later would be of a later point, and of no segment.
      const query = `SELECT ${columnsOf(tables.deliveries)} FROM deliveries WHERE usedAt >= ?`;
      const deliveries = this.#runs.query<unknown, [number]>(query).values(deliveriesFrom) as Value[][];
      const point = { position, nextNumber, lastRecordedAt, epoch, lastCallerKey, deliveriesAt };
      const marked = `SELECT ${markColumns} FROM runs ORDER BY id DESC LIMIT 1`;
      const [mark] = this.#runs.query<unknown, []>(marked).values() as unknown as RunMark[];
      return { point, newest: mark, deliveries };
    });
  }

  /** Whether a run is part of this history: it is there, or was dropped or erased. */
  knows([number, seq, tag]: RunMark): boolean {
    return transact(this.#runs, this.#runsPath, "DEFERRED", () => {
      const marked = `SELECT ${markColumns} FROM runs WHERE number = ? AND seq = ?`;
      const found = this.#runs.query<{ tag: string }, [number, number]>(marked).get(number, seq);
      if (found !== null) return found.tag === tag;
      const gone = `SELECT 1 FROM erasures WHERE number = ?1
        UNION ALL SELECT 1 FROM bases WHERE number = ?1 AND aggregate = ${droppedMark} AND seq >= ?2`;
      return this.#runs.query<unknown, [number, number]>(gone).get(number, seq) !== null;
    });
  }

  /**
   * Makes durable what was settled when this is called. A commit of a writer is not: its rows can be lost with the power,
   * and the journal then settles them again in other batches. What a checkpoint moved meanwhile it has synced. Closing
   * a WAL releases no lock of this process: SQLite's are on the other files.
   *
   * Every sync keeps the disk from the journal, for which callers wait. So names.db is left out when there is no new name since it
   * was last synced, and the directory as long as the WALs are those that it was synced with. Returns what was synced.
   */
  sync({ hasNewNames }: { readonly hasNewNames: boolean }): readonly string[] {
    const synced: string[] = [];
    for (const path of hasNewNames ? [this.#namesPath, this.#runsPath] : [this.#runsPath]) {
      const wal = `${path}-wal`;
      try {
        const found = statSync(wal, { throwIfNoEntry: false });
        if (found === undefined) continue;
        syncData(wal);
        synced.push(wal);
        // Inodes are given out again, so when it was made belongs to it.
        const identity = `${found.ino} ${found.birthtimeMs}`;
        if (this.#walsInDirectory.get(wal) === identity) continue;
        syncDirectory(this.directory);
        synced.push(this.directory);
        this.#walsInDirectory.set(wal, identity);
      } catch (thrown) {
        throw toWarpError(thrown, "IO_ERROR", { file: wal });
      }
    }
    return synced;
  }

  /** Pages of the runs settled behind `from` and up to `to`, in the order in which they came. */
  runs(from: number, to: number): Generator<readonly Row[]> {
    return this.#pages(tables.runs, this.#firstBehind(from), this.#firstBehind(to) - 1);
  }

  /** Pages of the caller keys with ids behind `from` and up to `to`. */
  callerKeys(from: number, to: number): Generator<readonly Row[]> {
    return this.#pages(tables.callerKeys, from + 1, to);
  }

  /**
   * The snapshots of these entities, or what their histories begin with, as far as their seqs are in these ranges. Pages, each in a
   * transaction of its own: states may be large.
   */
  *states(table: Table, seqs: ReadonlyMap<number, SeqRange>): Generator<Row> {
    const numbers = [...seqs.keys()].sort((a, b) => a - b);
    for (let i = 0; i < numbers.length; ) {
      // Where most entities are concerned one walk finds what each search would find.
      const first = numbers[i] ?? 0;
      const isDense = (numbers[i + walkedAtOnce] ?? Number.POSITIVE_INFINITY) - first < 8 * walkedAtOnce;
      const end = isDense ? i + walkedAtOnce : i + 1;
      yield* this.#statesBetween(table, first, numbers[end - 1] ?? first, seqs);
      i = end;
    }
  }

  *#statesBetween(
    table: Table,
    first: number,
    last: number,
    seqs: ReadonlyMap<number, SeqRange>,
  ): Generator<Row> {
    const query = this.#runs.query<unknown, [number, number, number, number]>(
      `SELECT ${columnsOf(table)} FROM ${table.name} WHERE (number, aggregate) > (?, ?) AND number <= ? AND seq >= ?
       ORDER BY number, aggregate LIMIT ${statesAtOnce}`,
    );
    const leastSeq = first === last ? (seqs.get(first)?.first ?? 0) : 0;
    for (let after: readonly [number, number] = [first, Number.NEGATIVE_INFINITY]; ; ) {
      const rows = this.#page(() => query.values(...after, last, leastSeq) as Value[][]);
      for (const row of rows) {
        const range = seqs.get(Number(row[0]));
        const seq = Number(row[3]);
        if (range !== undefined && seq >= range.first && seq <= range.last) yield row;
      }
      const end = rows.at(-1);
      if (end === undefined || rows.length < statesAtOnce) return;
      after = [Number(end[0]), Number(end[1])];
    }
  }

  /** True when there are states of entities. */
  get hasSnapshots(): boolean {
    return this.#runs.query("SELECT 1 FROM snapshots LIMIT 1").get() !== null;
  }

  /** All legal holds: there are few. */
  holds(): Row[] {
    const query = `SELECT ${columnsOf(tables.holds)} FROM holds ORDER BY number`;
    return this.#page(() => this.#runs.query<unknown, []>(query).values() as Value[][]);
  }

  /** True when the histories of some entities have lost their first events. */
  get hasBases(): boolean {
    return this.#runs.query("SELECT 1 FROM bases LIMIT 1").get() !== null;
  }

  /** The ids of the numbers `first` … `last` that have one. */
  names(first: number, last: number): ReadonlyMap<number, Uint8Array> {
    const query = "SELECT number, id FROM names WHERE number BETWEEN ? AND ?";
    const rows = transact(this.#names, this.#namesPath, "DEFERRED", () =>
      this.#names.query<{ number: number; id: Uint8Array }, [number, number]>(query).all(first, last),
    );
    return new Map(rows.map(({ number, id }) => [number, id]));
  }

  /** The slots of the vault from a number on; what the file does not have is zeros. */
  slots(first: number, count: number): Buffer {
    const bytes = Buffer.alloc(count * slotBytes);
    for (let at = 0; at < bytes.length; ) {
      const read = readSync(this.#vault, bytes, at, bytes.length - at, slotOffset(first) + at);
      if (read === 0) break;
      at += read;
    }
    return bytes;
  }

  close(): void {
    this.#runs.close();
    this.#names.close();
    closeSync(this.#vault);
  }

  /** The id of the first run whose batch is behind a position; beyond every id when there is none. */
  #firstBehind(position: number): number {
    if (position === 0) return 1;
    const newest = this.#runs.query<{ n: number | null }, []>("SELECT max(id) AS n FROM runs").get()?.n ?? 0;
    const probe: Statement<{ batch: number }, [number]> = this.#runs.query(
      "SELECT batch FROM runs WHERE id >= ? ORDER BY id LIMIT 1",
    );
    let low = 1;
    let high = newest + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const batch = probe.get(middle)?.batch;
      if (batch === undefined || batch > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Rows with these ids, each page in a transaction of its own. A page is rows as its statements gave them. */
  *#pages(table: Table, first: number, last: number): Generator<readonly Row[]> {
    const columns = columnsOf(table);
    const some = this.#runs.query<unknown, [number, number]>(
      `SELECT ${columns} FROM ${table.name} WHERE id BETWEEN ? AND ? ORDER BY id`,
    );
    // What was erased or dropped leaves gaps.
    const next = this.#runs.query<{ id: number }, [number]>(
      `SELECT id FROM ${table.name} WHERE id >= ? ORDER BY id LIMIT 1`,
    );
    for (let id = first; id <= last; ) {
      const pages = transact(this.#runs, this.#runsPath, "DEFERRED", () => {
        const limit = new PageLimit();
        const read: Row[][] = [];
        while (id <= last && !limit.isReached) {
          const rows = some.values(id, Math.min(last, id + rowsAtOnce - 1)) as Value[][];
          id = rows.length > 0 ? id + rowsAtOnce : (next.get(id)?.id ?? Number.POSITIVE_INFINITY);
          limit.count(rows);
          read.push(rows);
        }
        return read;
      });
      yield* pages;
    }
  }

  #page(read: () => Row[]): Row[] {
    return transact(this.#runs, this.#runsPath, "DEFERRED", read);
  }
}

function syncData(path: string): void {
  const file = openSync(path, "r");
  try {
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** When a transaction has read enough. */
class PageLimit {
  readonly #until = performance.now() + pageMs;
  #bytes = 0;

  get isReached(): boolean {
    return this.#bytes >= pageBytes || performance.now() > this.#until;
  }

  count(rows: readonly Row[]): void {
    let bytes = rows.length * rowBytes;
    for (const row of rows) {
      const data = row[row.length - 1];
      if (typeof data === "object") bytes += data.length;
    }
    this.#bytes += bytes;
  }
}
