/**
 * `warp query SQL`: one SELECT over the rows of projections, as a table, CSV, NDJSON or Parquet.
 */
import { Option } from "commander";
import { toWarpError, WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { exitCode } from "../exit.ts";
import { duration } from "../setting-values.ts";
import { addTargetOptions, targetSettings, wholeNumber } from "../settings.ts";
import type { QueryParam } from "../target.ts";
import type { Verb } from "../verb.ts";
import { csvOf, type Format, formatOf, formats, ndjsonOf, parquetOf } from "./query/formats.ts";
import { paramOf } from "./query/parameters.ts";

interface QueryCommandOptions {
  readonly param?: readonly QueryParam[];
  readonly after?: readonly (string | { shard: number; position: number })[];
  readonly timeout?: number;
  readonly rows?: number;
  readonly sink?: string;
  readonly format?: Format;
  readonly out?: string;
}

export const queryVerb: Verb = {
  name: "query",
  summary: "run one SELECT over the rows of projections",
  examples: [
    ['warp query "SELECT * FROM accounts ORDER BY cents DESC LIMIT 10" --app banking.ts', "a table"],
    [
      'warp query "SELECT * FROM volume WHERE day >= ?" --param 2026-11-01 --format csv',
      "CSV, with a parameter",
    ],
    ['warp query "SELECT * FROM accounts" --rows 1000000 --out accounts.parquet', "a file for a warehouse"],
  ],

  define(command) {
    command.argument("<sql>", "one SELECT");
    addTargetOptions(command)
      .option("--param <value>", "a parameter: JSON if it is that, else text; may be repeated", param)
      .option("--after <place>", "wait for this write: SHARD:POSITION, or a cursor; may be repeated", place)
      .option("--timeout <time>", "at most this long, waiting included (default: 10s)", duration)
      .option("--rows <count>", "rows at most (default: 10000)", wholeNumber(1, limits.queryRowsMax))
      .option("--sink <name>", "the database to ask (default: the embedded one)")
      .addOption(new Option("--format <name>", "how rows are printed").choices(formats))
      .option("--out <file>", "write to this file; its ending says the format");
  },

  async run(command, { output, errors, withTarget }) {
    const [sql = ""] = command.args;
    const {
      param: params = [],
      after,
      timeout,
      rows,
      sink,
      out,
      ...options
    } = command.opts<QueryCommandOptions>();
    const format = formatOf({ format: options.format, out, json: output.json });
    return await withTarget(targetSettings(command, false), async (target) => {
      const result = await target.query(sql, params, { after, timeoutMs: timeout, rows, sink });
      if (result.isTruncated && (rows === undefined || result.rows.length < rows)) {
        const message = `there are more than ${result.rows.length} rows: say --rows, or ask for fewer at once`;
        // Half of the data must not pass for all of it.
        if (format !== "table") throw new WarpError("QUERY_FAILED", message);
        errors.write(`${message}\n`);
      }
      if (out !== undefined) {
        await writeFile(out, format === "parquet" ? parquetOf(result) : textOf(format, result));
        return exitCode.ok;
      }
      if (format !== "table") {
        await output.text(textOf(format, result));
        return exitCode.ok;
      }
      const columns = result.columns.map((title, i) => ({
        title,
        of: (row: readonly unknown[]) => shown(row[i]),
        ...(result.rows.every((row) => typeof row[i] !== "string") ? { align: "right" as const } : {}),
      }));
      await output.table(each(result.rows), columns);
      return exitCode.ok;
    });
  },
};

async function writeFile(path: string, contents: string | Uint8Array): Promise<void> {
  try {
    await Bun.write(path, contents);
  } catch (thrown) {
    throw toWarpError(thrown, "IO_ERROR", { file: path });
  }
}

function textOf(format: Format, result: Parameters<typeof csvOf>[0]): string {
  return format === "csv" ? csvOf(result) : ndjsonOf(result);
}

async function* each<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "";
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : String(value);
}

function param(text: string, before: readonly QueryParam[] = []): readonly QueryParam[] {
  return [...before, paramOf(text)];
}

function place(
  text: string,
  before: readonly (string | { shard: number; position: number })[] = [],
): readonly (string | { shard: number; position: number })[] {
  const [, shard, position] = /^(\d+):(\d+)$/.exec(text) ?? [];
  return [...before, shard === undefined ? text : { shard: Number(shard), position: Number(position) }];
}
