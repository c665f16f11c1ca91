/**
 * What a program or an operator may set, with the defaults, checked once.
 */
import { availableParallelism } from "node:os";
import { WarpError } from "./errors.ts";
import type { RootKeySource } from "./keyring.ts";
import { limits } from "./limits.ts";
import { jsonLogger, type Logger } from "./logger.ts";

export interface StorageSettings {
  /** Where everything is kept; made when it does not exist. */
  readonly dataDir: string;
  /** Name of the database instance, `default` for a new directory; fixed when the directory is made. */
  readonly context?: string | undefined;
  /** 1 to 256, 16 for a new directory; fixed when the directory is made. */
  readonly shards?: number | undefined;
  /** `actor` (default) keeps states in memory; `log` appends without folding. */
  readonly mode?: "actor" | "log" | undefined;
  /**
   * `fsync` (default): an append is acknowledged when it is on disk. `os`: when the operating system has it; a power
   * failure or a crash of the machine can then lose the newest appends, the end of a process cannot.
   */
  readonly durability?: "fsync" | "os" | undefined;
  /** `single` (default): this process owns every shard. */
  readonly cluster?: "single" | undefined;
  /** Where the root key comes from; by default `WARP_ROOT_KEY`, or else the file `root.key` in the directory. */
  readonly rootKey?: RootKeySource | undefined;
  readonly memory?: {
    /** Resident actors and their states, estimated bytes; idle ones leave memory beyond it. Default 512 MiB. */
    readonly residentBytes?: number | undefined;
    /** Records that are not settled yet, bytes per writer, 1 MiB to 1 GiB. Default 128 MiB. */
    readonly tailBytes?: number | undefined;
    /** Which requests of which clients were done, estimated bytes; the others are looked up on the disk. Default 256 MiB. */
    readonly deliveryBytes?: number | undefined;
  };
  readonly journal?: {
    /** One segment file, a multiple of 4096 from 64 KiB to 1 GiB; kept by segments that exist. Default 32 MiB. */
    readonly segmentBytes?: number | undefined;
    /** Segments at most, 2 to 1024; writers wait when all are full. Default 16. */
    readonly segmentsMax?: number | undefined;
  };
  readonly settle?: {
    /** Records that wait before they are settled, bytes. Default a quarter of the tail, at most 32 MiB; a quarter more of small writes. */
    readonly bytes?: number | undefined;
    /** The longest they wait, ms. Default 2000. */
    readonly delayMs?: number | undefined;
  };
  /** Shard writer Workers. Default: one per two processors, at least one. */
  readonly writers?: number | undefined;
  /** Deep-freezes states and event data, to find code that changes them. Default: when NODE_ENV is `test`. */
  readonly freeze?: boolean | undefined;
  /** False refuses to make a new directory. Default true. */
  readonly create?: boolean | undefined;
  readonly logger?: Logger | undefined;
}

export interface ResolvedSettings {
  readonly dataDir: string;
  readonly context: string | undefined;
  readonly shards: number | undefined;
  readonly mode: "actor" | "log";
  readonly durability: "fsync" | "os";
  readonly rootKey: RootKeySource | undefined;
  readonly residentBytes: number;
  readonly tailBytes: number;
  readonly deliveryBytes: number;
  readonly segmentBytes: number;
  readonly segmentsMax: number;
  readonly settleSmallBytes: number;
  readonly settleBytes: number;
  readonly settleDelayMs: number;
  readonly writers: number;
  readonly freeze: boolean;
  readonly create: boolean;
  readonly logger: Logger;
}

const kiB = 1024;
const giB = 1024 * 1024 * kiB;

/** Errors: INVALID_ARGUMENT, naming the setting. */
export function resolveSettings(given: StorageSettings): ResolvedSettings {
  const { memory = {}, journal = {}, settle = {} } = given;
  const tailBytes = within("memory.tailBytes", memory.tailBytes ?? limits.arenaBytes, 1024 * kiB, giB);
  const segmentBytes = within(
    "journal.segmentBytes",
    journal.segmentBytes ?? limits.segmentBytes,
    64 * kiB,
    giB,
  );
  if (segmentBytes % limits.sectorBytes !== 0) {
    throw new WarpError("INVALID_ARGUMENT", `journal.segmentBytes is a multiple of ${limits.sectorBytes}`);
  }
  const settleDefault = Math.min(limits.settleBytes, Math.floor(tailBytes / 4));
  return {
    dataDir: nonEmpty("dataDir", given.dataDir),
    context: given.context,
    shards: given.shards,
    mode: oneOf("mode", given.mode ?? "actor", ["actor", "log"]),
    durability: oneOf("durability", given.durability ?? "fsync", ["fsync", "os"]),
    rootKey: given.rootKey,
    residentBytes: within(
      "memory.residentBytes",
      memory.residentBytes ?? limits.residentBytes,
      0,
      1024 * giB,
    ),
    tailBytes,
    deliveryBytes: within(
      "memory.deliveryBytes",
      memory.deliveryBytes ?? limits.deliveryBytes,
      0,
      1024 * giB,
    ),
    segmentBytes,
    segmentsMax: within("journal.segmentsMax", journal.segmentsMax ?? limits.segmentsMax, 2, 1024),
    settleSmallBytes: settle.bytes ?? Math.floor(settleDefault * 1.25),
    settleBytes: within("settle.bytes", settle.bytes ?? settleDefault, 1, Math.floor(tailBytes / 2)),
    settleDelayMs: within("settle.delayMs", settle.delayMs ?? limits.settleDelayMs, 0, 3_600_000),
    writers: within("writers", given.writers ?? defaultWriters(), 1, 32),
    freeze: given.freeze ?? process.env.NODE_ENV === "test",
    create: given.create ?? true,
    logger: given.logger ?? jsonLogger(),
  };
}

/** What one block and one record may take, by the size that the segments have, which is that of the directory's first. */
export function recordSizes(
  segmentBytes: number,
  tailBytes: number,
): { readonly blockBytesMax: number; readonly recordBytesMax: number } {
  const blockBytesMax = Math.min(
    limits.blockBytesMax,
    segmentBytes - 3 * limits.sectorBytes,
    Math.floor(tailBytes / 2),
  );
  return { blockBytesMax, recordBytesMax: Math.min(limits.recordBytesMax, Math.floor(blockBytesMax / 2)) };
}

/** Shard writer Workers of this machine. */
export function defaultWriters(): number {
  return Math.max(1, Math.floor(availableParallelism() / 2));
}

function within(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new WarpError(
    "INVALID_ARGUMENT",
    `${name} is a whole number from ${low} to ${high}, not ${String(value)}`,
  );
}

function oneOf<Value extends string>(name: string, value: Value, values: readonly Value[]): Value {
  if (values.includes(value)) return value;
  throw new WarpError("INVALID_ARGUMENT", `${name} is one of ${values.join(", ")}, not ${String(value)}`);
}

function nonEmpty(name: string, value: string): string {
  if (typeof value === "string" && value !== "") return value;
  throw new WarpError("INVALID_ARGUMENT", `${name} is missing`);
}
