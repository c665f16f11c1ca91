/**
 * Queries and the verbs of projections: what is asked, and the answer when it comes. They are counted like pages of history.
 */
import type { FrameReader } from "../protocol/frame-reader.ts";
import {
  queryOf,
  readProjection,
  readQuery,
  readRows,
  requireAction,
  writeProjectionResult,
  writeQueryResult,
  writeRowsPage,
} from "../protocol/querying.ts";
import type { Connection } from "./connection.ts";
import { cut } from "./held-rows.ts";
import { answerPage } from "./later.ts";

export function performQuery(connection: Connection, id: number, reader: FrameReader): void {
  const request = readQuery(reader);
  const query = async () => {
    const { params, options } = queryOf(request);
    const result = await connection.shared.port.query(request.sql, params, options);
    return options.pages === true ? (connection.heldRows?.first(result) ?? result) : cut(result);
  };
  answerPage(connection, id, query, writeQueryResult);
}

export function performRows(connection: Connection, id: number, reader: FrameReader): void {
  const number = readRows(reader);
  const next = async () => connection.heldRows?.next(number) ?? { rows: [] };
  answerPage(connection, id, next, writeRowsPage);
}

export function performProjection(connection: Connection, id: number, reader: FrameReader): void {
  const { action, ...request } = readProjection(reader);
  const operate = async () => {
    requireAction(action);
    return await connection.shared.port.projection({ ...request, action });
  };
  answerPage(connection, id, operate, writeProjectionResult);
}
