/**
 * `/v1/entities/{id}`: the state of an entity, now or at a moment of its history; all that is held of it
 * (`/export`), what keeps it from being erased (`/hold`), and its erasure.
 */
import type { Hono } from "hono";
import type { StateAt } from "../protocol/outcomes.ts";
import { jsonResponse } from "./json.ts";
import { textResponse } from "./ndjson.ts";
import { etagOf, momentOf, queryOf, requireUnconditional, timeOf } from "./parameters.ts";
import { ask, type HttpParts, notFound } from "./parts.ts";
import { badRequest } from "./problem.ts";

export function addEntity(app: Hono, { engine }: HttpParts): void {
  const isSpokenOf = async (id: string): Promise<boolean> => {
    const plan: { readonly personal?: { readonly parts?: number } } = await engine.delete(id, {
      dryRun: true,
    });
    return (plan.personal?.parts ?? 0) > 0;
  };

  app.get("/v1/entities/:id", async (context) => {
    const id = context.req.param("id");
    const { at, occurred, aggregate } = queryOf(context.req.raw, "at", "occurred", "aggregate");
    const moment = momentOf(at, occurred);
    const newest = await ask<number>((answer) => engine.seq(id, answer));
    if (newest === 0) throw notFound(id);
    if (moment !== undefined && "seq" in moment && moment.seq > newest)
      throw badRequest(`the entity is at seq ${newest}; digits alone are a seq`);
    const found = await ask<StateAt>((answer) => engine.state(id, aggregate, moment, answer));
    const name = aggregate ?? engine.aggregates[0];
    const shown = { entity: id, ...(name === undefined ? {} : { aggregate: name }) };
    // The state of the past carries no tag: the next write is not compared with it.
    if (moment !== undefined) return jsonResponse({ ...shown, at: moment, state: found.state });
    const seq = found.seq ?? newest;
    return jsonResponse({ ...shown, seq, state: found.state }, 200, { etag: etagOf(seq) });
  });

  app.get("/v1/entities/:id/export", async (context) => {
    const id = context.req.param("id");
    queryOf(context.req.raw);
    const isEntity = (await ask<number>((answer) => engine.seq(id, answer))) > 0;
    if (!isEntity && !(await isSpokenOf(id))) throw notFound(id);
    return await textResponse(engine.export(id));
  });

  app.delete("/v1/entities/:id", async (context) => {
    requireUnconditional(context.req.raw);
    const id = context.req.param("id");
    const { dryRun, ...options } = queryOf(context.req.raw, "reason", "by", "dryRun");
    if (dryRun !== undefined && dryRun !== "true" && dryRun !== "false")
      throw badRequest("dryRun is true or false");
    const isPlan = dryRun === "true";
    const answer = await engine.delete(id, { ...options, dryRun: isPlan });
    if ("status" in answer && answer.status === "nothing") throw notFound(id);
    return jsonResponse(answer, "status" in answer && answer.status === "pending" ? 202 : 200);
  });

  const hold = "/v1/entities/:id/hold";
  app.get(hold, async (context) => {
    queryOf(context.req.raw);
    return jsonResponse({ hold: await engine.hold(context.req.param("id"), "get", {}) });
  });
  app.put(hold, async (context) => {
    requireUnconditional(context.req.raw);
    const { until, ...texts } = queryOf(context.req.raw, "reason", "by", "until");
    const end = until === undefined ? {} : { until: timeOf("until", until) };
    return jsonResponse({ hold: await engine.hold(context.req.param("id"), "set", { ...texts, ...end }) });
  });
  app.delete(hold, async (context) => {
    requireUnconditional(context.req.raw);
    queryOf(context.req.raw);
    return jsonResponse({ hold: await engine.hold(context.req.param("id"), "release", {}) });
  });
}
