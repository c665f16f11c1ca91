/**
 * The HTTP interface, as a program without any library would use it.
 */
import { Failure, type FrontEnd, type Guard, linesOf, type Stored } from "./front-end.ts";

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the driver takes apart what the suite then looks at.
  readonly body: any;
}

export function openHttp(url: string): FrontEnd {
  const path = (entity: string) => `/v1/entities/${encodeURIComponent(entity)}`;
  const call = async (method: string, where: string, body?: unknown, headers = {}): Promise<Answer> => {
    const response = await fetch(`${url}${where}`, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };
  const write = async (where: string, body: unknown, guard: Guard | undefined) =>
    outcomeOf(await call("POST", where, body, headersOf(guard)));
  return {
    name: "http",
    // Whatever parses a URL takes these out of it before it is sent.
    unspeakable: new Set([".", ".."]),
    append: (entity, events, guard) =>
      write(`${path(entity)}/events`, events.length === 1 ? events[0] : { events }, guard),
    send: (entity, command, input, guard) =>
      write(`${path(entity)}/commands/${encodeURIComponent(command)}`, input, guard),
    async seq(entity) {
      const { status, body } = await call("GET", path(entity));
      return status === 404 ? 0 : found({ status, body }).seq;
    },
    async state(entity, aggregate, at) {
      const query = new URLSearchParams(aggregate === undefined ? {} : { aggregate });
      if (at !== undefined && "seq" in at) query.set("at", String(at.seq));
      if (at !== undefined && "recorded" in at) query.set("at", new Date(at.recorded).toISOString());
      if (at !== undefined && "occurred" in at) query.set("occurred", String(at.occurred));
      const answer = await call("GET", `${path(entity)}?${query}`);
      return answer.body.code === "NOT_FOUND" ? undefined : found(answer).state;
    },
    async events(entity, range = {}) {
      const events: Stored[] = [];
      const edge = range.direction === "backward" ? "to" : "from";
      let next: number | undefined;
      do {
        const left = range.limit === undefined ? 3 : Math.min(3, range.limit - events.length);
        const query = queryOf({ ...range, limit: left, ...(next === undefined ? {} : { [edge]: next }) });
        const answer = await call("GET", `${path(entity)}/events?${query}`);
        if (answer.body.code === "NOT_FOUND") return [];
        events.push(...found(answer).events);
        next = answer.body.next;
      } while (next !== undefined && events.length !== range.limit);
      return events;
    },
    async entities(query) {
      return found(await call("GET", `/v1/entities?${queryOf(query)}`)).entities;
    },
    async export(entity) {
      const response = await fetch(`${url}${path(entity)}/export`);
      const text = await response.text();
      if (!response.ok) throw new Failure(String(JSON.parse(text).code));
      return linesOf(text);
    },
    delete: async (entity, options = {}) =>
      found(await call("DELETE", `${path(entity)}?${queryOf(options)}`)) as Record<string, unknown>,
    deletePlan: async (entity) =>
      found(await call("DELETE", `${path(entity)}?dryRun=true`)) as Record<string, unknown>,
    hold: async (entity, reason) =>
      found(await call("PUT", `${path(entity)}/hold?${queryOf({ reason })}`)).hold,
    async releaseHold(entity) {
      found(await call("DELETE", `${path(entity)}/hold`));
    },
    close: async () => undefined,
  };
}

function queryOf(values: Readonly<Record<string, string | number | undefined>>): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  return query;
}

function headersOf({ expect, key }: Guard = {}): Record<string, string> {
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  if (expect === "none") headers["if-none-match"] = "*";
  if (expect === "exists") headers["if-match"] = "*";
  if (typeof expect === "number") headers["if-match"] = `"${expect}"`;
  return headers;
}

/** The outcome as the library returns it. */
function outcomeOf({ status, body }: Answer): Record<string, unknown> {
  const { code, seq, rejection, duplicate } = body;
  if (code === "CONFLICT") return { ok: false, reason: "conflict", seq };
  if (code === "REJECTED") return { ok: false, reason: "rejected", seq, duplicate, ...rejection };
  return found({ status, body });
}

function found({ status, body }: Answer): Answer["body"] {
  if (status >= 400) throw new Failure(body.code);
  return body;
}
