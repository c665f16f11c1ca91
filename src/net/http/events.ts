/**
 * `/v1/entities/{id}/events`: appending, and reading history.
 */
import type { Hono } from "hono";
import type { EventsQuery } from "../protocol/outcomes.ts";
import { type Bodies, readEvents } from "./body.ts";
import { jsonTextResponse, toJson } from "./json.ts";
import { ndjsonResponse, wantsNdjson } from "./ndjson.ts";
import { takePage } from "./page.ts";
import { pageSize, queryOf, wholeNumber, writeOptionsOf } from "./parameters.ts";
import { ask, type HttpParts, notFound, writeResponse } from "./parts.ts";
import { badRequest } from "./problem.ts";

const pageUsual = 100;
const pageMax = 1000;
const path = "/v1/entities/:id/events";

export function addEvents(app: Hono, { engine }: HttpParts, bodies: Bodies): void {
  app.post(path, async (context) => {
    const request = context.req.raw;
    queryOf(request);
    const options = writeOptionsOf(request);
    const events = await readEvents(request, bodies);
    const id = context.req.param("id");
    return writeResponse(await ask((answer) => engine.append(id, events, options, answer)));
  });

  app.get(path, async (context) => {
    const request = context.req.raw;
    const id = context.req.param("id");
    const { limit, ...range } = queryOf(request, "from", "to", "limit", "direction");
    const query = rangeOf(range);
    if ((await ask<number>((answer) => engine.seq(id, answer))) === 0) throw notFound(id);
    if (wantsNdjson(request)) {
      const most = wholeNumber("limit", limit, 1);
      const all = most === undefined ? query : { ...query, limit: most };
      return await ndjsonResponse(engine.events(id, all, false));
    }
    const size = pageSize(limit, pageUsual, pageMax);
    // One more than the page has tells whether there is another page.
    const page = await takePage(engine.events(id, { ...query, limit: size + 1 }, false), size);
    const next = page.next === undefined ? "" : `,"next":${page.next.seq}`;
    return jsonTextResponse(`{"entity":${toJson(id)},"events":${page.text}${next}}`);
  });
}

function rangeOf(given: { from?: string; to?: string; direction?: string }): EventsQuery {
  const from = wholeNumber("from", given.from);
  const to = wholeNumber("to", given.to);
  const { direction = "forward" } = given;
  if (direction !== "forward" && direction !== "backward") {
    throw badRequest("direction is forward or backward");
  }
  return { direction, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}
