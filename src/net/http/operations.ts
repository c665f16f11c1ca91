/**
 * What operators and their tools ask: `/healthz`, `/readyz`, `/metrics`.
 */
import type { Hono } from "hono";
import { jsonResponse } from "./json.ts";
import type { HttpParts } from "./parts.ts";

export function addOperations(app: Hono, { status, metrics }: HttpParts): void {
  /** Alive: a failed engine needs a restart, a draining one does not. */
  app.get("/healthz", () => jsonResponse({ status: status() }, status() === "failed" ? 503 : 200));
  /** Takes work now. */
  app.get("/readyz", () => jsonResponse({ status: status() }, status() === "ready" ? 200 : 503));
  app.get("/metrics", async () => {
    const body = await metrics.registry.metrics();
    return new Response(body, { headers: { "content-type": metrics.registry.contentType } });
  });
}
