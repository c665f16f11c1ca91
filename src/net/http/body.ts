/**
 * The bodies of writes: JSON, or one JSON event a line, in UTF-8.
 *
 * Text that is not well-formed is refused, never repaired: something else would be stored than was sent.
 *
 * What bodies take is bounded, each and all together, and so is the time that one takes to come: a body counts from its first byte
 * until its request is answered, a short one from the beginning.
 *
 * JSON has to be declared. A page of another site can send a body without asking only as a form or as plain text, so
 * that rule also keeps such pages out.
 */
import type { NewEvent, Personal } from "../../core/event.ts";
import { readJson } from "../../core/exact-json.ts";
import { limits } from "../../core/limits.ts";
import { readStrictUtf8 } from "../../core/utf8.ts";
import { timeOf } from "./parameters.ts";
import type { HttpParts } from "./parts.ts";
import { badRequest, type Problem, ProblemError } from "./problem.ts";

const byteOrderMark = "\ufeff";

/** A body of a declared length up to this is read at once, which costs less. */
const shortBytes = 16 * 1024;

/** Of an answer to a body whose end cannot be waited for. A caller that is still sending may not see such an answer. */
const closing = { connection: "close" };

/** The bodies of the requests of one server. */
export class Bodies {
  readonly #one: number;
  readonly #all: number;
  readonly #ms: number;
  /** What each request that is under way has sent. */
  readonly #taken = new Map<Request, number>();
  #bytes = 0;

  constructor({
    bodyBytesMax,
    bodiesBytesMax = limits.httpBodiesBytes,
    bodyMs = limits.httpBodyMs,
  }: HttpParts) {
    this.#one = bodyBytesMax;
    this.#all = Math.max(bodiesBytesMax, bodyBytesMax);
    this.#ms = bodyMs;
  }

  /** The text of a request's body. Errors, as problems: BODY_TOO_LARGE, OVERLOADED, TIMEOUT, INVALID_ARGUMENT for what is no UTF-8. */
  async text(request: Request): Promise<string> {
    const bytes = await this.#read(request);
    const text = readStrictUtf8(bytes, 0, bytes.length);
    if (text === undefined) throw badRequest("the body is not well-formed UTF-8");
    return text.startsWith(byteOrderMark) ? text.slice(1) : text;
  }

  /** The request is answered. */
  done(request: Request): void {
    const taken = this.#taken.get(request);
    if (taken === undefined) return;
    this.#taken.delete(request);
    this.#bytes -= taken;
  }

  async #read(request: Request): Promise<Buffer> {
    const { body } = request;
    if (body === null) return Buffer.alloc(0);
    const declared = Number(request.headers.get("content-length") ?? Number.NaN);
    if (declared > this.#one) throw this.#tooLarge();
    try {
      if (!(declared <= shortBytes)) return await this.#readPieces(request, body);
      this.#take(request, declared);
      return await this.#readWhole(request);
    } catch (thrown) {
      if (thrown instanceof ProblemError) throw thrown;
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      throw badRequest(`the body did not come whole: ${why}`);
    }
  }

  async #readWhole(request: Request): Promise<Buffer> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(this.#tooLate()), this.#ms);
    try {
      return Buffer.from(await Promise.race([request.arrayBuffer(), late.promise]));
    } finally {
      clearTimeout(timer);
    }
  }

  async #readPieces(request: Request, body: ReadableStream<Uint8Array>): Promise<Buffer> {
    const reader = body.getReader();
    // What it still sends is not kept; whoever waits for it hears of the end.
    const cancel = () => void reader.cancel().catch(() => {});
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      cancel();
    }, this.#ms);
    let read = Buffer.alloc(0);
    let length = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (isLate) throw this.#tooLate();
        if (done) return read.subarray(0, length);
        this.#take(request, value.length);
        // Pieces may be as small as the peer likes, and are not kept as they are.
        if (length + value.length > read.length) read = grown(read, length + value.length);
        read.set(value, length);
        length += value.length;
      }
    } catch (thrown) {
      cancel();
      throw thrown;
    } finally {
      clearTimeout(timer);
    }
  }

  #take(request: Request, bytes: number): void {
    const taken = (this.#taken.get(request) ?? 0) + bytes;
    if (taken > this.#one) throw this.#tooLarge(closing);
    if (this.#bytes + bytes > this.#all) {
      const detail = "the bodies of all requests together take too much: try again";
      throw new ProblemError({ code: "OVERLOADED", detail, more: { limit: "httpBodiesBytes" } });
    }
    this.#taken.set(request, taken);
    this.#bytes += bytes;
  }

  #tooLarge(headers: Problem["headers"] = {}): ProblemError {
    const limit = this.#one;
    const detail = `a body has at most ${limit} bytes`;
    return new ProblemError({ code: "BODY_TOO_LARGE", detail, more: { limit }, headers });
  }

  #tooLate(): ProblemError {
    const detail = `the body did not come within ${this.#ms} ms`;
    return new ProblemError({ code: "TIMEOUT", detail, headers: closing });
  }
}

function grown(bytes: Buffer, least: number): Buffer<ArrayBuffer> {
  const larger = Buffer.alloc(Math.max(least, 2 * bytes.length, 4 * shortBytes));
  larger.set(bytes);
  return larger;
}

/** One event, `{ "events": [...] }`, or a line for each. */
export async function readEvents(request: Request, bodies: Bodies): Promise<NewEvent[]> {
  if (mediaTypeOf(request) === "ndjson") {
    const lines = (await bodies.text(request)).split("\n").filter((line) => line.trim() !== "");
    return lines.map((line, i) => toEvent(parseJson(line, `line ${i + 1}`, invalidEvent), `line ${i + 1}`));
  }
  const body = parseJson(await bodies.text(request), "the body", invalidEvent);
  if (!isRecord(body)) throw badRequest('the body is an event, or {"events": [...]}');
  if (!("events" in body)) return [toEvent(body, "the body")];
  const { events, ...others } = body;
  if (!Array.isArray(events) || Object.keys(others).length > 0) {
    throw badRequest('a batch is {"events": [...]} and nothing else');
  }
  return events.map((event, i) => toEvent(event, `events[${i}]`));
}

/** Any JSON value; undefined without a body. */
export async function readInput(request: Request, bodies: Bodies): Promise<unknown> {
  const text = await bodies.text(request);
  if (text === "") return undefined;
  if (mediaTypeOf(request) !== "json") throw unsupported("application/json");
  return parseJson(text, "the body", badRequest);
}

function toEvent(value: unknown, where: string): NewEvent {
  if (!isRecord(value) || typeof value.type !== "string") {
    throw invalidEvent(`${where} is no event: {"type": "…", "data": …}`);
  }
  const { type, data = null, occurredAt, personal, ...others } = value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalidEvent(`${where} has a field ${JSON.stringify(unknown)}`);
  const event =
    personal === undefined ? { type, data } : { type, data, personal: toPersonal(personal, where) };
  if (occurredAt === undefined || occurredAt === null) return event;
  if (typeof occurredAt !== "number" && typeof occurredAt !== "string") {
    throw invalidEvent(`occurredAt of ${where} is ms since 1970 or a time such as "2026-11-22T16:00:00Z"`);
  }
  const time = typeof occurredAt === "number" ? occurredAt : timeOf(`occurredAt of ${where}`, occurredAt);
  return { ...event, occurredAt: time };
}

function toPersonal(value: unknown, where: string): Personal {
  if (
    isRecord(value) &&
    typeof value.subject === "string" &&
    Object.keys(value).length === 2 &&
    "data" in value
  )
    return { subject: value.subject, data: value.data };
  throw invalidEvent(`personal of ${where} is {"subject": "…", "data": …}`);
}

const utf8Names: ReadonlySet<string> = new Set(["utf-8", "utf8", '"utf-8"', '"utf8"']);

function mediaTypeOf(request: Request): "json" | "ndjson" {
  const [type = "", ...parameters] = (request.headers.get("content-type") ?? "").toLowerCase().split(";");
  for (const parameter of parameters) {
    const [name = "", ...rest] = parameter.split("=");
    const charset = rest.join("=").trim();
    if (name.trim() === "charset" && !utf8Names.has(charset))
      throw unsupported("application/json or application/x-ndjson, in UTF-8");
  }
  const given = type.trim();
  if (given === "application/json" || /^application\/[\w.-]+\+json$/.test(given)) return "json";
  if (given === "application/x-ndjson" || given === "application/ndjson") return "ndjson";
  throw unsupported("application/json or application/x-ndjson");
}

/** `refused` is the answer to a value that could not be kept as it is written. */
function parseJson(text: string, where: string, refused: (detail: string) => ProblemError): unknown {
  const read = readJson(text);
  if (read.problem === undefined) return read.value;
  throw (read.isJson ? refused : badRequest)(`${where} ${read.problem}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalidEvent(detail: string): ProblemError {
  return new ProblemError({ code: "INVALID_EVENT", detail });
}

function unsupported(wanted: string): ProblemError {
  return new ProblemError({ code: "UNSUPPORTED_MEDIA_TYPE", detail: `Content-Type has to be ${wanted}` });
}
