/**
 * What a command prints on standard output: tables and texts for people, or with `--json` one JSON object a line.
 *
 * - With `--json` nothing but JSON lines is printed; their field names and units are those of the library (times in ms).
 * - Colours only on a terminal, and never with NO_COLOR.
 * - Output is gathered and written in pieces; a slow reader slows the command down, and a reader that goes away
 *   (`| head`) ends it.
 */
import { WarpError } from "../core/errors.ts";
import { type ExitCode, exitCode, toLine } from "./exit.ts";
import type { SendOutcome } from "./target.ts";

const pieceChars = 64 * 1024;
/** Rows that are looked at before the widths of a table's columns are fixed. */
const measuredRows = 100;
const columnGap = "  ";

export interface Column<Item> {
  readonly title: string;
  readonly of: (item: Item) => string;
  readonly align?: "left" | "right";
}

/** The reader of the output has gone; not a failure of the command. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string, done: (error?: Error | null) => void): boolean;
}

export class Output {
  readonly json: boolean;
  private readonly stream: OutputStream;
  private readonly signal: AbortSignal;
  private readonly hasColour: boolean;
  private gathered = "";

  /** `signal` ends a table after the row being printed. */
  constructor(
    stream: OutputStream,
    json: boolean,
    signal: AbortSignal,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.stream = stream;
    this.json = json;
    this.signal = signal;
    this.hasColour = !json && stream.isTTY === true && !environment.NO_COLOR && environment.TERM !== "dumb";
  }

  /** Prints one thing: as a JSON line, or as the text for people. */
  async item(value: object, text: string): Promise<void> {
    await this.print(this.json ? `${toJson(value)}\n` : `${text}\n`);
  }

  /** Prints things as they come: as JSON lines, or as a table. Returns how many there were. */
  async table<Item extends object>(
    items: AsyncIterable<Item>,
    columns: readonly Column<Item>[],
  ): Promise<number> {
    let count = 0;
    let waiting: string[][] = [];
    let widths: readonly number[] | undefined;
    const start = async () => {
      widths = columns.map(({ title }, i) =>
        Math.max(title.length, ...waiting.map((cells) => widthOf(cells[i]))),
      );
      const titles = columns.map(({ title }) => title);
      await this.print(`${this.bold(this.line(titles, columns, widths))}\n`);
      for (const cells of waiting) await this.print(`${this.line(cells, columns, widths)}\n`);
      waiting = [];
    };
    for await (const item of items) {
      if (this.signal.aborted) break;
      count++;
      if (this.json) {
        await this.print(`${toJson(item)}\n`);
        continue;
      }
      const cells = columns.map(({ of }) => toLine(of(item)));
      if (widths !== undefined) {
        await this.print(`${this.line(cells, columns, widths)}\n`);
      } else {
        waiting.push(cells);
        if (waiting.length === measuredRows) await start();
      }
    }
    if (waiting.length > 0) await start();
    return count;
  }

  /** Prints text that has its line ends, as it is. */
  async text(text: string): Promise<void> {
    await this.print(text);
  }

  bold(text: string): string {
    return this.hasColour ? `\u001b[1m${text}\u001b[0m` : text;
  }

  /** Writes what is gathered; to be called before the process ends. */
  async flush(): Promise<void> {
    if (this.gathered === "") return;
    const text = this.gathered;
    this.gathered = "";
    await new Promise<void>((resolve, reject) => {
      this.stream.write(text, (error) => {
        if (error === undefined || error === null) resolve();
        else if ("code" in error && error.code === "EPIPE") reject(new OutputClosed());
        else reject(new WarpError("IO_ERROR", `standard output: ${error.message}`, {}, error));
      });
    });
  }

  /** Prints text that is lines already, whatever the form of the rest. */
  async raw(text: string): Promise<void> {
    await this.print(text);
  }

  private async print(text: string): Promise<void> {
    this.gathered += text;
    if (this.gathered.length >= pieceChars || this.stream.isTTY === true) await this.flush();
  }

  private line<Item>(
    cells: readonly string[],
    columns: readonly Column<Item>[],
    widths: readonly number[],
  ): string {
    const padded = cells.map((cell, i) => {
      const padding = " ".repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)));
      if (columns[i]?.align === "right") return padding + cell;
      return i === cells.length - 1 ? cell : cell + padding;
    });
    return fit(padded.join(columnGap), this.stream.isTTY === true ? this.stream.columns : undefined);
  }
}

/**
 * Prints what a write came back with and returns the exit status that says it. A write that was refused is an answer and no
 * failure, so it is on standard output too.
 */
export async function printOutcome(output: Output, entity: string, outcome: SendOutcome): Promise<ExitCode> {
  await output.item({ entity, ...outcome }, toLine(sentenceOf(entity, outcome)));
  return outcome.ok ? exitCode.ok : exitCode.refused;
}

function sentenceOf(entity: string, outcome: SendOutcome): string {
  if (outcome.ok) {
    const { seq, firstSeq, count, duplicate } = outcome;
    if (count === 0) return `${entity}: nothing to append, at seq ${seq}`;
    const events = count === 1 ? `seq ${seq}` : `seq ${firstSeq} to ${seq}`;
    return `${entity}: ${duplicate ? "was already appended" : "appended"}, ${events}`;
  }
  if (outcome.reason === "conflict") return `${entity}: conflict, it is at seq ${outcome.seq}`;
  const { code, details } = outcome;
  return `${entity}: rejected, ${code}${details === undefined ? "" : ` ${toJson(details)}`}`;
}

/**
 * JSON text of anything that can be stored: a bigint is its decimal digits and bytes are base64, both as strings; NaN
 * and infinities are their names.
 */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, jsonValue, indent) ?? "null";
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}

function widthOf(cell: string | undefined): number {
  return Bun.stringWidth(cell ?? "");
}

function fit(line: string, width: number | undefined): string {
  if (width === undefined || width < 20 || line.length <= width) return line;
  return `${line.slice(0, width - 1)}…`;
}
