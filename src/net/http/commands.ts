/**
 * `/v1/entities/{id}/commands/{name}`: running a command; the body is its input.
 */
import type { Hono } from "hono";
import { type Bodies, readInput } from "./body.ts";
import { queryOf, writeOptionsOf } from "./parameters.ts";
import { ask, type HttpParts, writeResponse } from "./parts.ts";

export function addCommands(app: Hono, { engine }: HttpParts, bodies: Bodies): void {
  app.post("/v1/entities/:id/commands/:name", async (context) => {
    const request = context.req.raw;
    queryOf(request);
    const options = writeOptionsOf(request);
    const input = await readInput(request, bodies);
    const { id, name } = context.req.param();
    return writeResponse(await ask((answer) => engine.send(id, name, input, options, answer)));
  });
}
