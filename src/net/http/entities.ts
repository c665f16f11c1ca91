/**
 * `/v1/entities`: the ids of the context, in the byte order of their UTF-8.
 */
import type { Hono } from "hono";
import { jsonTextResponse, toJson } from "./json.ts";
import { ndjsonResponse, wantsNdjson } from "./ndjson.ts";
import { takePage } from "./page.ts";
import { pageSize, queryOf, wholeNumber } from "./parameters.ts";
import type { HttpParts } from "./parts.ts";

const pageUsual = 100;
const pageMax = 1000;

export function addEntities(app: Hono, { engine }: HttpParts): void {
  app.get("/v1/entities", async (context) => {
    const request = context.req.raw;
    const { limit, ...query } = queryOf(request, "prefix", "after", "limit");
    if (wantsNdjson(request)) {
      const most = wholeNumber("limit", limit, 1);
      return await ndjsonResponse(engine.entities(most === undefined ? query : { ...query, limit: most }));
    }
    const size = pageSize(limit, pageUsual, pageMax);
    const page = await takePage(engine.entities({ ...query, limit: size + 1 }), size);
    const next = page.next === undefined ? "" : `,"next":${toJson(page.last?.id)}`;
    return jsonTextResponse(`{"entities":${page.text}${next}}`);
  });
}
