/**
 * What every system is asked to do. Events have four fields; single ones and those of batches about 100 bytes of JSON.
 */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly callers: number;
  /** Events of one append. */
  readonly batch: number;
  /** JSON of one event's data, bytes. */
  readonly bytes: number;
  /** Percent of the calls that read the entity's current state. */
  readonly readPercent: number;
  /** Entities are drawn by Zipf's law (exponent 0.99), not uniformly. */
  readonly isSkewed?: true;
  /** It ends after so many events, at the latest after twice the time. */
  readonly events?: number;
}

/** All workloads work on the same ones, which have an event each before the first one begins. */
export const entityCount = 10_000;

const single = { batch: 1, bytes: 100, readPercent: 0 } as const;

export const workloads: readonly Workload[] = [
  { ...single, name: "single-16", title: "single appends, 16 callers", callers: 16 },
  { ...single, name: "single-256", title: "single appends, 256 callers", callers: 256 },
  { ...single, name: "single-1000", title: "single appends, 1,000 callers", callers: 1000 },
  {
    ...single,
    name: "read-256",
    title: "reads of current state, 256 callers",
    callers: 256,
    readPercent: 100,
  },
  {
    ...single,
    name: "mixed-256",
    title: "half reads, Zipf, 1 KB events, 256 callers",
    callers: 256,
    bytes: 1000,
    readPercent: 50,
    isSkewed: true,
  },
  { ...single, name: "batch-500", title: "batches of 500, 16 callers", callers: 16, batch: 500 },
  {
    ...single,
    name: "bulk-1m",
    title: "1 M events, 200 writers, batches of 100",
    callers: 200,
    batch: 100,
    events: 1_000_000,
  },
];
