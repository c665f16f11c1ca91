/** The text of UTF-8 bytes, strictly. */
import { readStrictUtf8 } from "../../core/utf8.ts";
import { protocolError } from "./protocol-error.ts";

/** Errors: PROTOCOL_ERROR for what is no UTF-8. */
export function textOf(bytes: Buffer, from: number, to: number): string {
  const text = readStrictUtf8(bytes, from, to);
  if (text === undefined) throw protocolError("a string is not UTF-8");
  return text;
}
