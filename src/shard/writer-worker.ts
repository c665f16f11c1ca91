/**
 * The thread of a writer: messages in, messages out. What they do is writer.ts.
 *
 * - A round is answered before checkpoints begin, so that its part of the tail is free as soon as it can be.
 * - It yields the processor to the threads that callers wait for: what it does is urgent only when the tail fills up,
 *   and then they are the ones that wait.
 * - After a failure it says so once, closes its files and ends; it is never ended from outside while files are open.
 */
import { getPriority, setPriority } from "node:os";
import { toWarpError, WarpError } from "../core/errors.ts";
import { currentThread } from "../core/processors.ts";
import type { FromWriter, ToWriter, WireError } from "./messages.ts";
import { Writer } from "./writer.ts";

declare const self: Worker;

let writer: Writer | undefined;
let reportedRound = -1;

self.onmessage = (event: MessageEvent<ToWriter>) => {
  try {
    handle(event.data);
  } catch (error) {
    fail(error);
  }
};

function handle(message: ToWriter): void {
  if (message.type === "open") {
    yieldProcessor();
    writer = new Writer(message.options, message.tail);
    post({ type: "opened", shards: writer.describe(), thread: currentThread() });
    return;
  }
  if (writer === undefined) return;
  switch (message.type) {
    case "settle": {
      const { runs, bytes } = writer.settle(message);
      for (const grown of writer.grownFilters()) post(grown);
      post({ type: "settled", round: message.round, runs, bytes });
      if (writer.checkpointGrown()) reportCheckpoint(writer, "when it rose");
      return;
    }
    case "checkpoint":
      if (message.pace !== undefined) checkpointInTurn(writer, message.pace);
      else {
        writer.checkpointAll();
        reportCheckpoint(writer, "always");
      }
      return;
    case "recovered":
      writer.recovered(message.isJournalKept);
      reportCheckpoint(writer, "when it rose");
      post({ type: "recovered" });
      return;
    case "sweep":
      post({ type: "swept", ...writer.sweep(message.rowsMax, message.bytesMax) });
      if (writer.checkpointGrown()) reportCheckpoint(writer, "when it rose");
      return;
    case "drop":
      post({ type: "dropped", runs: writer.drop(message) });
      if (writer.checkpointGrown()) reportCheckpoint(writer, "when it rose");
      return;
    case "hold":
      post({ type: "held", isDone: answerOf(writer.hold(message.shard, message.number, message.hold)) });
      return;
    case "rewrap":
      post({ type: "rewrapped", piece: answerOf(writer.rewrap(message.shard, message.first)) });
      return;
    case "release":
      post({ type: "released", shards: writer.release(message.erased) });
      return;
    case "close":
      writer.close();
      end({ type: "closed" });
      return;
  }
}

/** Damage to one entity's slot is the answer to the call that met it, and the writer goes on. */
function answerOf<Result>(result: Result | WarpError): Result | WireError {
  return result instanceof WarpError ? result.toWire() : result;
}

/** Twice as long as a patient one took nothing is copied: others get most of the disk, and rounds are settled meanwhile. */
const pauseShares = { patient: 2, brief: 0 } as const;
const blockedPauseMs = 100;
/** Shards that have still to be copied one after the other; undefined when that is not under way. */
let dueInTurn: number[] | undefined;
let pauseShare: number = pauseShares.patient;

function checkpointInTurn(of: Writer, pace: keyof typeof pauseShares): void {
  const isUnderWay = dueInTurn !== undefined;
  dueInTurn = [...new Set([...(dueInTurn ?? []), ...of.dirtyShards])];
  pauseShare = pauseShares[pace];
  if (!isUnderWay) checkpointNext(of);
}

function checkpointNext(of: Writer): void {
  const shard = dueInTurn?.shift();
  if (shard === undefined) {
    dueInTurn = undefined;
    reportCheckpoint(of, "always");
    return;
  }
  const begun = performance.now();
  const isDone = of.checkpointBriefly(shard);
  reportCheckpoint(of, "when it rose");
  const isLast = dueInTurn?.length === 0;
  const ms = performance.now() - begun;
  // Whoever asked asks again when a reader was in the way.
  const pauseMs = isLast && isDone ? 0 : Math.max(ms * pauseShare, isDone ? 0 : blockedPauseMs);
  setTimeout(() => {
    if (writer === undefined) return;
    try {
      checkpointNext(of);
    } catch (error) {
      fail(error);
    }
  }, pauseMs);
}

/** On Linux a niceness belongs to a thread; ten steps are a ninth of the weight of the others (measured: 7 % more appends). */
function yieldProcessor(): void {
  if (process.platform === "linux") setPriority(0, Math.min(19, getPriority(0) + 10));
}

function reportCheckpoint(of: Writer, when: "always" | "when it rose"): void {
  const round = of.checkpointedRound;
  if (when === "when it rose" && round <= reportedRound) return;
  reportedRound = round;
  post({ type: "checkpointed", round });
}

function fail(error: unknown): void {
  try {
    writer?.abandon();
  } finally {
    end({ type: "failed", error: toWarpError(error, "ENGINE_FAILED").toWire() });
  }
}

/** The last message; without a listener the thread ends by itself. */
function end(message: FromWriter): void {
  writer = undefined;
  post(message);
  self.onmessage = null;
  process.exit(0);
}

function post(message: FromWriter): void {
  self.postMessage(message);
}
