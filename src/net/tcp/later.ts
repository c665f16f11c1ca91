/**
 * Requests whose answer takes its time: a call of the engine, and one reply when its result is there.
 */
import type { FrameWriter } from "../protocol/frame-writer.ts";
import type { Connection } from "./connection.ts";

type Call<Result> = () => Promise<Result>;
type Write<Result> = (writer: FrameWriter, id: number, result: Result) => void;

/** Calls at once. */
export async function answerLater<Result>(
  connection: Connection,
  id: number,
  call: Call<Result>,
  write: Write<Result>,
): Promise<void> {
  const bytes = connection.beginRequest();
  await answer(connection, id, call, write);
  connection.endRequest(bytes);
}

/** Calls when it is the turn of this request among those for pages: a connection has few of them under way. */
export function answerPage<Page>(
  connection: Connection,
  id: number,
  call: Call<Page>,
  write: Write<Page>,
): void {
  connection.answerInTurn(() => answer(connection, id, call, write));
}

async function answer<Result>(
  connection: Connection,
  id: number,
  call: Call<Result>,
  write: Write<Result>,
): Promise<void> {
  try {
    const result = await call();
    const writer = connection.reply();
    if (writer !== undefined) write(writer, id, result);
  } catch (thrown) {
    connection.replyError(id, thrown);
  }
}
