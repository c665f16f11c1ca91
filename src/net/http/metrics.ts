/**
 * What is measured, in the names that Prometheus wants: base units, `_total` for what only grows.
 *
 * Routes are labelled by their pattern, never by their path: an id in a label would make a series for every entity.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export interface HttpMetrics {
  readonly registry: Registry;
  observe(method: string, route: string, status: number, seconds: number): void;
}

/** A number that is read when somebody asks for the metrics. */
export interface MetricSource {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
  /** It never decreases while the process runs. */
  readonly grows?: true;
}

/** Numbers of things that have names, few and known to the operator: one series each. */
export interface LabelledSource {
  readonly name: string;
  readonly help: string;
  readonly label: string;
  readonly readEach: () => Iterable<readonly [label: string, value: number]>;
}

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** `info` becomes labels of `warp_info`. */
export function createMetrics(
  info: Readonly<Record<string, string>>,
  sources: readonly MetricSource[],
  labelled: readonly LabelledSource[] = [],
): HttpMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = Object.keys(info);
  new Gauge({ name: "warp_info", help: "What is running here.", labelNames, registers }).set(info, 1);
  for (const source of [...sources, ...processSources]) addSource(source, registers);
  for (const source of labelled) addLabelled(source, registers);
  const requests = new Histogram({
    name: "warp_http_request_duration_seconds",
    help: "Time until the answer began.",
    labelNames: ["method", "route", "status"],
    buckets,
    registers,
  });
  return {
    registry,
    observe: (method, route, status, seconds) => requests.observe({ method, route, status }, seconds),
  };
}

const startedAt = Date.now() / 1000 - process.uptime();
const processSources: readonly MetricSource[] = [
  {
    name: "process_resident_memory_bytes",
    help: "Memory of the process.",
    read: () => process.memoryUsage.rss(),
  },
  {
    name: "process_cpu_seconds_total",
    help: "Processor time of all threads.",
    read: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
    grows: true,
  },
  { name: "process_start_time_seconds", help: "When the process started.", read: () => startedAt },
];

function addSource({ name, help, read, grows }: MetricSource, registers: Registry[]): void {
  if (grows !== true) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
    return;
  }
  new Counter({
    name,
    help,
    registers,
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

function addLabelled({ name, help, label, readEach }: LabelledSource, registers: Registry[]): void {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers,
    collect() {
      this.reset();
      for (const [of, value] of readEach()) this.set({ [label]: of }, value);
    },
  });
}
