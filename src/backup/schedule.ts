/**
 * Continuous backup: one backup after the other into one target, for as long as the context is open, and one at once when
 * somebody asks.
 *
 * - By itself it takes what is settled and orders nothing, so it is behind by the time between backups and `settle.delayMs`.
 * - Stopping waits for the backup under way; interrupting ends it early, and those that somebody asks for.
 * - A failure is told once, until another one comes, and tried again at the next turn. How old the newest backup is says `ageMs`.
 * - A backup without the keys of entities whose slots are damaged is a failure, and as new as any other.
 */
import type { BackupReport } from "../core/backup-report.ts";
import { toWarpError, type WarpError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { BackedUpWithoutKeys, type BackupOptions } from "./backup.ts";

export interface ScheduleOptions {
  readonly target: string;
  /** From the end of one backup to the start of the next, ms. */
  readonly everyMs: number;
  /** When the newest backup of an earlier process into the target began, ms; undefined when there is none. */
  readonly coveredAt: number | undefined;
  readonly logger: Logger;
  readonly backup: (target: string, options: BackupOptions) => Promise<BackupReport>;
}

export class BackupSchedule {
  backups = 0;
  failures = 0;
  bytes = 0;
  readonly #options: ScheduleOptions;
  /** When the newest backup began that was made, ms; before the very first one when this began. */
  #coveredAt: number;
  /** What was told of the failure of the newest backup; undefined when it did not fail. */
  #told: string | undefined;
  #isStopped = false;
  readonly #interrupted = new AbortController();
  #timer: Timer | undefined;
  #running: Promise<void>;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#coveredAt = options.coveredAt ?? Date.now();
    this.#running = this.#run();
  }

  /** How long ago the newest backup began, ms. */
  get ageMs(): number {
    return Date.now() - this.#coveredAt;
  }

  get target(): string {
    return this.#options.target;
  }

  /** Backs up everything that is durable now, when the backup under way is done. Errors: those of a backup. */
  now(): Promise<BackupReport> {
    return this.#backUp(true);
  }

  /** Waits for the backup under way and begins no more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** Ends the backup under way early, and begins no more. */
  interrupt(): void {
    this.#isStopped = true;
    this.#interrupted.abort();
  }

  async #run(): Promise<void> {
    try {
      await this.#backUp(false);
    } catch {
      // It is counted and told, and the next turn tries again.
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, this.#options.everyMs);
    this.#timer.unref();
  }

  async #backUp(settle: boolean): Promise<BackupReport> {
    const { target, everyMs, logger, backup } = this.#options;
    const { signal } = this.#interrupted;
    try {
      const report = await backup(target, { settle, everyMs, signal });
      this.#cover(report);
      this.backups++;
      if (this.#told !== undefined || this.backups === 1) {
        logger.info("backed up", { target: report.target, bytes: report.bytes, elapsedMs: report.elapsedMs });
      }
      this.#told = undefined;
      return report;
    } catch (thrown) {
      const error = toWarpError(thrown, "IO_ERROR");
      if (signal.aborted && error.code === "ABORTED") {
        logger.warn("the backup under way was interrupted; the one before it is as it was", { target });
        throw error;
      }
      this.failures++;
      if (error instanceof BackedUpWithoutKeys) this.#cover(error.report);
      this.#tell(error);
      throw error;
    }
  }

  #cover({ startedAt, bytes }: BackupReport): void {
    this.#coveredAt = startedAt;
    this.bytes += bytes;
  }

  #tell(error: WarpError): void {
    const { target, logger } = this.#options;
    // Where a disk is full differs from time to time.
    const isPartial = error instanceof BackedUpWithoutKeys;
    const told = JSON.stringify([error.code, isPartial ? error.details : undefined]);
    if (told === this.#told) return;
    this.#told = told;
    const message = isPartial
      ? "backed up without keys that are damaged"
      : "the backup failed; it is tried again";
    logger.error(message, { target, ...error.toWire() });
  }
}
