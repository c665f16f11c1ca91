/**
 * The tables whose rows are in a backup, and rows to blocks and back.
 *
 * Each is a kind of block (container.ts): its number columns, then its columns of bytes. Rows stand as they are in the
 * shard's files: what is encrypted there is not touched.
 */
import type { Block, ShapeOf } from "./container.ts";

export type Value = number | Uint8Array;
export type Row = readonly Value[];

export interface Table {
  readonly kind: number;
  /** Of runs.db; of the key set where it is no table of SQLite's. */
  readonly name: string;
  readonly numbers: readonly string[];
  readonly bytes: readonly string[];
}

export const tables = {
  runs: { kind: 1, name: "runs", numbers: ["number", "seq", "count", "batch"], bytes: ["data"] },
  snapshots: {
    kind: 2,
    name: "snapshots",
    numbers: ["number", "aggregate", "version", "seq"],
    bytes: ["data"],
  },
  callerKeys: {
    kind: 3,
    name: "callerKeys",
    numbers: ["id", "number", "firstSeq", "count"],
    bytes: ["hash", "data"],
  },
  deliveries: {
    kind: 4,
    name: "deliveries",
    numbers: ["sessionStart", "sessionNumber", "usedAt", "checksum"],
    bytes: ["results"],
  },
  bases: { kind: 6, name: "bases", numbers: ["number", "aggregate", "version", "seq"], bytes: ["data"] },
  holds: { kind: 7, name: "holds", numbers: ["number"], bytes: ["data"] },
  /** An entity's wrapped key as its vault slot, the keyed hash of its id, and the id sealed under that key. */
  keys: { kind: 5, name: "keys", numbers: ["number"], bytes: ["slot", "idHash", "id"] },
} as const satisfies Readonly<Record<string, Table>>;

const byKind = new Map<number, Table>(Object.values(tables).map((table) => [table.kind, table]));

export const shapeOf: ShapeOf = (kind) => {
  const table = byKind.get(kind);
  return table === undefined ? undefined : { numbers: table.numbers.length, bytes: table.bytes.length };
};

/** "number, seq, count, batch, data" */
export function columnsOf(table: Table): string {
  return [...table.numbers, ...table.bytes].join(", ");
}

/** What a draft has room for at first. */
const firstRows = 1024;
const firstBytes = 64 * 1024;

/**
 * Gathers rows of one table until they are taken as a block: column by column, so that a row costs no object, and in the
 * same memory block after block.
 */
export class BlockDraft {
  readonly #table: Table;
  #numbers: Float64Array[] = [];
  #lengths: Uint32Array[] = [];
  #data = new Uint8Array(0);
  #bytes = 0;
  #rows = 0;
  #rowsMax = 0;

  constructor(table: Table) {
    this.#table = table;
  }

  get rows(): number {
    return this.#rows;
  }

  /** About what the block will take. */
  get bytes(): number {
    return this.#bytes + this.#rows * (8 * this.#table.numbers.length + 4 * this.#table.bytes.length);
  }

  /** The values in the order of the table's columns: numbers, then bytes. */
  add(row: Row): void {
    if (this.#rows === this.#rowsMax) this.#growRows();
    const numberCount = this.#numbers.length;
    for (let i = 0; i < row.length; i++) {
      const value = row[i];
      if (typeof value === "number") {
        const column = this.#numbers[i];
        if (column !== undefined) column[this.#rows] = value;
      } else if (value !== undefined) {
        const column = this.#lengths[i - numberCount];
        if (column !== undefined) column[this.#rows] = value.length;
        const end = this.#bytes + value.length;
        if (end > this.#data.length) this.#growData(end);
        this.#data.set(value, this.#bytes);
        this.#bytes = end;
      }
    }
    this.#rows++;
  }

  /** The rows so far, as views that are valid until the next row is added. */
  take(): Block {
    const block = {
      kind: this.#table.kind,
      rows: this.#rows,
      numbers: this.#numbers.map((column) => column.subarray(0, this.#rows)),
      lengths: this.#lengths.map((column) => column.subarray(0, this.#rows)),
      data: this.#data.subarray(0, this.#bytes),
    };
    this.#bytes = 0;
    this.#rows = 0;
    return block;
  }

  #growRows(): void {
    const rowsMax = Math.max(firstRows, this.#rowsMax * 2);
    this.#numbers = this.#table.numbers.map((_, i) => grown(new Float64Array(rowsMax), this.#numbers[i]));
    this.#lengths = this.#table.bytes.map((_, i) => grown(new Uint32Array(rowsMax), this.#lengths[i]));
    this.#rowsMax = rowsMax;
  }

  #growData(bytes: number): void {
    const data = Buffer.allocUnsafeSlow(Math.max(bytes, firstBytes, this.#data.length * 2));
    data.set(this.#data.subarray(0, this.#bytes));
    this.#data = data;
  }
}

function grown<Column extends Float64Array | Uint32Array>(column: Column, from: Column | undefined): Column {
  if (from !== undefined) column.set(from);
  return column;
}

/** The rows of a block; the same array is filled again for each. Bytes are views of the block. */
export function* rowsOf(block: Block): Generator<Value[]> {
  const { numbers, lengths, data } = block;
  const row: Value[] = [];
  let at = 0;
  for (let i = 0; i < block.rows; i++) {
    let column = 0;
    for (const values of numbers) row[column++] = values[i] ?? 0;
    for (const values of lengths) {
      const length = values[i] ?? 0;
      row[column++] = data.subarray(at, at + length);
      at += length;
    }
    yield row;
  }
}
