/**
 * The last line of an export: what came before it, counted and hashed, so that whoever has the file can prove it whole.
 *
 * An export is NDJSON. Every line is an object with `kind` first; the lines come in the order `entity`, `state` …,
 * `event` …, whatever else is known, and `manifest`. See docs/privacy.md.
 */
import { createHash } from "node:crypto";
import { assert } from "./errors.ts";

export const exportFormat = 1;

export class ExportDigest {
  readonly #hasher = createHash("sha256");
  readonly #counts: Record<string, number> = {};
  #lines = 0;
  #bytes = 0;

  /** Takes in whole lines, as they are handed out. */
  take(text: string): void {
    assert(text === "" || text.endsWith("\n"), "an export is handed out in whole lines");
    this.#hasher.update(text);
    this.#bytes += Buffer.byteLength(text);
    for (const [, kind = ""] of text.matchAll(/^\{"kind":"(\w+)"/gm)) {
      this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
      this.#lines++;
    }
  }

  /** The manifest, with a line end. */
  manifest(): string {
    const sha256 = this.#hasher.digest("hex");
    const manifest = { kind: "manifest", format: exportFormat, lines: this.#lines, bytes: this.#bytes };
    return `${JSON.stringify({ ...manifest, counts: this.#counts, sha256 })}\n`;
  }
}

/** An export as its pages come from a server or an engine, with the manifest behind them. */
export async function* withManifest(pages: AsyncIterable<string>): AsyncGenerator<string> {
  const digest = new ExportDigest();
  for await (const text of pages) {
    // One that only says that there is more to come.
    if (text === "") continue;
    digest.take(text);
    yield text;
  }
  yield digest.manifest();
}
