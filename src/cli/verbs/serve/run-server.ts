/**
 * The life of a server, from its settings to its end.
 *
 *   application → context (recovery included) → wire protocol → HTTP → announce … → drain → close
 *
 * - Nothing listens before the context is open, and the context is closed after nothing listens any more.
 * - Told to stop, it takes no new work, answers what is under way, lets a backup end, both for as long as it may, and ends
 *   well: everything acknowledged is on disk.
 * - A failed engine ends the server with the engine's error; a new start reads the disk again.
 */
import { BackupSchedule } from "../../../backup/schedule.ts";
import { type BackupTarget, openTarget } from "../../../backup/target/target.ts";
import { jsonLogger, type Logger } from "../../../core/logger.ts";
import { type ProjectionStatus, start, type Warp } from "../../../index.ts";
import type { EnginePort } from "../../../net/engine-port.ts";
import { createMetrics, type LabelledSource, type MetricSource } from "../../../net/http/metrics.ts";
import type { ServerStatus } from "../../../net/http/parts.ts";
import { listenHttp } from "../../../net/http-server.ts";
import { listenTcp, type TcpServer } from "../../../net/tcp-server.ts";
import { enginePortOf } from "../../../server.ts";
import { type Address, formatAddress, isLoopback } from "../../setting-values.ts";
import { followingMetrics } from "./following-metrics.ts";
import type { ServerSettings } from "./server-settings.ts";

/** Where a running server can be reached. */
export interface Listening {
  readonly context: string;
  readonly data: string;
  /** HOST:PORT for clients, or undefined. */
  readonly listen: string | undefined;
  /** URL, or undefined. */
  readonly http: string | undefined;
}

/** What has something under way. */
interface Drained {
  /** Begins nothing new and resolves when what is under way has ended. */
  drain(): Promise<unknown>;
  abort(): unknown;
}

/** One of the doors of the server: requests are under way. */
interface Door extends Drained {
  readonly address: Address;
}

/** How long the answers of a failed engine have to leave … */
const failedDrainMs = 1000;
/** … and how long it has to end by itself after that. */
const failedEndMs = 2000;

/** Serves until `signal` or until the engine fails, which is thrown. */
export async function runServer(
  settings: ServerSettings,
  signal: AbortSignal,
  onListening: (listening: Listening) => Promise<void>,
): Promise<void> {
  const logger = jsonLogger(settings.logLevel);
  const target = settings.backup === undefined ? undefined : openTarget(settings.backup);
  const warp = await start({ ...contextSettings(settings), logger });
  let status: ServerStatus = "ready";
  const doors: Door[] = [];
  const backups = target === undefined ? undefined : scheduleBackups(warp, target, settings.every, logger);
  try {
    const engine = enginePortOf(warp, backups);
    const tcp =
      settings.listen === "off" ? undefined : await openTcp(settings.listen, settings, engine, logger);
    if (tcp !== undefined) doors.push(tcp);
    const metrics = createMetrics(
      { context: warp.context, pid: String(process.pid) },
      [
        ...contextMetrics(warp),
        ...followingMetrics(warp),
        ...(tcp === undefined ? [] : tcpMetrics(tcp.server)),
        ...(backups === undefined ? [] : backupMetrics(backups)),
      ],
      projectionMetrics(warp),
    );
    const parts = {
      engine,
      status: () => status,
      metrics,
      logger,
      bodyBytesMax: settings.maxBody,
    };
    const http = settings.http === "off" ? undefined : openHttp(settings.http, settings.httpNames, parts);
    if (http !== undefined) doors.push(http);

    warnOfStrangers(doors, logger);
    const listening = {
      context: warp.context,
      data: settings.data,
      listen: tcp === undefined ? undefined : formatAddress(tcp.address),
      http: http === undefined ? undefined : `http://${formatAddress(http.address)}`,
    };
    logger.info("serving", listening);
    await onListening(listening);
    const failure = await Promise.race([warp.failed, aborted(signal)]);
    if (failure !== undefined) {
      status = "failed";
      // Whoever waits for an answer is told that its outcome is unknown.
      await drain(doors, failedDrainMs, logger);
      throw failure;
    }
    status = "draining";
    logger.info("draining: no new work is taken", { pendingWrites: warp.pressure.pendingWrites });
    await drain(backups === undefined ? doors : [...doors, underWay(backups)], settings.drainTimeout, logger);
    await backups?.stop();
  } catch (thrown) {
    if (status !== "failed") {
      for (const door of doors) await door.abort();
      backups?.interrupt();
      await backups?.stop();
      await warp.close();
    }
    // A failed engine may have Workers that never end. Its data is safe: a start reads the disk again.
    if (status === "failed") setTimeout(() => process.exit(), failedEndMs).unref();
    throw thrown;
  }
  const failure = await Promise.race([warp.failed, warp.close()]);
  if (failure !== undefined) throw failure;
  logger.info("stopped: everything acknowledged is on disk");
}

function contextSettings(settings: ServerSettings) {
  const { rootKeyFile, rootKeyCommand } = settings;
  return {
    dataDir: settings.data,
    context: settings.context,
    shards: settings.shards,
    application: settings.app,
    sinks: settings.sinks,
    mode: settings.mode,
    durability: settings.durability,
    writers: settings.writers,
    memory: { residentBytes: settings.memoryResident, tailBytes: settings.memoryTail },
    journal: { segmentBytes: settings.journalSegment, segmentsMax: settings.journalSegments },
    settle: { bytes: settings.settleBytes, delayMs: settings.settleDelay },
    ...(rootKeyFile === undefined ? {} : { rootKey: { file: rootKeyFile } }),
    ...(rootKeyCommand === undefined ? {} : { rootKey: { command: rootKeyCommand } }),
  };
}

function scheduleBackups(
  warp: Warp,
  { name }: BackupTarget,
  everyMs: number,
  logger: Logger,
): BackupSchedule {
  const known = warp.backupTargets.find(({ target, restoredFrom }) => target === name && !restoredFrom);
  return new BackupSchedule({
    target: name,
    everyMs,
    coveredAt: known?.backedUpAt || undefined,
    logger,
    backup: (to, options) => warp.backup(to, options),
  });
}

async function openTcp(
  address: Address,
  { maxConnections }: ServerSettings,
  engine: EnginePort,
  logger: Logger,
): Promise<Door & { readonly server: TcpServer }> {
  const { host, port } = address;
  const server = await listenTcp(
    { hostname: host, port, limits: { connections: maxConnections }, logger },
    engine,
  );
  return {
    server,
    address: { host, port: server.port },
    drain: () => server.drain(),
    abort: () => server.close(),
  };
}

function openHttp(
  address: Address,
  names: ServerSettings["httpNames"],
  parts: Parameters<typeof listenHttp>[1],
): Door {
  const server = listenHttp({ ...address, names }, parts);
  return {
    address: { host: address.host, port: server.port },
    drain: () => server.close(),
    abort: () => server.abort(),
  };
}

function underWay(backups: BackupSchedule): Drained {
  return { drain: () => backups.stop(), abort: () => backups.interrupt() };
}

/** Until all of them have ended or the time is over; then what is still under way is cut off. */
async function drain(all: readonly Drained[], timeoutMs: number, logger: Logger): Promise<void> {
  const late = Symbol("late");
  const timer = Promise.withResolvers<typeof late>();
  const timeout = setTimeout(() => timer.resolve(late), timeoutMs);
  const ended = await Promise.race([Promise.all(all.map((one) => one.drain())), timer.promise]);
  clearTimeout(timeout);
  if (ended !== late) return;
  logger.warn("requests and backups under way were cut off", { drainTimeoutMs: timeoutMs });
  await Promise.all(all.map((one) => one.abort()));
}

function warnOfStrangers(doors: readonly Door[], logger: Logger): void {
  for (const { address } of doors) {
    if (isLoopback(address)) continue;
    logger.warn("other machines can reach this address, and there is no access control", {
      address: formatAddress(address),
    });
  }
}

function tcpMetrics(server: TcpServer): MetricSource[] {
  const { counters } = server;
  return [
    { name: "warp_tcp_connections", help: "Clients that are connected.", read: () => server.connections },
    {
      name: "warp_tcp_buffer_bytes",
      help: "Buffers that their connections hold.",
      read: () => server.bufferBytes,
    },
    {
      name: "warp_tcp_requests_total",
      help: "Requests of all connections.",
      read: () => counters.requests,
      grows: true,
    },
    {
      name: "warp_tcp_errors_total",
      help: "Requests that were answered with an error.",
      read: () => counters.errors,
      grows: true,
    },
    {
      name: "warp_tcp_refused_total",
      help: "Connections that were refused.",
      read: () => counters.refused,
      grows: true,
    },
  ];
}

function contextMetrics(warp: Warp): MetricSource[] {
  return [
    {
      name: "warp_resident_entities",
      help: "Entities in memory.",
      read: () => warp.pressure.residentEntities,
    },
    {
      name: "warp_resident_bytes",
      help: "Estimate of the memory that they take.",
      read: () => warp.pressure.residentBytes,
    },
    {
      name: "warp_pending_writes",
      help: "Writes that are not answered yet.",
      read: () => warp.pressure.pendingWrites,
    },
    {
      name: "warp_unsettled_bytes",
      help: "Records that are in the journal only.",
      read: () => warp.pressure.unsettledBytes,
    },
  ];
}

function backupMetrics(backups: BackupSchedule): MetricSource[] {
  return [
    {
      name: "warp_backup_age_seconds",
      help: "Since the newest backup that succeeded began.",
      read: () => backups.ageMs / 1000,
    },
    { name: "warp_backups_total", help: "Backups that succeeded.", read: () => backups.backups, grows: true },
    {
      name: "warp_backup_failures_total",
      help: "Backups that failed.",
      read: () => backups.failures,
      grows: true,
    },
    {
      name: "warp_backup_bytes_total",
      help: "Bytes of events that were added.",
      read: () => backups.bytes,
      grows: true,
    },
  ];
}

function projectionMetrics(warp: Warp): LabelledSource[] {
  const each = (read: (status: ProjectionStatus) => number) => () =>
    warp.projections.status.map((status) => [status.name, read(status)] as const);
  const source = (name: string, help: string, read: (status: ProjectionStatus) => number) => ({
    name: `warp_projection_${name}`,
    help,
    label: "projection",
    readEach: each(read),
  });
  return [
    source("lag_seconds", "Age of the oldest event that is not in the rows.", ({ lagMs }) => lagMs / 1000),
    source("lag_events", "Events that are not in the rows.", ({ lagEvents }) => lagEvents),
    source("parked_entities", "Entities that are held back.", ({ parked }) => parked),
    source("skipped_events", "Events that were left out.", ({ skipped }) => skipped),
    source("gaps", "Times that events were dropped before they were taken in.", ({ gaps }) => gaps),
    source("failing", "1 while something is wrong with it.", ({ error }) => (error === null ? 0 : 1)),
  ];
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
