/**
 * Continuous backup: one backup after the other into one target, for as long as the context is open.
 *
 * - It takes what is settled and orders nothing, so it is behind by the time between backups and `settle.delayMs`.
 * - A failure is told once and tried again at the next turn. How old the newest backup is says `ageMs`.
 */
import { toWarpError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { BackupOptions, BackupReport } from "./backup.ts";

export interface ScheduleOptions {
  readonly target: string;
  /** From the end of one backup to the start of the next, ms. */
  readonly everyMs: number;
  readonly logger: Logger;
  readonly backup: (target: string, options: BackupOptions) => Promise<BackupReport>;
}

export class BackupSchedule {
  backups = 0;
  failures = 0;
  bytes = 0;
  readonly #options: ScheduleOptions;
  /** When the newest backup began that succeeded, ms; before the first one when this began. */
  #coveredAt = Date.now();
  #isFailing = false;
  #isStopped = false;
  #timer: Timer | undefined;
  #running: Promise<void>;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** How long ago the newest backup began, ms. */
  get ageMs(): number {
    return Date.now() - this.#coveredAt;
  }

  /** Waits for the backup under way and begins no more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { target, everyMs, logger, backup } = this.#options;
    try {
      const report = await backup(target, { settle: false, everyMs });
      this.#coveredAt = report.startedAt;
      this.backups++;
      this.bytes += report.bytes;
      if (this.#isFailing || this.backups === 1) {
        logger.info("backed up", { target: report.target, bytes: report.bytes, elapsedMs: report.elapsedMs });
      }
      this.#isFailing = false;
    } catch (thrown) {
      this.failures++;
      const error = toWarpError(thrown, "IO_ERROR");
      if (!this.#isFailing)
        logger.error("the backup failed; it is tried again", { target, ...error.toWire() });
      this.#isFailing = true;
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, everyMs);
    this.#timer.unref();
  }
}
