/**
 * Orders that know where they go, as long as that may be known.
 */
import { defineAggregate, reject } from "../../src/index.ts";
import { smallSettings } from "../engine/sample.ts";

export const personalSettings = { ...smallSettings, shards: 4, writers: 2 } as const;

export const order = defineAggregate({
  name: "order",
  version: 1,
  initialState: { items: 0, address: "nowhere" as unknown, without: 0 },
  evolve: (state: { items: number; address: unknown; without: number }, event) => ({
    items: state.items + 1,
    address: event.personal === undefined ? state.address : event.personal,
    without: state.without + ("personal" in event ? 0 : 1),
  }),
  commands: {
    ship: (_state, input: { subject: string; address: string }) =>
      input.subject === ""
        ? reject("NOBODY")
        : {
            type: "Shipped",
            data: {},
            personal: { subject: input.subject, data: { address: input.address } },
          },
  },
  snapshotEvery: 4,
});
