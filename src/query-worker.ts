/**
 * The thread of a query process that SQLite runs in.
 */
import { toWarpError } from "./core/errors.ts";
import type { QueryAnswer, QueryRequest } from "./projection/query/messages.ts";
import { select } from "./projection/query/select.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<QueryRequest>) => {
  const { id } = event.data;
  let answer: QueryAnswer;
  try {
    answer = { id, result: select(event.data) };
  } catch (thrown) {
    answer = { id, error: toWarpError(thrown, "QUERY_FAILED").toWire() };
  }
  self.postMessage(answer);
};
