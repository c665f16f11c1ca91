/**
 * The rows that a batch has read and changed, of one table, and the handle through which handlers do it.
 *
 * - A batch is not a list of statements but the rows as they are in the end: many changes of a row are one write.
 * - Every change can be undone back to a mark, so a handler that fails leaves nothing behind.
 * - A row that is not in memory is read through `read`: at once where the sink can, else by an exception (RowMissing)
 *   that ends the handler, unless it is told nothing of the row; it runs again when the row is there. Handlers are functions of event and rows, so that is not seen.
 */
import { WarpError } from "../../core/errors.ts";
import { type Column, type Stored, storedOf, valueFrom } from "../columns.ts";
import type { Table } from "../definition.ts";

/** Values in the order of the table's columns. */
export type Row = Stored[];
type Key = string | number;
type Given = Readonly<Record<string, unknown>>;

/** A handler needs a row that has to be fetched first. */
export class RowMissing extends Error {}

/** What the rows need of the batch around them. */
export interface RowAccess {
  /** The row of a key as it was committed, null for none; throws RowMissing when it has to be fetched. */
  read(table: Table, key: readonly Stored[]): Row | null;
  /** Called before a handler uses the table. */
  onUse(): void;
  /** True when the event under way is older than the erasure of an entity, which may be in no row of it any more. */
  isErased(entity: Stored): boolean;
}

interface Held {
  readonly key: readonly Stored[];
  /** The row now; null when there is none, undefined when it was never read. */
  row: Row | null | undefined;
  isDirty: boolean;
}

/** A row that differs from what is committed; null when it is deleted. */
export interface Changed {
  readonly key: readonly Stored[];
  readonly row: Row | null;
}

/** What was before each change of a batch, over all its tables, so that changes can be undone back to a mark. */
export class UndoLog {
  readonly #entries: {
    readonly rows: Rows;
    readonly held: Held;
    readonly row: Row | null | undefined;
    readonly wasDirty: boolean;
  }[] = [];

  /** Where the changes to come can be undone to. */
  get mark(): number {
    return this.#entries.length;
  }

  push(rows: Rows, held: Held): void {
    this.#entries.push({ rows, held, row: held.row, wasDirty: held.isDirty });
  }

  /** Undoes the changes since the mark. */
  rollBack(mark: number): void {
    while (this.#entries.length > mark) {
      const entry = this.#entries.pop();
      entry?.rows.restore(entry.held, entry.row, entry.wasDirty);
    }
  }

  clear(): void {
    this.#entries.length = 0;
  }
}

export class Rows {
  readonly table: Table;
  readonly #access: RowAccess;
  readonly #held = new Map<Key, Held>();
  readonly #undo: UndoLog;
  #dirty: Held[] = [];
  readonly #keyColumns: readonly Column[];
  readonly #only: Column | undefined;
  /** Indexes of the columns that name subjects. */
  readonly #subjects: readonly number[];

  constructor(table: Table, access: RowAccess, undo: UndoLog) {
    this.table = table;
    this.#access = access;
    this.#undo = undo;
    this.#keyColumns = table.key.map((index) => columnAt(table, index));
    this.#only = this.#keyColumns.length === 1 ? this.#keyColumns[0] : undefined;
    this.#subjects = table.subjects.map((subject) => table.columns.findIndex(({ name }) => name === subject));
  }

  get changes(): number {
    return this.#dirty.length;
  }

  get size(): number {
    return this.#held.size;
  }

  /** One change back; for the undo log alone. */
  restore(held: Held, row: Row | null | undefined, wasDirty: boolean): void {
    held.row = row;
    if (!held.isDirty || wasDirty) return;
    held.isDirty = false;
    // What became dirty last is the last of the list: changes are undone in the reverse of their order.
    this.#dirty.pop();
  }

  /** The rows that differ from what is committed. */
  get dirty(): readonly Changed[] {
    return this.#dirty as readonly Changed[];
  }

  /** What was changed is committed. */
  committed(): void {
    for (const held of this.#dirty) held.isDirty = false;
    this.#dirty = [];
  }

  /** Forgets all rows, changed or not. */
  clear(): void {
    this.#held.clear();
    this.#dirty = [];
  }

  /** A row that was fetched; null for none. */
  provide(key: readonly Stored[], row: Row | null): void {
    const id = idOf(key);
    const held = this.#held.get(id);
    if (held === undefined) this.#held.set(id, { key, row, isDirty: false });
    else if (held.row === undefined) held.row = row;
  }

  insert(given: Given): void {
    this.#access.onUse();
    const row = this.#rowOf(given);
    const key = this.table.key.map((index) => row[index] ?? null);
    const held = this.#hold(key);
    const before = this.#readAhead(held);
    if (before === undefined) return;
    if (before !== null) {
      throw new WarpError("PROJECTION_FAILED", `${this.table.name} has a row with this key already`, {
        table: this.table.name,
      });
    }
    this.#put(held, row);
  }

  upsert(given: Given): void {
    this.#access.onUse();
    const row = this.#rowOf(given);
    this.#put(this.#holdOf(row), row);
  }

  update(given: Given, changes: Given): boolean {
    this.#access.onUse();
    const held = this.#hold(this.#keyOf(given));
    const before = this.#read(held);
    if (before === null) return false;
    const row = before.slice();
    for (const name in changes) row[this.#changed(name)] = this.#stored(name, changes[name]);
    this.#put(held, row);
    return true;
  }

  add(given: Given, amounts: Given): void {
    this.#access.onUse();
    const held = this.#hold(this.#keyOf(given));
    const before = this.#readAhead(held);
    if (before === undefined) return;
    const row = before?.slice() ?? this.#emptyRow(held.key);
    for (const name in amounts) {
      const index = this.#changed(name);
      const amount = amounts[name];
      const sum = row[index];
      if (typeof amount !== "number" || typeof sum !== "number") {
        throw new WarpError("PROJECTION_FAILED", `${this.table.name}.${name}: only numbers can be added`, {
          table: this.table.name,
        });
      }
      row[index] = this.#stored(name, sum + amount);
    }
    this.#put(held, row);
  }

  delete(given: Given): void {
    this.#access.onUse();
    this.#put(this.#hold(this.#keyOf(given)), null);
  }

  get(given: Given): Given | undefined {
    this.#access.onUse();
    const row = this.#read(this.#hold(this.#keyOf(given)));
    if (row === null) return undefined;
    return Object.fromEntries(
      this.table.columns.map((column, i) => [column.name, valueFrom(column, row[i] ?? null)]),
    );
  }

  #put(held: Held, row: Row | null): void {
    this.#undo.push(this, held);
    held.row = row !== null && this.#isAboutErased(row) ? null : row;
    if (held.isDirty) return;
    held.isDirty = true;
    this.#dirty.push(held);
  }

  #isAboutErased(row: Row): boolean {
    for (const index of this.#subjects) if (this.#access.isErased(row[index] ?? null)) return true;
    return false;
  }

  #read(held: Held): Row | null {
    if (held.row === undefined) held.row = this.#access.read(this.table, held.key);
    return held.row;
  }

  /**
   * For what tells the handler nothing of the row: undefined when it has to be fetched first. The handler goes on, so that one
   * pass finds all such rows; it runs again anyway.
   */
  #readAhead(held: Held): Row | null | undefined {
    try {
      return this.#read(held);
    } catch (thrown) {
      if (thrown instanceof RowMissing) return undefined;
      throw thrown;
    }
  }

  #hold(key: readonly Stored[]): Held {
    const id = idOf(key);
    let held = this.#held.get(id);
    if (held === undefined) {
      held = { key, row: undefined, isDirty: false };
      this.#held.set(id, held);
    }
    return held;
  }

  #holdOf(row: Row): Held {
    // Most tables have a key of one column, and most rows are held already: then nothing is made to find one.
    const [index, second] = this.table.key;
    const only = second === undefined && index !== undefined ? row[index] : undefined;
    const held = only === undefined || only === null ? undefined : this.#held.get(only);
    if (held !== undefined) return held;
    return this.#hold(this.table.key.map((index) => row[index] ?? null));
  }

  #keyOf(given: Given): Stored[] {
    const { table } = this;
    const only = this.#only;
    if (only !== undefined) return [storedOf(table.name, only, given[only.name])];
    return this.#keyColumns.map((column) => storedOf(table.name, column, given[column.name]));
  }

  #rowOf(given: Given): Row {
    const { name, columns } = this.table;
    const row: Row = new Array(columns.length);
    let known = 0;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i];
      if (column === undefined) continue;
      const value = given[column.name];
      if (value !== undefined) known++;
      row[i] = value === undefined && column.isNullable ? null : storedOf(name, column, value);
    }
    let names = 0;
    for (const _ in given) names++;
    if (names > known) {
      const stranger = Object.keys(given).find((one) => !columns.some((column) => column.name === one));
      if (stranger !== undefined) throw this.#noColumn(stranger);
    }
    return row;
  }

  #emptyRow(key: readonly Stored[]): Row {
    const { name, columns } = this.table;
    const row: Row = columns.map((column) => {
      if (column.isNullable) return null;
      return column.type === "integer" || column.type === "real" ? 0 : "";
    });
    this.table.key.forEach((index, i) => {
      row[index] = key[i] ?? null;
    });
    const missing = columns.findIndex(
      (column, i) => row[i] === "" && !this.table.key.includes(i) && !column.isNullable,
    );
    if (missing < 0) return row;
    const column = columnAt(this.table, missing);
    throw new WarpError("PROJECTION_FAILED", `${name} has no row to add to, and ${column.name} has no zero`, {
      table: name,
    });
  }

  /** Index of a column that is not in the key. */
  #changed(name: string): number {
    const index = this.table.columns.findIndex((column) => column.name === name);
    if (index < 0) throw this.#noColumn(name);
    if (!this.table.key.includes(index)) return index;
    throw new WarpError("PROJECTION_FAILED", `${this.table.name}.${name} is part of the key`, {
      table: this.table.name,
    });
  }

  #stored(name: string, value: unknown): Stored {
    return storedOf(this.table.name, columnAt(this.table, this.#changed(name)), value);
  }

  #noColumn(name: string): WarpError {
    return new WarpError("PROJECTION_FAILED", `${this.table.name} has no column ${name}`, {
      table: this.table.name,
    });
  }
}

function columnAt(table: Table, index: number): Column {
  const column = table.columns[index];
  if (column === undefined) throw new RangeError(`${table.name} has no column ${index}`);
  return column;
}

/** Equal for equal keys, and for no others: the types of the columns are fixed. */
function idOf(key: readonly Stored[]): Key {
  const first = key[0] ?? "";
  if (key.length === 1) return first;
  let id = String(first);
  for (let i = 1; i < key.length; i++) id = `${id.length}:${id}${String(key[i])}`;
  return id;
}
