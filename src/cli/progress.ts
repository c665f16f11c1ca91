/**
 * How far a long command is, on standard error: a bar that is drawn over itself on a terminal, else a line every few
 * seconds, so that a log stays short; with `--json`, where what is no terminal gets JSON lines alone, nothing. Standard output is
 * never touched.
 */
const barWidth = 24;
const drawEveryMs = 100;
const logEveryMs = 5000;
const sizes = ["B", "kB", "MB", "GB", "TB"];

export interface ProgressState {
  /** Undefined when only bytes are counted. */
  readonly rows?: number;
  readonly bytes: number;
  /** Undefined when it is not known, as for standard input. */
  readonly bytesTotal: number | undefined;
}

export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class ProgressMeter {
  private readonly stream: ProgressStream;
  private readonly isSilent: boolean;
  private readonly now: () => number;
  private readonly startedAt: number;
  private reportedAt: number;
  private isDrawn = false;

  /** `now` is in ms and never goes back. */
  constructor(stream: ProgressStream, json: boolean, now: () => number = () => performance.now()) {
    this.stream = stream;
    this.isSilent = json && stream.isTTY !== true;
    this.now = now;
    this.startedAt = now();
    this.reportedAt = this.startedAt;
  }

  /** Reports the state if the last report is old enough; cheap to call often. */
  update(state: ProgressState): void {
    if (this.isSilent) return;
    const now = this.now();
    const isTerminal = this.stream.isTTY === true;
    if (now - this.reportedAt < (isTerminal ? drawEveryMs : logEveryMs)) return;
    this.reportedAt = now;
    const elapsedMs = now - this.startedAt;
    if (isTerminal) {
      this.stream.write(`\r\u001b[2K${barLine(state, elapsedMs)}`);
      this.isDrawn = true;
    } else {
      this.stream.write(`${textLine(state, elapsedMs)}\n`);
    }
  }

  /** Removes the bar, so that something else can be printed. */
  clear(): void {
    if (this.isDrawn) this.stream.write("\r\u001b[2K");
    this.isDrawn = false;
  }
}

function barLine(state: ProgressState, elapsedMs: number): string {
  const done = shareOf(state);
  if (done === undefined) return textLine(state, elapsedMs);
  const filled = Math.round(done * barWidth);
  const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
  return `${bar} ${textLine(state, elapsedMs)}`;
}

function textLine(state: ProgressState, elapsedMs: number): string {
  const done = shareOf(state);
  const perSecond = (count: number) => (elapsedMs > 0 ? Math.round((count / elapsedMs) * 1000) : 0);
  const parts =
    state.rows === undefined
      ? [`${formatBytes(perSecond(state.bytes))}/s`]
      : [`${formatCount(state.rows)} rows`, `${formatCount(perSecond(state.rows))} rows/s`];
  if (done === undefined || state.bytesTotal === undefined) {
    parts.push(formatBytes(state.bytes));
  } else {
    parts.unshift(`${Math.floor(done * 100)} %`);
    parts.push(`${formatBytes(state.bytes)} of ${formatBytes(state.bytesTotal)}`);
    if (done > 0 && done < 1) parts.push(`${formatDuration((elapsedMs / done) * (1 - done))} left`);
  }
  return parts.join(", ");
}

function shareOf({ bytes, bytesTotal }: ProgressState): number | undefined {
  if (bytesTotal === undefined || bytesTotal === 0) return undefined;
  return Math.min(1, bytes / bytesTotal);
}

/** 1234567 as "1,234,567". */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 event", "2 events", "1,000 entities". */
export function formatCounted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** What a ledger keeps out of a backup: "3 erased", or "3 entities and 1 subject erased". */
export function formatErased(entities: number, subjects: number): string {
  if (subjects === 0) return `${formatCount(entities)} erased`;
  return `${formatCounted(entities, "entity", "entities")} and ${formatCounted(subjects, "subject")} erased`;
}

/** Decimal units, as disks are sold: 1500 as "1.5 kB". */
export function formatBytes(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 999.95 && unit < sizes.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${sizes[unit]}`;
}

/** Two units at most: "850 ms", "12 s", "3 min 20 s", "2 h 5 min". */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
