/**
 * The thread of a reader: many requests in a message, their answers in pieces as they come. What they do is read.ts.
 *
 * The memory of pages and states is handed over, not copied.
 */
import { toWarpError } from "../core/errors.ts";
import type { FromReader, ReadAnswer, ToReader } from "./messages.ts";
import { Reader } from "./read.ts";

declare const self: Worker;

/** Bytes of answers before they are sent: who waits for the first does not wait for the last. */
const pieceBytes = 1024 * 1024;

let reader: Reader | undefined;

self.onmessage = (event: MessageEvent<ToReader>) => {
  try {
    handle(event.data);
  } catch (error) {
    reader?.close();
    end({ type: "failed", error: toWarpError(error, "ENGINE_FAILED").toWire() });
  }
};

function handle(message: ToReader): void {
  if (message.type === "open") {
    reader = new Reader(message.options);
    self.postMessage({ type: "opened" } satisfies FromReader);
    return;
  }
  if (reader === undefined) return;
  if (message.type === "close") {
    reader.close();
    end({ type: "closed" });
    return;
  }
  if (message.type === "forget") {
    reader.forget(message.shard);
    return;
  }
  let answers: ReadAnswer[] = [];
  let bytes = 0;
  for (const request of message.requests) {
    const answer = reader.answer(request);
    answers.push(answer);
    for (const { byteLength } of memoryOf(answer)) bytes += byteLength;
    if (bytes < pieceBytes) continue;
    say(answers);
    answers = [];
    bytes = 0;
  }
  if (answers.length > 0) say(answers);
}

function say(answers: readonly ReadAnswer[]): void {
  self.postMessage({ type: "answers", answers } satisfies FromReader, answers.flatMap(memoryOf));
}

/** What of an answer can change threads without a copy. */
function memoryOf(answer: ReadAnswer): ArrayBuffer[] {
  if (!answer.ok) return [];
  const { result } = answer;
  if (result.op === "entries") return [result.page.bytes.buffer as ArrayBuffer];
  if (result.op === "feed") return [result.bytes.buffer as ArrayBuffer];
  if (result.op !== "load" || result.found === undefined) return [];
  const { entries, snapshots } = result.found;
  return [entries, ...snapshots.map(({ state }) => ({ bytes: state }))].map(
    ({ bytes }) => bytes.buffer as ArrayBuffer,
  );
}

function end(message: FromReader): void {
  reader = undefined;
  self.postMessage(message);
  self.onmessage = null;
  process.exit(0);
}
