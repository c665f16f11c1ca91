/**
 * The HTTP interface as a whole: what holds for every request, and the list of resources.
 *
 * - Every failure is a problem document; a bug is logged and says nothing of its insides.
 * - The id in a path is percent-encoded UTF-8; what does not decode is refused, since two ids must never become one.
 * - A page of another site cannot write: its browser names the site, and that is refused.
 * - While the server drains, no new work is taken.
 */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { routePath } from "hono/route";
import { addCommands } from "./commands.ts";
import { addEntities } from "./entities.ts";
import { addEntity } from "./entity.ts";
import { addEvents } from "./events.ts";
import { addOperations } from "./operations.ts";
import type { HttpParts } from "./parts.ts";
import { badRequest, ProblemError, problemOf, problemResponse } from "./problem.ts";

const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

export function createApp(parts: HttpParts): Hono {
  const app = new Hono();
  const { metrics, logger, status, bodyBytesMax } = parts;

  app.use(async (context, next) => {
    const startedAt = performance.now();
    await next();
    const seconds = (performance.now() - startedAt) / 1000;
    metrics.observe(methodOf(context.req.method), routePath(context, -1), context.res.status, seconds);
  });
  app.use("/v1/*", async (context, next) => {
    const request = context.req.raw;
    requireDecodable(request.url);
    if (!reading.has(request.method)) requireOwnOrigin(request);
    if (status() !== "ready") {
      throw new ProblemError({ code: "CLOSED", detail: `this server is ${status()}` });
    }
    await next();
  });
  const onError = () => {
    throw new ProblemError({
      code: "BODY_TOO_LARGE",
      detail: `a body has at most ${bodyBytesMax} bytes`,
      more: { limit: bodyBytesMax },
    });
  };
  app.use("/v1/*", bodyLimit({ maxSize: bodyBytesMax, onError }));

  addOperations(app, parts);
  addEntities(app, parts);
  addEntity(app, parts);
  addEvents(app, parts);
  addCommands(app, parts);

  app.notFound((context) =>
    problemResponse({
      code: "NOT_FOUND",
      detail: `there is nothing to ${context.req.method} at ${context.req.path}`,
    }),
  );
  app.onError((thrown, context) => {
    const problem = problemOf(thrown);
    if (problem !== undefined) return problemResponse(problem);
    logger.error("a request failed in an unexpected way", {
      method: context.req.method,
      route: routePath(context, -1),
      error: thrown.stack ?? String(thrown),
    });
    return problemResponse({ code: "INTERNAL", detail: "this is a bug; the log of the server has more" });
  });
  return app;
}

/** Methods are a closed list in a label; anybody can invent more. */
function methodOf(method: string): string {
  return reading.has(method) || /^(?:POST|PUT|PATCH|DELETE)$/.test(method) ? method : "other";
}

function requireDecodable(url: string): void {
  try {
    decodeURIComponent(/^[^?#]*/.exec(url)?.[0] ?? "");
  } catch {
    throw badRequest("the path is not percent-encoded UTF-8");
  }
}

/** Programs send no Origin; a browser sends that of the page. */
function requireOwnOrigin(request: Request): void {
  const origin = request.headers.get("origin");
  if (origin === null) return;
  const host = request.headers.get("host");
  if (host !== null && URL.canParse(origin) && new URL(origin).host === host) return;
  throw new ProblemError({
    code: "FOREIGN_ORIGIN",
    detail: "pages of other sites cannot write here",
    more: { origin },
  });
}
