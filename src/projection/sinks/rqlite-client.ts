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

  /** The results of SELECTs. `timeoutMs`: the server ends them. */
  async query(statements: readonly Statement[], timeoutMs?: number): Promise<readonly Answered[]> {
    const limit = timeoutMs === undefined ? "" : `&db_timeout=${timeoutMs}ms`;
    const { results = [] } = await this.#post(`/db/query?level=strong${limit}`, statements);
    return results.map(({ columns = [], values = [] }) => ({ columns, rows: values }));
  }

  /** Asks every node to take a snapshot, behind which it can forget its log. */
  async snapshot(): Promise<void> {
    for (const { url, authorization } of this.#nodes) {
      const response = await this.#fetch(`${url}/snapshot`, authorization, "");
      await response.body?.cancel();
    }
  }

  async #post(path: string, statements: readonly Statement[]): Promise<Answer> {
    const body = JSON.stringify(statements.map(({ sql, params }) => [sql, ...params]));
    let lost: WarpError | undefined;
    for (let tried = 0; tried < this.#nodes.length; tried++) {
      const node = this.#nodes[this.#node];
      if (node === undefined) break;
      try {
        const response = await this.#fetch(node.url + path, node.authorization, body);
        if (response.ok) return failIfRefused((await response.json()) as Answer);
        lost = unavailable(
          `${node.url} answered ${response.status}: ${(await response.text()).slice(0, 200)}`,
        );
      } catch (thrown) {
        if (thrown instanceof WarpError && thrown.code === "PROJECTION_FAILED") throw thrown;
        lost = unavailable(
          `${node.url}: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
          thrown,
        );
      }
      this.#node = (this.#node + 1) % this.#nodes.length;
    }
    throw lost ?? unavailable("no node is set");
  }

  async #fetch(url: string, authorization: string | undefined, body: string): Promise<Response> {
    return await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(authorization === undefined ? {} : { authorization }),
      },
      body,
      signal: AbortSignal.timeout(requestMs),
    });
  }
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
