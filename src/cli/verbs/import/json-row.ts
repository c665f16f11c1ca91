/**
 * One row of JSON text: a line of NDJSON, or an element of a JSON array.
 *
 * Nothing is changed silently on the way in: bytes that are not UTF-8, and what JSON text has that JavaScript cannot hold,
 * are problems of the row.
 */
import { isUtf8 } from "node:buffer";
import { readJson } from "../../../core/exact-json.ts";
import type { Row } from "./row.ts";

export function jsonRow(bytes: Buffer, line: number): Row {
  const row = { line, bytes: bytes.length };
  if (!isUtf8(bytes)) return { ...row, value: undefined, problem: "is not UTF-8" };
  const read = readJson(bytes.toString("utf8"));
  const { problem } = read;
  return problem === undefined ? { ...row, value: read.value } : { ...row, value: undefined, problem };
}
