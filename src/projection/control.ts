/**
 * Which builds there are and which of them queries see: `projections/control.json`, replaced as a whole.
 *
 * - It is written before a build's rows are made and after they are dropped, so no rows are ever unknown to it.
 * - A build has a number that is never given twice. At most one build of a projection is live.
 * - It holds names and shapes of tables, and nothing of what is in them.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { toWarpError, WarpError } from "../core/errors.ts";
import { replaceFile } from "../core/replace-file.ts";
import type { Table } from "./definition.ts";

export interface BuildRecord {
  readonly number: number;
  readonly version: number;
  readonly schema: string;
  /** Name of the sink; undefined for the embedded one. */
  readonly sink?: string;
  readonly tables: readonly Table[];
  readonly views: Readonly<Record<string, string>>;
}

export interface ProjectionRecord {
  isPaused: boolean;
  /** Number of the build that queries see. */
  live: number | undefined;
  builds: BuildRecord[];
}

interface Content {
  readonly format: 1;
  nextBuild: number;
  readonly projections: Record<string, ProjectionRecord>;
  /** Builds of sinks elsewhere whose rows are still to be dropped. */
  dropping: { readonly projection: string; readonly build: BuildRecord }[];
}

export class Control {
  readonly directory: string;
  readonly #content: Content;

  /** Errors: CORRUPT, FORMAT_UNSUPPORTED, IO_ERROR. */
  constructor(dataDir: string) {
    this.directory = join(dataDir, "projections");
    this.#content = read(this.#file);
  }

  get #file(): string {
    return join(this.directory, "control.json");
  }

  get names(): string[] {
    return Object.keys(this.#content.projections);
  }

  get(name: string): ProjectionRecord | undefined {
    return Object.hasOwn(this.#content.projections, name) ? this.#content.projections[name] : undefined;
  }

  /** The projection's record, made when there is none. */
  of(name: string): ProjectionRecord {
    const known = this.get(name);
    if (known !== undefined) return known;
    const fresh: ProjectionRecord = { isPaused: false, live: undefined, builds: [] };
    this.#content.projections[name] = fresh;
    return fresh;
  }

  /** Never given before. */
  nextNumber(): number {
    return this.#content.nextBuild++;
  }

  /** Changes a record, here and on disk or not at all. Errors: DISK_FULL, IO_ERROR. */
  change(record: ProjectionRecord, to: Partial<ProjectionRecord>): void {
    const before = { ...record };
    Object.assign(record, to);
    this.#saveOr(() => Object.assign(record, before));
  }

  /** The build is not used any more. Rows of a sink elsewhere are to be dropped; those of a file are. Errors: as above. */
  retire(projection: string, record: ProjectionRecord, build: BuildRecord): void {
    const { dropping } = this.#content;
    if (build.sink !== undefined) this.#content.dropping = [...dropping, { projection, build }];
    const before = { ...record };
    record.builds = record.builds.filter((one) => one !== build);
    if (record.live === build.number) record.live = undefined;
    this.#saveOr(() => {
      Object.assign(record, before);
      this.#content.dropping = dropping;
    });
  }

  get dropping(): readonly { readonly projection: string; readonly build: BuildRecord }[] {
    return this.#content.dropping;
  }

  /** Nothing is left of its rows. Errors: as above. */
  dropped({ number }: BuildRecord): void {
    const { dropping } = this.#content;
    this.#content.dropping = dropping.filter(({ build }) => build.number !== number);
    this.#saveOr(() => {
      this.#content.dropping = dropping;
    });
  }

  #saveOr(takeBack: () => void): void {
    try {
      this.#save();
    } catch (thrown) {
      takeBack();
      throw toWarpError(thrown, "IO_ERROR", { file: this.#file });
    }
  }

  #save(): void {
    // What is in here is as readable as what it was derived from.
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    replaceFile(this.#file, JSON.stringify(this.#content, undefined, 1));
  }

  /** Where an embedded build lives. */
  fileOf(name: string, number: number): string {
    return join(this.directory, `${name}.${number}.db`);
  }
}

function read(file: string): Content {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") {
      return { format: 1, nextBuild: 1, projections: {}, dropping: [] };
    }
    throw thrown;
  }
  let content: Content;
  try {
    content = JSON.parse(text) as Content;
  } catch (thrown) {
    throw new WarpError("CORRUPT", `${file} is no JSON`, { file }, thrown);
  }
  if (content.format === 1) return content;
  throw new WarpError("FORMAT_UNSUPPORTED", `${file} has format ${String(content.format)}, known is 1`, {
    file,
  });
}
