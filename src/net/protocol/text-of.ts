/** The text of UTF-8 bytes, strictly. */
import { isUtf8 } from "node:buffer";
import { protocolError } from "./protocol-error.ts";
import { readUtf8 } from "../../core/utf8.ts";

/** Errors: PROTOCOL_ERROR for what is no UTF-8. */
export function textOf(bytes: Buffer, from: number, to: number): string {
  const text = readUtf8(bytes, from, to);
  // Bytes that are no UTF-8 are read as U+FFFD, which may also stand there as itself.
  if (text.includes("\ufffd") && !isUtf8(bytes.subarray(from, to)))
    throw protocolError("a string is not UTF-8");
  return text;
}
