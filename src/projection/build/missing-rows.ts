/**
 * Rows that handlers lack where a sink cannot be read at once: they are noted in a pass over the records, and fetched before the next.
 *
 * What is fetched stays in memory, so every pass lacks other rows than those before. A handler that never ends to lack some has
 * failed, by itself.
 */
import { WarpError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/event.ts";
import type { Stored } from "../columns.ts";
import type { Table } from "../definition.ts";
import type { Sink } from "../sink.ts";
import { RowMissing, type Rows } from "./rows.ts";

/** Passes in which one event may lack rows; one for each `get` whose key depends on the row of another. */
const passesMax = 2048;

export class MissingRows {
  readonly #sink: Sink;
  readonly #wanted = new Map<Table, Map<string, readonly Stored[]>>();
  /** In how many passes an event lacked rows. */
  readonly #passes = new Map<StoredEvent | undefined, number>();
  /** The event that lacked one last in this pass. */
  #last: StoredEvent | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Other records are taken. */
  begin(): void {
    this.#wanted.clear();
    this.#passes.clear();
    this.#last = undefined;
  }

  get isEmpty(): boolean {
    return this.#wanted.size === 0;
  }

  /** Notes the row, and ends what needs it. Errors: PROJECTION_FAILED when the event has lacked rows too often. */
  note(table: Table, key: readonly Stored[], event: StoredEvent | undefined): never {
    const passes = this.#passes.get(event) ?? 0;
    if (event !== this.#last) {
      if (passes >= passesMax) throw new WarpError("PROJECTION_FAILED", "the handler reads rows without end");
      this.#passes.set(event, passes + 1);
      this.#last = event;
    }
    let keys = this.#wanted.get(table);
    if (keys === undefined) {
      keys = new Map();
      this.#wanted.set(table, keys);
    }
    keys.set(JSON.stringify(key), key);
    throw new RowMissing();
  }

  /** Fetches what this pass lacked; another one begins. */
  async fetch(rows: ReadonlyMap<Table, Rows>): Promise<void> {
    for (const [table, wanted] of this.#wanted) {
      const keys = [...wanted.values()];
      const found = await this.#sink.fetch(table, keys);
      keys.forEach((key, i) => {
        rows.get(table)?.provide(key, found[i] ?? null);
      });
    }
    this.#wanted.clear();
    this.#last = undefined;
  }
}
