/**
 * Airports as entities, departures as their events: how many flights left, how late, how far.
 *
 *   warp import node_modules/vega-datasets/data/flights-20k.json --app examples/flights.ts \
 *     --entity origin --type-name Departed --occurred date --fields date,delay,distance,destination
 *   warp get DFW --app examples/flights.ts --occurred-at 2001-02-01
 *   warp query "SELECT * FROM delays_by_route WHERE flights > 50 ORDER BY mean_minutes DESC" --app examples/flights.ts
 */
import { defineAggregate, defineProjection } from "warp";

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

/** How late the flights of a route are, month by month. Only departures are kept, so nothing is about a person. */
export const routes = defineProjection<FlightEvent>()({
  name: "routes",
  tables: {
    route_months: {
      columns: {
        origin: "text",
        destination: "text",
        month: "text",
        flights: "integer",
        late: "integer",
        delay_minutes: "integer",
      },
      key: ["origin", "destination", "month"],
      subjects: ["origin"],
    },
  },
  views: {
    delays_by_route: `SELECT origin, destination, sum(flights) AS flights, sum(late) AS late,
        1.0 * sum(delay_minutes) / sum(flights) AS mean_minutes
      FROM route_months GROUP BY origin, destination`,
    delays_by_month: `SELECT month, sum(flights) AS flights, sum(late) AS late,
        1.0 * sum(delay_minutes) / sum(flights) AS mean_minutes
      FROM route_months GROUP BY month`,
  },
  on: {
    Departed: ({ entity, data, occurredAt, recordedAt }, { route_months }) => {
      const month = new Date(occurredAt ?? recordedAt).toISOString().slice(0, 7);
      const key = { origin: entity, destination: data.destination, month };
      route_months.add(key, { flights: 1, late: data.delay > 15 ? 1 : 0, delay_minutes: data.delay });
    },
  },
});
