/**
 * The HTTP interface as a whole: what holds for every request, and the list of resources.
 *
 * - Every failure is a problem document; a bug is logged and says nothing of its insides.
 * - The id in a path is percent-encoded UTF-8; what does not decode is refused, since two ids must never become one.
 * - A page of another site cannot write: its browser names the site, and that is refused.
 * - A server for this machine alone answers only who calls it by a name of this machine. The name of another site may be made to stand
 *   for this machine's address, and to a browser its pages are then of the same site as this server.
 * - While the server drains, no new work is taken.
 */
import { Hono } from "hono";
import { routePath } from "hono/route";
import { Bodies } from "./body.ts";
import { addCommands } from "./commands.ts";
import { addEntities } from "./entities.ts";
import { addEntity } from "./entity.ts";
import { addEvents } from "./events.ts";
import { addOperations } from "./operations.ts";
import type { HttpParts } from "./parts.ts";
import { badRequest, ProblemError, problemOf, problemResponse } from "./problem.ts";

const reading: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** `host` is where the server listens, `names` how it may be called besides. */
export function createApp(parts: HttpParts, host: string, names: readonly string[]): Hono {
  const app = new Hono();
  const ownNames = isLoopback(host) ? new Set([...loopbackNames, nameOf(host), ...names]) : undefined;
  const { metrics, logger, status } = parts;
  const bodies = new Bodies(parts);

  app.use(async (context, next) => {
    const startedAt = performance.now();
    await next();
    const seconds = (performance.now() - startedAt) / 1000;
    metrics.observe(methodOf(context.req.method), routePath(context, -1), context.res.status, seconds);
  });
  app.use("/v1/*", async (context, next) => {
    const request = context.req.raw;
    if (ownNames !== undefined) requireOwnName(request, ownNames);
    requireDecodable(request.url);
    if (!reading.has(request.method)) requireOwnOrigin(request);
    const now = status();
    if (now === "failed")
      throw new ProblemError({
        code: "ENGINE_FAILED",
        detail: "the engine has failed, and has to be restarted",
      });
    if (now !== "ready") throw new ProblemError({ code: "CLOSED", detail: `this server is ${now}` });
    try {
      await next();
    } finally {
      bodies.done(request);
    }
  });

  addOperations(app, parts);
  addEntities(app, parts);
  addEntity(app, parts);
  addEvents(app, parts, bodies);
  addCommands(app, parts, bodies);

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
    decodeURIComponent(url);
  } catch {
    throw badRequest("the path, or the query, is not percent-encoded UTF-8");
  }
}

const loopbackNames = ["localhost", "127.0.0.1", "[::1]"];

function isLoopback(host: string): boolean {
  const name = nameOf(host);
  return loopbackNames.includes(name) || /^127\.\d+\.\d+\.\d+$/.test(name);
}

/** As it stands in the header Host. */
function nameOf(host: string): string {
  return (host.includes(":") && !host.startsWith("[") ? `[${host}]` : host).toLowerCase();
}

/** Any port: it may have been forwarded from another. Only programs of old name no host. */
function requireOwnName(request: Request, names: ReadonlySet<string>): void {
  const host = request.headers.get("host");
  if (host === null || names.has(host.toLowerCase().replace(/:\d*$/, ""))) return;
  throw new ProblemError({
    code: "FOREIGN_ORIGIN",
    detail: "this server is for this machine alone: call it localhost, or tell it the name (http-names)",
    more: { host },
  });
}

/** Programs send no Origin; a browser sends that of the page. */
function requireOwnOrigin(request: Request): void {
  const origin = request.headers.get("origin");
  if (origin === null) return;
  const host = request.headers.get("host");
  if (host !== null && URL.canParse(origin) && new URL(origin).host === host.toLowerCase()) return;
  throw new ProblemError({
    code: "FOREIGN_ORIGIN",
    detail: "pages of other sites cannot write here",
    more: { origin },
  });
}
