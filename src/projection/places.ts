/**
 * Where the rows of a build live: a file of the data directory, or the sink that the settings name.
 */
import { WarpError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { BuildRecord, Control } from "./control.ts";
import type { SinkPlace } from "./messages.ts";
import { openSink } from "./sinks/open.ts";

/** By name: `postgres://…` or `http://…` (rqlite; several nodes with commas between them). */
export type SinkSettings = Readonly<Record<string, string>>;

export class Places {
  readonly #control: Control;
  readonly #context: string;
  readonly #sinks: SinkSettings;
  readonly #logger: Logger;

  /** Errors: INVALID_ARGUMENT. */
  constructor(parts: { control: Control; context: string; sinks: SinkSettings; logger: Logger }) {
    this.#control = parts.control;
    this.#context = parts.context;
    this.#sinks = parts.sinks;
    this.#logger = parts.logger;
    for (const name of Object.keys(parts.sinks)) this.#elsewhere(name, 0);
  }

  /** Errors: CONFIG_MISMATCH for a sink that the settings do not name. */
  of(projection: string, build: BuildRecord): SinkPlace {
    if (build.sink !== undefined) return this.#elsewhere(build.sink, build.number);
    return { kind: "sqlite", path: this.#control.fileOf(projection, build.number) };
  }

  /** A sink by its name, for queries. */
  named(sink: string): SinkPlace {
    return this.#elsewhere(sink, 0);
  }

  /** Whether its rows are here, or in a sink that the settings name. */
  knows({ sink }: BuildRecord): boolean {
    return sink === undefined || this.#sinks[sink] !== undefined;
  }

  /** Drops the rows of a build of a sink that nobody uses any more; false when it could not be reached. */
  async drop(projection: string, build: BuildRecord): Promise<boolean> {
    try {
      const sink = openSink(this.of(projection, build), stubOf(projection, build));
      try {
        await sink.drop();
      } finally {
        await sink.close();
      }
      return true;
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      this.#logger.warn("rows of an old build are still there", { projection, sink: build.sink, reason });
      return false;
    }
  }

  #elsewhere(name: string, build: number): SinkPlace {
    const url = this.#sinks[name];
    if (url === undefined) {
      throw new WarpError("CONFIG_MISMATCH", `no sink ${name} is set`, { sink: name });
    }
    const schema = this.#context.replace(/[^A-Za-z0-9_]/g, "_");
    if (/^postgres(?:ql)?:\/\//.test(url)) return { kind: "postgres", url, build, schema };
    if (/^https?:\/\//.test(url)) return { kind: "rqlite", url, build, schema };
    throw new WarpError("INVALID_ARGUMENT", `sink ${name} is postgres://… or http://… (rqlite)`, {
      sink: name,
    });
  }
}

/** A build without handlers: enough to clean or to drop its rows. */
export function stubOf(
  name: string,
  { number, version, tables }: Pick<BuildRecord, "number" | "version" | "tables">,
) {
  return {
    number,
    incarnation: "",
    projection: {
      kind: "projection",
      name,
      version,
      tables,
      handlers: new Map(),
      views: new Map(),
      onFailure: "park",
      sink: undefined,
      personal: false,
    },
  } as const;
}
