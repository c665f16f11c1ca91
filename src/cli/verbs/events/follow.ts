/**
 * The events of an entity from a seq on, and those to come, by asking again and again.
 *
 * The next question starts behind the last seq that was handed out, and seqs have no gaps: so nothing is missed and
 * nothing comes twice, whatever happens to the connection in between.
 */
import { WarpError } from "../../../core/errors.ts";
import type { StoredEvent } from "../../../core/event.ts";
import type { Target } from "../../target.ts";

const askAgainMs = 200;

/** Ends with `signal` or after `limit` events. `onIdle` is called when there is nothing new. */
export async function* followEvents(
  target: Pick<Target, "events">,
  entity: string,
  range: { readonly from?: number | undefined; readonly limit?: number | undefined },
  signal: AbortSignal,
  onIdle: () => Promise<void>,
): AsyncGenerator<StoredEvent> {
  let next = range.from ?? 1;
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  while (!signal.aborted && left > 0) {
    try {
      for await (const event of target.events(entity, { from: next })) {
        yield event;
        next = event.seq + 1;
        left--;
        if (signal.aborted || left === 0) return;
      }
    } catch (thrown) {
      // A server that is away comes back, and the question is the same then.
      if (!(thrown instanceof WarpError) || thrown.advice !== "retry") throw thrown;
    }
    await onIdle();
    await pause(askAgainMs, signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}
