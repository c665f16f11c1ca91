/**
 * What both of Emmett's stores have in common: append to a stream, read it and fold it.
 */
import type { NewEvent } from "../../src/index.ts";
import type { RunningPeer } from "./harness/peer.ts";

/** What is used of Emmett. */
export interface EventStore {
  appendToStream(stream: string, events: readonly object[]): Promise<unknown>;
  aggregateStream<State>(
    stream: string,
    options: {
      readonly initialState: () => State;
      readonly evolve: (state: State, event: { readonly data: { readonly cents: number } }) => State;
    },
  ): Promise<{ readonly state: State }>;
}

interface Folded {
  readonly count: number;
  readonly cents: number;
}

const conflict = 412;
/** A dozen of 256 callers meet at the busiest stream of the mixed load. */
const triesMax = 1000;
const againMsMax = 20;

export const emmettState = "the stream, read and folded (aggregateStream)";
export const emmettSeq = "the store gives it, in a transaction; a wrong expected version is refused";

export function drivingEmmett(store: EventStore): Pick<RunningPeer, "append" | "read"> {
  const toEmmett = ({ type, data }: NewEvent) => ({ type, data });
  return {
    async append(entity, _seq, events) {
      const appended = events.map(toEmmett);
      for (let tries = 1; ; tries++) {
        try {
          await store.appendToStream(entity, appended);
          return;
        } catch (thrown) {
          // Two at a time to one stream: the loser tries again, as Emmett's own command handler does.
          if (tries === triesMax || (thrown as { readonly errorCode?: number }).errorCode !== conflict)
            throw thrown;
          if (tries > 3) await Bun.sleep(Math.random() * againMsMax);
        }
      }
    },
    async read(entity) {
      const { state } = await store.aggregateStream<Folded | undefined>(entity, {
        initialState: () => undefined,
        evolve: (before, { data }) => ({
          count: (before?.count ?? 0) + 1,
          cents: (before?.cents ?? 0) + data.cents,
        }),
      });
      return state;
    },
  };
}
