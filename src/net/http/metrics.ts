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
export interface GaugeSource {
  readonly name: string;
  readonly help: string;
  readonly read: () => number;
}

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** `info` becomes labels of `warp_info`. */
export function createMetrics(
  info: Readonly<Record<string, string>>,
  sources: readonly GaugeSource[],
): HttpMetrics {
  const registry = new Registry();
  const registers = [registry];
  const labelNames = Object.keys(info);
  new Gauge({ name: "warp_info", help: "What is running here.", labelNames, registers }).set(info, 1);
  for (const { name, help, read } of [...sources, ...processSources]) {
    new Gauge({ name, help, registers, collect: gaugeOf(read) });
  }
  new Counter({
    name: "process_cpu_seconds_total",
    help: "Processor time of all threads.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
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
const processSources: readonly GaugeSource[] = [
  {
    name: "process_resident_memory_bytes",
    help: "Memory of the process.",
    read: () => process.memoryUsage.rss(),
  },
  { name: "process_start_time_seconds", help: "When the process started.", read: () => startedAt },
];

function gaugeOf(read: () => number): (this: Gauge) => void {
  return function (this: Gauge) {
    this.set(read());
  };
}
