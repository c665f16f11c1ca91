/**
 * The process that is killed: opens a data directory, loads it, and writes on its standard output what it attempts
 * before it does, and what it was told after.
 *
 * Its one argument is the JSON of a {@link LoadOrder}. A line of the output is the JSON of a {@link LogLine}; it is written
 * whole and at once, so that a line that is there is true, whatever happens to the process next.
 */
import { writeSync } from "node:fs";
import { start, WarpError } from "../../src/index.ts";
import { type Answer, type Operation, Operations, perform } from "./operations.ts";
import { seededRandom } from "./seeded.ts";
import { loadSettings, uncheckedSettings, unsettledSettings } from "./settings.ts";

export interface LoadOrder {
  readonly dataDir: string;
  readonly seed: number;
  /** Begins the names of its operations. */
  readonly run: string;
  readonly callers: number;
  /** Operations after which it closes the context and ends; it never ends by itself when it is 0. */
  readonly operations: number;
  readonly durability?: "fsync" | "os";
  /** Callers pause now and then, so that the journal becomes idle. */
  readonly pauses?: boolean;
  /** Settles nothing by itself, so that the journal alone has what was appended. */
  readonly isUnsettled?: boolean;
  /** Settles everything and copies no WAL into a main file. */
  readonly isUnchecked?: boolean;
  /** How often a caller takes up a short life, of 1; 0.04 by default. */
  readonly lives?: number;
  /** A module to open instead of the aggregates of these tests, which it has and derives more from. */
  readonly application?: string;
  /** Backs up into this target now and then. */
  readonly target?: string;
  /** Waits to be killed instead of closing, and says so; what is to be settled is settled then. */
  readonly lingers?: boolean;
}

export type LogLine =
  | { readonly mark: "opening" | "open" | "closing" | "closed" | "lingering" }
  | { readonly try: Operation }
  | { readonly done: Answer }
  | { readonly error: string; readonly op: string; readonly message: string }
  | { readonly failed: string; readonly message: string; readonly details: unknown };

function say(line: LogLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

async function load(order: LoadOrder): Promise<void> {
  const random = seededRandom(order.seed);
  const operations = new Operations(order.run, random);
  say({ mark: "opening" });
  const settings = order.isUnsettled
    ? unsettledSettings(order.dataDir)
    : order.isUnchecked
      ? uncheckedSettings(order.dataDir)
      : loadSettings(order.dataDir);
  const { application, durability = "fsync" } = order;
  const own = application === undefined ? settings : { ...settings, aggregates: undefined, application };
  const warp = await start({ ...own, durability });
  say({ mark: "open" });
  let hasFailed = false;
  const onFailure = warp.failed.then(({ code, message, details }) => {
    hasFailed = true;
    say({ failed: code, message, details });
  });
  let left = order.operations === 0 ? Number.POSITIVE_INFINITY : order.operations;
  const attempt = async (operation: Operation): Promise<boolean> => {
    say({ try: operation });
    try {
      say({ done: await perform(warp, operation) });
      return true;
    } catch (thrown) {
      const code = thrown instanceof WarpError ? thrown.code : "NOT_A_WARP_ERROR";
      say({ error: code, op: operation.op, message: String(thrown) });
      return false;
    }
  };
  // An erasure settles, checkpoints and retires segments by itself.
  const hasLives = order.isUnsettled !== true && order.isUnchecked !== true;
  /** A short life ends with what could not be done: what was perhaps never there is not erased. */
  const live = async (life: readonly Operation[]): Promise<void> => {
    for (const operation of life) if (!(await attempt(operation))) return;
  };
  const caller = async (): Promise<void> => {
    while (left-- > 0 && !hasFailed) {
      if (hasLives && random() < (order.lives ?? 0.04)) await live(operations.life());
      else if (order.target !== undefined && random() < 0.01) await warp.backup(order.target);
      else await attempt(operations.next());
      if (order.pauses === true && random() < 0.02) await Bun.sleep(random() * 150);
    }
  };
  await Promise.all(Array.from({ length: order.callers }, caller));
  if (order.lingers === true) {
    while (order.isUnsettled !== true && warp.pressure.unsettledBytes > 0) await Bun.sleep(1);
    say({ mark: "lingering" });
    await new Promise(() => setInterval(() => {}, 1000));
  }
  say({ mark: "closing" });
  if (hasFailed) await onFailure;
  await warp.close();
  say({ mark: "closed" });
}

if (import.meta.main) {
  try {
    await load(JSON.parse(process.argv[2] ?? "{}") as LoadOrder);
  } catch (thrown) {
    const { code, details } =
      thrown instanceof WarpError ? thrown : { code: "NOT_A_WARP_ERROR", details: {} };
    say({ failed: code, message: String(thrown), details });
    process.exit(3);
  }
}
