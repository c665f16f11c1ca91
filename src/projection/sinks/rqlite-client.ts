/**
 * rqlite's HTTP interface, as far as it is needed. https://rqlite.io/docs/api/
 *
 * - Any node does: it passes requests on to the leader. A node that does not answer gives way to the next.
 * - What is read is read through the log (level "strong"), so it is never older than what was committed.
 */
import { WarpError } from "../../core/errors.ts";
import type { Stored } from "../columns.ts";
import type { Statement } from "../sink.ts";

const requestMs = 30_000;
/** What a query's way takes beside the time that the server has for it. */
const wayMs = 1000;

/** Of a query that somebody asked. */
export interface Bounds {
  readonly timeoutMs: number;
  /** Of the answer as it comes. */
  readonly bytesMax: number;
}

interface Answer {
  readonly error?: string;
  readonly results?: readonly {
    readonly error?: string;
    readonly columns?: readonly string[];
    readonly values?: readonly (readonly Stored[])[];
  }[];
}

export interface Answered {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Stored[])[];
}

export class RqliteClient {
  readonly #nodes: readonly { readonly url: string; readonly authorization: string | undefined }[];
  /** The one that answered last. */
  #node = 0;

  /** `urls`: `http://HOST:PORT`, several with commas between them. */
  constructor(urls: string) {
    this.#nodes = urls.split(",").map((text) => {
      const url = new URL(text.trim());
      const { username, password } = url;
      const authorization = username === "" ? undefined : `Basic ${btoa(`${username}:${password}`)}`;
      return { url: url.origin, authorization };
    });
  }

  /** All statements or none. Errors: SINK_UNAVAILABLE, and PROJECTION_FAILED with the index of the statement. */
  async execute(statements: readonly Statement[], isTransaction = true): Promise<void> {
    await this.#post(`/db/execute${isTransaction ? "?transaction" : ""}`, statements);
  }

  /**
   * The results of SELECTs. Within bounds the server ends what takes too long, and so does this side when the server does not
   * (TIMEOUT); a longer answer is not read to its end (PROJECTION_FAILED).
   */
  async query(statements: readonly Statement[], bounds?: Bounds): Promise<readonly Answered[]> {
    const limit = bounds === undefined ? "" : `&db_timeout=${bounds.timeoutMs}ms`;
    const { results = [] } = await this.#post(`/db/query?level=strong${limit}`, statements, bounds);
    return results.map(({ columns = [], values = [] }) => ({ columns, rows: values }));
  }

  /** Asks every node to take a snapshot, behind which it can forget its log. */
  async snapshot(): Promise<void> {
    for (const { url, authorization } of this.#nodes) {
      const response = await this.#fetch(
        `${url}/snapshot`,
        authorization,
        "",
        AbortSignal.timeout(requestMs),
      );
      await response.body?.cancel();
    }
  }

  async #post(path: string, statements: readonly Statement[], bounds?: Bounds): Promise<Answer> {
    const over = bounds && AbortSignal.timeout(bounds.timeoutMs + wayMs);
    const body = JSON.stringify(statements.map(({ sql, params }) => [sql, ...params]));
    let lost: WarpError | undefined;
    for (let tried = 0; tried < this.#nodes.length; tried++) {
      const node = this.#nodes[this.#node];
      if (node === undefined) break;
      try {
        const signal = over ?? AbortSignal.timeout(requestMs);
        const response = await this.#fetch(node.url + path, node.authorization, body, signal);
        if (response.ok) return failIfRefused(JSON.parse(await textOf(response, bounds?.bytesMax)) as Answer);
        lost = unavailable(
          `${node.url} answered ${response.status}: ${(await response.text()).slice(0, 200)}`,
        );
      } catch (thrown) {
        if (thrown instanceof WarpError && thrown.code === "PROJECTION_FAILED") throw thrown;
        if (over?.aborted === true)
          throw new WarpError("TIMEOUT", `${node.url} did not answer in time`, {}, thrown);
        lost = unavailable(
          `${node.url}: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
          thrown,
        );
      }
      this.#node = (this.#node + 1) % this.#nodes.length;
    }
    throw lost ?? unavailable("no node is set");
  }

  async #fetch(
    url: string,
    authorization: string | undefined,
    body: string,
    signal: AbortSignal,
  ): Promise<Response> {
    return await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(authorization === undefined ? {} : { authorization }),
      },
      body,
      signal,
    });
  }
}

/** The body, but no more of it than `bytesMax`. */
async function textOf(response: Response, bytesMax = Number.POSITIVE_INFINITY): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes <= bytesMax) continue;
    const why = `the answer is longer than ${bytesMax} bytes: ask for less, or for fewer rows`;
    throw new WarpError("PROJECTION_FAILED", why, { limit: bytesMax });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function failIfRefused(answer: Answer): Answer {
  if (answer.error !== undefined) throw unavailable(answer.error);
  const index = answer.results?.findIndex(({ error }) => error !== undefined) ?? -1;
  const error = answer.results?.[index]?.error;
  if (error === undefined) return answer;
  throw new WarpError("PROJECTION_FAILED", `rqlite refused: ${error}`, { statement: index });
}

function unavailable(why: string, cause?: unknown): WarpError {
  return new WarpError("SINK_UNAVAILABLE", `rqlite cannot be used now: ${why}`, {}, cause);
}
