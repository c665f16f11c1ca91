/**
 * Airports as entities, departures as their events: how many flights left, how late, how far.
 *
 *   warp import node_modules/vega-datasets/data/flights-20k.json --app examples/flights.ts \
 *     --entity origin --type-name Departed --occurred date --fields date,delay,distance,destination
 *   warp get DFW --app examples/flights.ts --occurred-at 2001-02-01
 */
import { defineAggregate } from "warp";

export type FlightEvent = {
  type: "Departed";
  /** Minutes late (negative when early), miles, and the code of the airport it flew to. */
  data: { date: string; delay: number; distance: number; destination: string };
};

export interface AirportState {
  readonly flights: number;
  readonly delayMinutes: number;
  readonly meanDelayMinutes: number;
  readonly worstDelayMinutes: number | null;
  readonly distanceMiles: number;
}

const initialState: AirportState = {
  flights: 0,
  delayMinutes: 0,
  meanDelayMinutes: 0,
  worstDelayMinutes: null,
  distanceMiles: 0,
};

export const airport = defineAggregate<FlightEvent>()({
  name: "airport",
  initialState,
  evolve: {
    Departed: (state, { data }) => {
      const flights = state.flights + 1;
      const delayMinutes = state.delayMinutes + data.delay;
      return {
        flights,
        delayMinutes,
        meanDelayMinutes: delayMinutes / flights,
        worstDelayMinutes: Math.max(state.worstDelayMinutes ?? data.delay, data.delay),
        distanceMiles: state.distanceMiles + data.distance,
      };
    },
  },
});
