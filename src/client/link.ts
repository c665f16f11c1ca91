/**
 * The client's one connection: packs the requests of a turn into one write, and keeps the connection alive.
 *
 * - A request stays until it is answered, abandoned or too old. After a reconnect everything unanswered is sent again, but for
 *   what was sent and may only happen once ({@link Effect}): that ends with the connection.
 * - Not more is sent than the server says it reads, nor while the socket's buffer is full.
 * - Of a long arrival a part is answered, and what those callers ask next is sent before the rest: both sides then work.
 */
import { toWarpError, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { Promised } from "../core/promised.ts";
import type { FrameReader } from "../net/protocol/frame-reader.ts";
import { FrameWriter } from "../net/protocol/frame-writer.ts";
import { readOutcomes } from "../net/protocol/grouped/outcomes.ts";
import type { Appended, AppendResult } from "../net/protocol/outcomes.ts";
import { readError, readWelcome, type Welcome } from "../net/protocol/replies.ts";
import { writeHello, writePing } from "../net/protocol/requests.ts";
import { frameKind, operation } from "../net/protocol/words.ts";
import { Arrival } from "./arrival.ts";
import { Backoff } from "./backoff.ts";
import { aborted, answeredWith, cutOff, noConnection, refused, tooLate, unreadable } from "./failures.ts";
import { Heartbeat } from "./heartbeat.ts";
import { readResult } from "./result.ts";
import type { Numberable } from "./sending/entity-numbers.ts";
import { Outbox } from "./sending/outbox.ts";
import type { CallOptions, Effect, Request, WriteRequest } from "./sending/requests.ts";
import { type ResolvedConnect, requireTimeout } from "./settings.ts";
import { type ClientSocket, dial } from "./socket/client-socket.ts";
import { Receivers } from "./subscription/receivers.ts";
import { beginSweeping, endSweeping } from "./sweeper.ts";

type Phase = "connecting" | "greeting" | "ready" | "waiting" | "closed";

/**
 * So much of what callers ask, and a quarter of all requests, is sent before all answers of an arrival are given out.
 * Less would cost more in wake-ups and system calls than it gains.
 */
const sendBytesMin = 8 * 1024;
/** A server that says so will say it again. */
const finalCodes: ReadonlySet<string> = new Set(["UNAUTHORIZED", "CONFIG_MISMATCH", "UNSUPPORTED"]);

export class Link {
  readonly #settings: ResolvedConnect;
  readonly #outbox = new Outbox();
  readonly #requests = this.#outbox.requests;
  readonly #arrival = new Arrival({
    onFrame: (reader, bytes) => this.#take(reader, bytes),
    onStep: () => {
      const { next, sent, count } = this.#requests;
      if (this.#outbox.unsentBytes >= sendBytesMin && (next - sent) * 4 >= count) this.#send();
    },
    onEnd: () => {
      if (this.#requests.sent < this.#requests.next) this.#send();
    },
    onBroken: (thrown) => {
      if (this.#socket !== undefined) this.#drop(this.#socket, toWarpError(thrown, "PROTOCOL_ERROR"));
    },
  });
  #socket: ClientSocket | undefined;
  #phase: Phase = "waiting";
  #isFlushing = false;
  #isFull = false;
  #now = 0;
  readonly #heartbeat = new Heartbeat();
  readonly #backoff = new Backoff();
  #failure: WarpError | undefined;
  /** Why there is no connection. */
  #lost: WarpError | undefined;
  #welcome: Welcome | undefined;
  readonly receivers = new Receivers();
  #onReady: (() => void) | undefined;
  #onFailed: ((error: WarpError) => void) | undefined;
  #closing: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  constructor(settings: ResolvedConnect) {
    this.#settings = settings;
    beginSweeping(this.#sweep);
  }

  /** What the server said of itself; undefined before the first connection. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  /** How long a call waits that does not say. */
  get timeoutMs(): number {
    return this.#settings.timeoutMs;
  }

  get isConnected(): boolean {
    return this.#phase === "ready";
  }

  /** Why calls are not taken any more: for good, unlike anything that a server says. */
  get failure(): WarpError | undefined {
    return this.#failure;
  }

  /** Sends a frame that has no answer, if there is a connection now; returns whether there is. */
  post(write: (writer: FrameWriter) => void): boolean {
    const socket = this.#socket;
    if (this.#phase !== "ready" || socket === undefined) return false;
    const writer = new FrameWriter(64);
    write(writer);
    this.#isFull = !socket.write(writer.buffer, 0, writer.at) || this.#isFull;
    return true;
  }

  /** Resolves with the first connection. Errors: DISCONNECTED in time, UNAUTHORIZED, CONFIG_MISMATCH, UNSUPPORTED. */
  async open(): Promise<void> {
    const { connectTimeoutMs } = this.#settings;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(noConnection(connectTimeoutMs, this.#lost));
      }, connectTimeoutMs);
      this.#onReady = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#onFailed = (error) => {
        clearTimeout(timer);
        reject(error);
      };
      this.#dial();
    });
    this.#onReady = undefined;
    this.#onFailed = undefined;
  }

  /** Sends what `write` encodes, about `dataBytes` and a little. The id of `entity` is what replies of pages leave out. */
  request<Result>(
    op: number,
    entity: string | Numberable,
    call: CallOptions | undefined,
    write: WriteRequest,
    dataBytes = 0,
    effect: Effect = "none",
  ): Promise<Result> {
    const answer = new Promised<Result>();
    try {
      const deadline = this.#admit(call);
      const request = this.#outbox.add(op, entity, write, dataBytes, answer, this.#now, deadline);
      request.effect = effect;
      if (call?.signal !== undefined) this.#watch(request, call.signal);
      this.#flushLater();
    } catch (thrown) {
      answer.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
    }
    return answer.promise;
  }

  /** Sends an append of one event, whose data is in `text` as JSON of a list. */
  append(entity: Numberable, type: string, text: string): Promise<AppendResult> {
    const answer = new Promised<AppendResult>();
    try {
      const deadline = this.#admit(undefined);
      this.#outbox.addAppend(entity, type, text, answer, this.#now, deadline);
      this.#flushLater();
    } catch (thrown) {
      answer.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
    }
    return answer.promise;
  }

  /** Takes nothing more, waits for what is unanswered, and closes. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#failure === undefined) this.receivers.closing();
    this.#failure ??= new WarpError("CLOSED", "this client is closed");
    this.receivers.failed(this.#failure);
    if (this.#requests.count > 0 && this.#phase !== "closed") {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    this.#end();
  }

  /** Lets a call in; returns its deadline. */
  #admit(call: CallOptions | undefined): number {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#requests.count >= limits.clientRequestsMax) {
      throw new WarpError("OVERLOADED", "too many requests wait for the server", {
        limit: "clientRequestsMax",
      });
    }
    if (call?.signal?.aborted === true) throw aborted(call.signal);
    // Time is taken once a turn: a call of a clock costs as much as a good part of the encoding.
    if (!this.#isFlushing) this.#now = performance.now();
    return (
      this.#now + (call?.timeoutMs === undefined ? this.#settings.timeoutMs : requireTimeout(call.timeoutMs))
    );
  }

  #flushLater(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(this.#flush);
  }

  #watch(request: Request, signal: AbortSignal): void {
    const onAbort = (): void => this.#settle(request, aborted(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    request.unwatch = () => signal.removeEventListener("abort", onAbort);
  }

  readonly #flush = (): void => {
    this.#isFlushing = false;
    if (!this.#arrival.isUnderWay) this.#send();
  };

  #send(): void {
    const socket = this.#socket;
    const welcome = this.#welcome;
    if (this.#phase !== "ready" || socket === undefined || welcome === undefined || this.#isFull) return;
    this.#isFull = !this.#outbox.send(socket, welcome);
  }

  #dial(): void {
    this.#phase = "connecting";
    this.#isFull = false;
    this.#heartbeat.heard();
    const { host, port } = this.#settings;
    const socket = dial(host, port, {
      onOpen: () => this.#greet(socket),
      onData: (chunk) => {
        this.#heartbeat.heard();
        this.#arrival.push(chunk);
      },
      onDrain: () => {
        this.#isFull = false;
        this.#send();
      },
      onClosed: (why) => this.#drop(socket, why),
    });
    this.#socket = socket;
  }

  #greet(socket: ClientSocket): void {
    this.#phase = "greeting";
    const { token, name } = this.#settings;
    const writer = new FrameWriter(256);
    // A client that found its context stays with it.
    writeHello(writer, 1, { context: this.#settings.context ?? this.#welcome?.context, token, client: name });
    socket.write(writer.buffer, 0, writer.at);
  }

  /** Takes a frame; returns how many requests it answers, or 1. */
  #take(reader: FrameReader, bytes: number): number {
    const kind = reader.whole();
    if (kind === frameKind.outcomes) return readOutcomes(reader, this.#takeOutcome);
    const id = reader.whole();
    if (kind === frameKind.error && id === 0) {
      this.#refused(readError(reader));
    } else if (this.#phase === "greeting") {
      this.#welcomed(readWelcome(reader));
    } else if (kind === frameKind.reply || kind === frameKind.error) {
      const request = this.#requests.ofId(id);
      if (request !== undefined) this.#takeReply(request, kind, reader);
    } else if (kind === frameKind.push) {
      this.receivers.push(id, reader, bytes);
    }
    return 1;
  }

  #takeReply(request: Request, kind: number, reader: FrameReader): void {
    let result: unknown;
    let error: WarpError | undefined;
    try {
      if (kind === frameKind.error) error = answeredWith(request, readError(reader));
      else result = readResult(request, reader);
    } catch (thrown) {
      // It would be answered so again; the frames behind it are where they would be.
      error = refused(request, unreadable("the reply", thrown));
    }
    if (error === undefined) this.#answer(request, result);
    else this.#refuse(request, error);
  }

  readonly #takeOutcome = (id: number, outcome: Appended): void => {
    const request = this.#requests.ofId(id);
    if (request !== undefined) this.#answer(request, outcome);
  };

  #answer(request: Request, result: unknown): void {
    this.#outbox.answered(request);
    request.answer.resolve(result as never);
    if (this.#requests.count === 0) this.#onIdle?.();
  }

  #refuse(request: Request, error: WarpError): void {
    this.#outbox.refused(request, error, performance.now());
    request.answer.reject(error);
    if (this.#requests.count === 0) this.#onIdle?.();
  }

  /** Ends a request that was not answered. */
  #settle(request: Request, error: WarpError): void {
    this.#outbox.giveUp(request);
    request.answer.reject(error);
    if (this.#requests.count === 0) this.#onIdle?.();
  }

  #welcomed(welcome: Welcome): void {
    this.#phase = "ready";
    this.#welcome = welcome;
    this.#backoff.reset();
    this.#lost = undefined;
    this.#outbox.begin(welcome, performance.now());
    this.#settings.onConnection("connected", `${this.#settings.host}:${this.#settings.port}`);
    this.#onReady?.();
    this.#send();
  }

  /** The server says what is wrong with the connection before it closes it. */
  #refused(error: WarpError): void {
    if (finalCodes.has(error.code)) {
      this.#fail(error);
      return;
    }
    // One of the requests broke the protocol; sent again they would only break the next connection.
    if (error.code === "PROTOCOL_ERROR") {
      for (const request of this.#requests)
        if (request.wasSent) this.#settle(request, refused(request, error));
    }
    const socket = this.#socket;
    if (socket !== undefined) this.#drop(socket, error);
  }

  /** Gives up a connection and dials again later. */
  #drop(socket: ClientSocket, why: WarpError): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    this.#arrival.drop();
    socket.destroy();
    if (this.#phase === "closed") return;
    const wasReady = this.#phase === "ready";
    this.#phase = "waiting";
    this.#lost = why;
    // Before what is done with the requests: whatever becomes of that, there will be another connection.
    this.#backoff.wait(() => this.#dial());
    for (const request of this.#requests)
      if (request.wasSent && request.effect === "once") this.#settle(request, cutOff(why));
    this.#outbox.end();
    // Who hears of it may close the client, which then ends for good.
    if (wasReady) this.#settings.onConnection("lost", why.message);
    this.receivers.lost(why);
  }

  #fail(error: WarpError): void {
    this.#failure = error;
    this.receivers.failed(error);
    for (const request of this.#requests)
      this.#settle(request, request.wasSent ? refused(request, error) : error);
    this.#end();
    this.#onFailed?.(error);
  }

  #end(): void {
    this.#phase = "closed";
    endSweeping(this.#sweep);
    this.#backoff.cancel();
    this.#socket?.end();
    this.#arrival.drop();
    this.#socket = undefined;
  }

  /** Ends what is too old, and finds out connections that are dead although they are open. */
  readonly #sweep = (): void => {
    const now = performance.now();
    this.#now = now;
    const isReady = this.#phase === "ready";
    for (const request of this.#requests) {
      if (request.deadline <= now) this.#settle(request, tooLate(request, isReady, this.#lost));
    }
    const socket = this.#socket;
    if (socket === undefined) return;
    if (this.#heartbeat.isDead(now)) {
      const silentMs = Math.round(this.#heartbeat.silentMs(now));
      this.#drop(socket, new WarpError("DISCONNECTED", `the server was silent for ${silentMs} ms`));
    } else if (isReady && this.#heartbeat.takePing(now)) {
      this.#ping(now);
    }
  };

  /** No caller's request: it is let in while the client closes, and however many wait. */
  #ping(now: number): void {
    const answer = new Promised<void>();
    answer.promise.catch(() => {});
    this.#outbox.add(operation.ping, "", writePing, 0, answer, now, now + this.#settings.timeoutMs);
    this.#flushLater();
  }
}
