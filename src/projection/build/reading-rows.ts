/**
 * What is read of a build's rows as a whole: the entities that are held back, and all rows about an entity.
 */
import { valueFrom } from "../columns.ts";
import type { Table } from "../definition.ts";
import type { ParkedEntity, TableRow } from "../messages.ts";
import { parked, type Sink } from "../sink.ts";

export async function readParked(sink: Sink): Promise<ParkedEntity[]> {
  const rows = await sink.all(parked);
  return rows.map(([shard, number, entity, seq, position, type, error, parkedAt]) => ({
    shard: Number(shard),
    number: Number(number),
    entity: String(entity),
    seq: Number(seq),
    position: Number(position),
    type: String(type),
    error: String(error),
    parkedAt: Number(parkedAt),
  }));
}

/** Rows that name the entity as a subject, with the values that handlers gave them. */
export async function readAbout(
  sink: Sink,
  tables: readonly Table[],
  entity: string,
): Promise<readonly TableRow[]> {
  const all: TableRow[] = [];
  for (const table of tables) {
    if (table.subjects.length === 0) continue;
    for (const row of await sink.about(table, entity)) {
      const values = table.columns.map((column, i) => [column.name, valueFrom(column, row[i] ?? null)]);
      all.push({ table: table.name, row: Object.fromEntries(values) });
    }
  }
  return all;
}
