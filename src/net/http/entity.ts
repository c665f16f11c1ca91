/**
 * `/v1/entities/{id}`: the state of an entity, now or at a moment of its history.
 */
import type { Hono } from "hono";
import type { StateAt } from "../protocol/outcomes.ts";
import { jsonResponse } from "./json.ts";
import { etagOf, momentOf, queryOf } from "./parameters.ts";
import { ask, type HttpParts, notFound } from "./parts.ts";

export function addEntity(app: Hono, { engine }: HttpParts): void {
  app.get("/v1/entities/:id", async (context) => {
    const id = context.req.param("id");
    const { at, occurred, aggregate } = queryOf(context.req.raw, "at", "occurred", "aggregate");
    const moment = momentOf(at, occurred);
    const newest = await ask<number>((answer) => engine.seq(id, answer));
    if (newest === 0) throw notFound(id);
    const found = await ask<StateAt>((answer) => engine.state(id, aggregate, moment, answer));
    const name = aggregate ?? engine.aggregates[0];
    const shown = { entity: id, ...(name === undefined ? {} : { aggregate: name }) };
    // The state of the past carries no tag: the next write is not compared with it.
    if (moment !== undefined) return jsonResponse({ ...shown, at: moment, state: found.state });
    const seq = found.seq ?? newest;
    return jsonResponse({ ...shown, seq, state: found.state }, 200, { etag: etagOf(seq) });
  });
}
