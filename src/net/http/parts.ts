/**
 * What the resources share: the engine and how to ask it, and the id in the path.
 */
import type { Logger } from "../../core/logger.ts";
import type { Answer, EnginePort } from "../engine-port.ts";
import type { SendResult } from "../protocol/outcomes.ts";
import { jsonResponse } from "./json.ts";
import type { HttpMetrics } from "./metrics.ts";
import { etagOf } from "./parameters.ts";
import { ProblemError, problemResponse } from "./problem.ts";

/** What the server as a whole is doing. */
export type ServerStatus = "ready" | "draining" | "failed";

export interface HttpParts {
  readonly engine: EnginePort;
  readonly status: () => ServerStatus;
  readonly metrics: HttpMetrics;
  readonly logger: Logger;
  /** Of one request … */
  readonly bodyBytesMax: number;
  /** … and of all together; `httpBodiesBytes` when absent. */
  readonly bodiesBytesMax?: number;
  /** How long a body may take to come; `httpBodyMs` when absent. */
  readonly bodyMs?: number;
}

/** One call of the engine as a promise. */
export function ask<Result>(call: (answer: Answer<Result>) => void): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  call({ resolve, reject });
  return promise;
}

export function notFound(entity: string): ProblemError {
  const detail = `the entity ${JSON.stringify(entity)} has no events`;
  return new ProblemError({ code: "NOT_FOUND", detail, more: { entity } });
}

/** The answer to a write. The tag is the entity's newest seq as far as the result tells it. */
export function writeResponse(result: SendResult): Response {
  if (result.ok) {
    // A repeat tells what the first call did; more may have been appended since, so it carries no tag.
    const headers: Record<string, string> = result.duplicate ? {} : { etag: etagOf(result.seq) };
    return jsonResponse(result, result.duplicate || result.count === 0 ? 200 : 201, headers);
  }
  const { seq } = result;
  const headers = { etag: etagOf(seq) };
  if (result.reason === "conflict") {
    const detail = `the entity is at seq ${seq}, which is not what was expected`;
    return problemResponse({ code: "CONFLICT", detail, more: { seq }, headers });
  }
  const { code, details, duplicate } = result;
  const detail = `the command was rejected: ${code}`;
  const more = { rejection: { code, details }, seq, duplicate };
  return problemResponse({ code: "REJECTED", detail, more, ...(duplicate ? {} : { headers }) });
}
