/**
 * What the crash tests fold: a purse that refuses to be overdrawn, and a trail of everything that happened.
 *
 * Both count every event that they fold, so a state that missed one or saw one twice differs from a plain fold. A server
 * loads this file as its application.
 */
import { defineAggregate, reject } from "warp";

/** Data of every event of these tests: event `i` of `of` in part `part` of operation `op`. */
export interface EventData {
  readonly op: string;
  readonly part: number;
  readonly i: number;
  readonly of: number;
  readonly cents: number;
  readonly pad: string;
}

export type LoadEvent =
  | { type: "Earned"; data: EventData }
  | { type: "Spent"; data: EventData }
  | { type: "Noted"; data: EventData };

export interface PurseState {
  readonly cents: number;
  readonly movements: number;
}

const emptyPurse: PurseState = { cents: 0, movements: 0 };

export const purse = defineAggregate<LoadEvent>()({
  name: "purse",
  version: 1,
  initialState: emptyPurse,
  evolve: {
    Earned: (state, { data }) => ({ cents: state.cents + data.cents, movements: state.movements + 1 }),
    Spent: (state, { data }) => ({ cents: state.cents - data.cents, movements: state.movements + 1 }),
    Noted: (state) => state,
  },
  commands: {
    spend: (state, input: EventData) =>
      input.cents > state.cents
        ? reject("TOO_LITTLE", { have: state.cents })
        : { type: "Spent", data: input },
  },
  snapshotEvery: 5,
});

export interface TrailState {
  readonly count: number;
  /** A checksum over every operation and index, in order. */
  readonly checksum: number;
}

const emptyTrail: TrailState = { count: 0, checksum: 0 };

const step = (state: TrailState, { data }: { readonly data: EventData }): TrailState => ({
  count: state.count + 1,
  checksum: Bun.hash.crc32(`${state.checksum}|${data.op}|${data.part}|${data.i}`),
});

export const trail = defineAggregate<LoadEvent>()({
  name: "trail",
  version: 2,
  initialState: emptyTrail,
  evolve: { Earned: step, Spent: step, Noted: step },
  snapshotEvery: 7,
});

/** What the two aggregates must hold after these events, worked out without the engine. */
export function plainFold(events: readonly { readonly type: string; readonly data: unknown }[]): {
  purse: PurseState;
  trail: TrailState;
} {
  let cents = 0;
  let movements = 0;
  let followed = emptyTrail;
  for (const { type, data } of events) {
    const known = data as EventData;
    if (type !== "Noted") {
      cents += type === "Earned" ? known.cents : -known.cents;
      movements++;
    }
    followed = step(followed, { data: known });
  }
  return { purse: { cents, movements }, trail: followed };
}
