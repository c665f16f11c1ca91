/**
 * The flights as a plain loop sees them, and how they are imported: what the tests of the flights compare with.
 */
import { join } from "node:path";
import type { AirportState } from "../../examples/flights.ts";
import { root } from "./command.ts";

export interface Flight {
  readonly date: string;
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

export const original = join(root, "node_modules/vega-datasets/data/flights-20k.json");
export const flights = (await Bun.file(original).json()) as Flight[];
export const application = join(root, "examples/flights.ts");
export const mapping = ["--entity", "origin", "--type-name", "Departed", "--occurred", "date"];
export const kept = ["--fields", "date,delay,distance,destination"];

export const timeOf = ({ date }: Flight) => Date.parse(`${date.replaceAll("/", "-").replace(" ", "T")}Z`);

/** The states of all airports by a plain loop. */
export function statesOf(given: readonly Flight[]): Map<string, AirportState> {
  const states = new Map<string, AirportState>();
  for (const origin of new Set(given.map((flight) => flight.origin))) {
    const own = given.filter((flight) => flight.origin === origin);
    const delayMinutes = own.reduce((sum, { delay }) => sum + delay, 0);
    states.set(origin, {
      flights: own.length,
      delayMinutes,
      meanDelayMinutes: delayMinutes / own.length,
      worstDelayMinutes: Math.max(...own.map(({ delay }) => delay)),
      distanceMiles: own.reduce((sum, { distance }) => sum + distance, 0),
    });
  }
  return states;
}
