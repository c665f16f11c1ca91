/**
 * The journal Worker: one block and one fsync per turn, for every shard of the node.
 *
 * It owns the segment files while it lives. It has no event loop of its own once it runs: it sleeps in
 * `Atomics.wait`, and everything it is told stands in shared words (control.ts). Any failure of a write or an fsync
 * leaves the outcome of that turn unknown: it reports the error once and ends, and nothing is retried.
 */
import { assert, toWarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { currentThread } from "../core/processors.ts";
import { JournalControl } from "./control.ts";
import { blockKind } from "./format.ts";
import type { Position } from "./position.ts";
import { Segments, type SegmentsOptions } from "./segments.ts";
import { askForShortSlices } from "./short-slices.ts";

declare const self: Worker;

export interface JournalWorkerStart {
  readonly control: SharedArrayBuffer;
  readonly tails: readonly SharedArrayBuffer[];
  readonly segments: SegmentsOptions;
}

self.onmessage = (message: MessageEvent<JournalWorkerStart>) => {
  const control = new JournalControl(message.data.control);
  try {
    run(control, message.data);
  } catch (thrown) {
    const error = toWarpError(thrown, "IO_ERROR", { file: "journal" });
    control.fail(JSON.stringify(error.toWire()));
  }
  self.onmessage = null;
  process.exit(0);
};

function run(control: JournalControl, start: JournalWorkerStart): void {
  askForShortSlices();
  control.beginThread(currentThread());
  const { position } = control;
  const segments = new Segments(start.segments, position);
  const tails = start.tails.map((memory) => new Uint8Array(memory));
  segments.addSegments(control.segmentsReady);
  segments.advance();
  let seen = 0;
  let marked = position.sequence;
  for (;;) {
    const ranges = control.takeRanges();
    if (ranges.length > 0) {
      const { isForced } = control;
      const body: Uint8Array[] = [];
      let bodyBytes = 0;
      for (const range of ranges) {
        const tail = tails[range.tail];
        if (tail !== undefined) body.push(tail.subarray(range.start, range.start + range.length));
        bodyBytes += range.length;
      }
      const awake = makeRoom(control, segments, bodyBytes, seen);
      if (awake === undefined) break;
      seen = awake;
      const use = segments.write(blockKind.records, body);
      if (isForced) segments.sync();
      control.finishTurn(use);
      continue;
    }
    if (control.stopping || control.failed) break;
    // In this order: what a task stands for was retired before it was asked for.
    const task = control.takeTask();
    segments.retire(control.retiredUse);
    if (task !== undefined) {
      const awake = task === "advance" ? nextSegment(control, segments, seen) : seen;
      if (awake === undefined) break;
      seen = awake;
      control.finishTurn(segments.use);
      continue;
    }
    const before = seen;
    const { sequence } = position;
    const isMarked = sequence === marked;
    seen = control.waitForWork(seen, isMarked ? Number.POSITIVE_INFINITY : untilIdle(position));
    segments.addSegments(control.segmentsReady);
    if (seen !== before || isMarked || position.sequence !== sequence || control.failed) continue;
    segments.mark(blockKind.idle);
    marked = position.sequence;
  }
  // After a failed write by the main thread nothing is said about it.
  if (!control.failed) segments.mark(blockKind.stop);
  segments.retire(control.retiredUse);
  segments.close();
}

/** Milliseconds until the journal has been idle for long enough to say so. */
function untilIdle({ writtenAt }: Position): number {
  const restMs = writtenAt + limits.idleMarkerMs - Date.now();
  // Clocks are set, too.
  return Math.min(Math.max(restMs, 1), limits.idleMarkerMs);
}

/**
 * Moves on to a free segment when the current one is full; waits for one to be retired or created. Undefined when it is
 * told to stop instead: after a failure elsewhere nothing is retired any more, and the turn is never written.
 */
function makeRoom(
  control: JournalControl,
  segments: Segments,
  bodyBytes: number,
  seen: number,
): number | undefined {
  if (segments.hasRoom(bodyBytes)) return seen;
  const awake = nextSegment(control, segments, seen);
  assert(awake === undefined || segments.hasRoom(bodyBytes), "a block fits in an empty segment");
  return awake;
}

/** Begins the next segment, as {@link makeRoom} says. */
function nextSegment(control: JournalControl, segments: Segments, seen: number): number | undefined {
  let now = seen;
  for (;;) {
    segments.addSegments(control.segmentsReady);
    segments.retire(control.retiredUse);
    if (segments.advance()) return now;
    if (control.stopping) return undefined;
    now = control.waitForWork(now, Number.POSITIVE_INFINITY);
  }
}
