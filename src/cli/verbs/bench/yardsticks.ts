/**
 * What the same disk and processor do without Warp, measured beside every run so that its figures can be compared
 * between machines and hours.
 *
 * - `rowsPerSecond`: one thread inserts rows into a plain SQLite table in arrival order, without an index, in
 *   transactions of 1,000 rows with `synchronous=FULL`. Its data texts are made beforehand.
 * - `syncsPerSecond`: one thread writes and fdatasyncs 4 KiB at a time, through a file that is allocated and zeroed.
 */
import { Database } from "bun:sqlite";
import { closeSync, fdatasyncSync, fsyncSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Payments } from "./payload.ts";

export interface Yardsticks {
  readonly rowsPerSecond: number;
  readonly syncsPerSecond: number;
}

export interface YardstickOptions {
  /** On the file system of the data; made, and removed afterwards. */
  readonly directory: string;
  /** JSON of one row's data, bytes. */
  readonly bytes: number;
  /** How long rows are inserted; syncs take half of it. */
  readonly seconds: number;
}

const rowsPerTransaction = 1000;
const dataPool = 4096;
const entityPool = 10_000;
const syncBytes = 4096;
const syncFileBytes = 32 * 1024 * 1024;

/** Blocks the thread for as long as it takes. */
export function measureYardsticks(options: YardstickOptions): Yardsticks {
  const { directory } = options;
  mkdirSync(directory, { recursive: true });
  try {
    return { rowsPerSecond: measureRows(options), syncsPerSecond: measureSyncs(options) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function meanOf(a: Yardsticks, b: Yardsticks): Yardsticks {
  return {
    rowsPerSecond: (a.rowsPerSecond + b.rowsPerSecond) / 2,
    syncsPerSecond: (a.syncsPerSecond + b.syncsPerSecond) / 2,
  };
}

function measureRows({ directory, bytes, seconds }: YardstickOptions): number {
  const payments = new Payments(bytes, 1);
  const texts = Array.from({ length: dataPool }, () => JSON.stringify(payments.data()));
  const entities = Array.from({ length: entityPool }, (_, i) => `entity-${(i * 7919) % entityPool}`);
  const database = new Database(join(directory, "rows.db"), { create: true, strict: true });
  database.run("PRAGMA journal_mode=WAL");
  database.run("PRAGMA synchronous=FULL");
  database.run(
    "CREATE TABLE events (id INTEGER PRIMARY KEY, entity TEXT, seq INTEGER, type TEXT, data TEXT)",
  );
  const insert = database.prepare("INSERT INTO events (entity, seq, type, data) VALUES (?, ?, ?, ?)");
  let rows = 0;
  const insertMany = database.transaction(() => {
    for (let i = 0; i < rowsPerTransaction; i++, rows++) {
      insert.run(entities[rows % entityPool] ?? "", rows, "Paid", texts[rows % dataPool] ?? "");
    }
  });
  // Compiles the statement and the loop; not measured.
  for (let i = 0; i < 10; i++) insertMany();
  rows = 0;
  const begun = performance.now();
  let elapsedMs = 0;
  while (elapsedMs < seconds * 1000) {
    insertMany();
    elapsedMs = performance.now() - begun;
  }
  insert.finalize();
  database.close();
  return (rows / elapsedMs) * 1000;
}

function measureSyncs({ directory, seconds }: YardstickOptions): number {
  const file = openSync(join(directory, "syncs"), "w");
  const zeros = Buffer.alloc(1024 * 1024);
  for (let at = 0; at < syncFileBytes; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at);
  fsyncSync(file);
  const block = Buffer.alloc(syncBytes, 7);
  const begun = performance.now();
  let syncs = 0;
  let elapsedMs = 0;
  while (elapsedMs < seconds * 500) {
    writeSync(file, block, 0, syncBytes, (syncs * syncBytes) % syncFileBytes);
    fdatasyncSync(file);
    syncs++;
    elapsedMs = performance.now() - begun;
  }
  closeSync(file);
  return (syncs / elapsedMs) * 1000;
}
