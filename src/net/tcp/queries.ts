/**
 * Queries and the verbs of projections: what is asked, and the answer when it comes.
 */
import type { FrameReader } from "../protocol/frame-reader.ts";
import {
  queryOf,
  readProjection,
  readQuery,
  readRows,
  writeProjectionResult,
  writeQueryResult,
  writeRowsPage,
} from "../protocol/querying.ts";
import type { Connection } from "./connection.ts";

export function performQuery(connection: Connection, id: number, reader: FrameReader): void {
  const request = readQuery(reader);
  void answer(connection, id, async () => {
    const { params, options } = queryOf(request);
    const result = await connection.shared.port.query(request.sql, params, options);
    const page = options.pages === true ? connection.heldRows.first(result) : result;
    const writer = connection.reply();
    if (writer !== undefined) writeQueryResult(writer, id, page);
  });
}

export function performRows(connection: Connection, id: number, reader: FrameReader): void {
  const number = readRows(reader);
  void answer(connection, id, async () => {
    const page = connection.heldRows.next(number);
    const writer = connection.reply();
    if (writer !== undefined) writeRowsPage(writer, id, page);
  });
}

export function performProjection(connection: Connection, id: number, reader: FrameReader): void {
  const request = readProjection(reader);
  void answer(connection, id, async () => {
    const list = await connection.shared.port.projection(request);
    const writer = connection.reply();
    if (writer !== undefined) writeProjectionResult(writer, id, list);
  });
}

/** Counted like pages of history: a connection has few of them under way. */
async function answer(connection: Connection, id: number, work: () => Promise<void>): Promise<void> {
  connection.beginRequest();
  connection.pages++;
  try {
    await work();
  } catch (thrown) {
    connection.replyError(id, thrown);
  }
  connection.pages--;
  connection.endRequest();
}
