/**
 * Answers of any length: one JSON object a line, made as fast as the reader takes them.
 *
 * - A source that fails before its first line becomes a problem; behind it the connection is cut without the proper
 *   end of the body, so that a part is never taken for the whole.
 * - A reader that goes away ends the source.
 */
import { toJson } from "./json.ts";

const pieceChars = 64 * 1024;

export function wantsNdjson(request: Request): boolean {
  return /\bapplication\/(?:x-)?ndjson\b/.test(request.headers.get("accept") ?? "");
}

/** The same for lines that are text already, in pieces of whole lines. */
export async function textResponse(pieces: AsyncIterable<string>): Promise<Response> {
  const iterator = pieces[Symbol.asyncIterator]();
  let next = await iterator.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (next.done === true) {
        controller.close();
        return;
      }
      controller.enqueue(Buffer.from(next.value));
      next = await iterator.next();
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Response(body, {
    headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  });
}

export async function ndjsonResponse(items: AsyncIterable<unknown>): Promise<Response> {
  const iterator = items[Symbol.asyncIterator]();
  // What cannot be read at all throws here, while there is still a status to say it with.
  let next = await iterator.next();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      let piece = "";
      while (next.done !== true && piece.length < pieceChars) {
        piece += `${toJson(next.value)}\n`;
        next = await iterator.next();
      }
      if (piece !== "") controller.enqueue(Buffer.from(piece));
      if (next.done === true) controller.close();
    },
    async cancel() {
      await iterator.return?.();
    },
  });
  return new Response(body, {
    headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  });
}
