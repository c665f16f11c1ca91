/**
 * The main thread's side of the reader Worker: requests of one turn go in one message.
 *
 * An answer may be a page, so the reader has a bounded number of requests; what is asked beyond that waits here, in order.
 *
 * Behind a start some of what the journal held may not be settled yet. Requests that must see it wait; those about one
 * entity, which is completed from the tail, do not.
 */
import type { DeliverySession } from "../../core/delivery-windows.ts";
import { WarpError } from "../../core/errors.ts";
import type {
  Base,
  EntriesPage,
  FeedResult,
  FromReader,
  KeyResult,
  LoadResult,
  NamesResult,
  OldRun,
  ReadAnswer,
  ReadRequest,
  ShardWorkerOptions,
  ToReader,
} from "../../shard/messages.ts";
import type { HostsResult, PartsResult, SubjectResult } from "../../shard/read/personal.ts";
import type { ErasureResult, LedgerResult, SizesResult } from "../../shard/read/privacy.ts";

type Result = Extract<ReadAnswer, { ok: true }>["result"];
type Unnumbered<Request> = Request extends unknown ? Omit<Request, "id"> : never;

/** Requests that the reader has at most. It takes some 0.1 ms for each, so it never waits for more. */
const underWayMax = 256;

export class Reading {
  readonly #worker: Worker;
  readonly #waiting = new Map<
    number,
    { resolve: (result: Result) => void; reject: (error: Error) => void }
  >();
  readonly #closed: Promise<void>;
  #batch: ReadRequest[] = [];
  /** Others keep something of erased entities too. */
  onForget: ((shard: number, numbers: readonly number[]) => void) | undefined;
  #nextId = 1;
  #failure: WarpError | undefined;
  /** What waits until everything that the journal held is settled; undefined when it is. */
  #held: (() => void)[] | undefined;

  private constructor(worker: Worker, onFailed: (error: WarpError) => void) {
    this.#worker = worker;
    this.#closed = new Promise((resolve) => {
      worker.addEventListener("close", () => {
        resolve();
        // Whoever waits for an answer would wait for ever.
        if (this.#failure === undefined)
          onFailed(this.#fail(new WarpError("ENGINE_FAILED", "the reader Worker ended by itself")));
      });
    });
    worker.onmessage = (event: MessageEvent<FromReader>) => {
      const message = event.data;
      if (message.type === "answers") {
        for (const answer of message.answers) this.#settle(answer);
        this.#flush();
      }
      if (message.type === "failed") onFailed(this.#fail(WarpError.fromWire(message.error)));
    };
    worker.onerror = (event) => {
      onFailed(this.#fail(new WarpError("ENGINE_FAILED", `the reader Worker died: ${event.message}`)));
    };
  }

  static async open(
    worker: Worker,
    options: ShardWorkerOptions,
    onFailed: (error: WarpError) => void,
  ): Promise<Reading> {
    const reading = new Reading(worker, onFailed);
    worker.postMessage({ type: "open", options } satisfies ToReader);
    return reading;
  }

  /** Until then everything waits that has to see what the journal held. When it rejects, all reads do. */
  holdUntil(settled: Promise<void>): void {
    this.#held = [];
    settled.then(
      () => this.#release(),
      (thrown: WarpError) => this.#fail(thrown),
    );
  }

  async load(
    shard: number,
    entity: string,
    aggregates: readonly { name: string; version: number }[],
  ): Promise<LoadResult["found"]> {
    const result = await this.#ask({ op: "load", shard, entity, aggregates });
    return (result as LoadResult).found;
  }

  /** As {@link load}, of what is settled by now. */
  async loadSettled(
    shard: number,
    entity: string,
    aggregates: readonly { name: string; version: number }[],
  ): Promise<LoadResult["found"]> {
    const result = await this.#askNow({ op: "load", shard, entity, aggregates });
    return (result as LoadResult).found;
  }

  async entries(request: {
    shard: number;
    number: number;
    from: number;
    to: number;
    direction: "forward" | "backward";
    bytesMax: number;
  }): Promise<EntriesPage> {
    const result = await this.#askNow({ op: "entries", ...request });
    if (result.op !== "entries") throw new WarpError("ENGINE_FAILED", "the reader answered something else");
    return result.page;
  }

  async names(request: {
    shard: number;
    prefix: string;
    after: string | undefined;
    limit: number;
  }): Promise<NamesResult["names"]> {
    return ((await this.#ask({ op: "names", ...request })) as NamesResult).names;
  }

  async key(shard: number, number: number, key: string): Promise<KeyResult["found"]> {
    return ((await this.#ask({ op: "key", shard, number, key })) as KeyResult).found;
  }

  /** What is stored of a session's delivery window. */
  async window(shard: number, session: DeliverySession): Promise<Uint8Array | undefined> {
    const { sessionStart, sessionNumber } = session;
    const result = await this.#askNow({ op: "window", shard, sessionStart, sessionNumber });
    return result.op === "window" ? result.results : undefined;
  }

  async feed(request: { shard: number; after: number; to: number; bytesMax: number }): Promise<FeedResult> {
    return (await this.#ask({ op: "feed", ...request })) as FeedResult;
  }

  /** The position behind which everything settled up to `to` was recorded at `time` or later. */
  async positionAt(shard: number, time: number, to: number): Promise<number> {
    const result = await this.#ask({ op: "positionAt", shard, time, to });
    return result.op === "positionAt" ? result.position : 0;
  }

  /** Numbers behind one that have more than one run, rising. */
  async withRuns(shard: number, after: number, limit: number): Promise<readonly number[]> {
    const result = await this.#ask({ op: "withRuns", shard, after, limit });
    return result.op === "withRuns" ? result.numbers : [];
  }

  async oldRuns(request: {
    shard: number;
    number: number;
    keepLast: number;
    recordedTo: number;
    limit: number;
  }): Promise<readonly OldRun[]> {
    const result = await this.#ask({ op: "oldRuns", ...request });
    return result.op === "oldRuns" ? result.runs : [];
  }

  /** With what a history begins whose first events were dropped; undefined when it is whole. */
  async base(
    shard: number,
    number: number,
    aggregates: readonly { name: string; version: number }[],
  ): Promise<Base | undefined> {
    const result = await this.#askNow({ op: "base", shard, number, aggregates });
    return result.op === "base" ? result.base : undefined;
  }

  /** The ids of numbers; an empty one where there is none. */
  async ids(shard: number, numbers: Float64Array): Promise<readonly string[]> {
    const result = await this.#ask({ op: "ids", shard, numbers });
    return result.op === "ids" ? result.ids : [];
  }

  async sizes(shard: number, number: number, isHoldOnly: boolean): Promise<SizesResult> {
    return (await this.#ask({ op: "sizes", shard, number, isHoldOnly })) as SizesResult;
  }

  /** How much is settled that speaks of a subject. */
  async subject(shard: number, number: number): Promise<SubjectResult> {
    return (await this.#ask({ op: "subject", shard, number })) as SubjectResult;
  }

  /** Ids of hosts of a subject, behind the number of one. */
  async hosts(shard: number, number: number, after: number, limit: number): Promise<HostsResult> {
    return (await this.#ask({ op: "hosts", shard, number, after, limit })) as HostsResult;
  }

  /** Runs that speak of a subject, behind one. */
  async parts(
    shard: number,
    number: number,
    after: { readonly host: number; readonly seq: number },
  ): Promise<PartsResult> {
    return (await this.#ask({ op: "parts", shard, number, after })) as PartsResult;
  }

  async ledger(shard: number, after: number, limit: number): Promise<LedgerResult> {
    return (await this.#ask({ op: "ledger", shard, after, limit })) as LedgerResult;
  }

  /** The entry of an id that was erased at a time, in the ledger of its shard. */
  async erasure(shard: number, erasedAt: number, idHash: Uint8Array): Promise<ErasureResult["found"]> {
    const result = await this.#ask({ op: "erasure", shard, erasedAt, idHash });
    return result.op === "erasure" ? result.found : undefined;
  }

  /** Wipes what the reader keeps of a shard: destroyed keys, pages of files that were cleaned. */
  forget(shard: number, numbers: readonly number[]): void {
    this.onForget?.(shard, numbers);
    this.#flush();
    this.#worker.postMessage({ type: "forget", shard, numbers } satisfies ToReader);
  }

  /** Answers what was asked before, then ends the Worker; later requests fail with CLOSED. */
  async close(): Promise<void> {
    this.#flush(Number.POSITIVE_INFINITY);
    this.#failure ??= new WarpError("CLOSED", "this context is closed");
    this.#worker.postMessage({ type: "close" } satisfies ToReader);
    await this.#closed;
    this.#fail(this.#failure);
  }

  async #ask(request: Unnumbered<ReadRequest>): Promise<Result> {
    const held = this.#held;
    if (held !== undefined) await new Promise<void>((resolve) => held.push(resolve));
    return this.#askNow(request);
  }

  #askNow(request: Unnumbered<ReadRequest>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject });
      if (this.#batch.push({ id, ...request } as ReadRequest) === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(most = underWayMax): void {
    const room = most - (this.#waiting.size - this.#batch.length);
    if (room <= 0 || this.#batch.length === 0) return;
    const requests = this.#batch.slice(0, room);
    this.#batch = this.#batch.slice(room);
    this.#worker.postMessage({ type: "read", requests } satisfies ToReader);
  }

  #settle(answer: ReadAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (answer.ok) waiting?.resolve(answer.result);
    else waiting?.reject(WarpError.fromWire(answer.error));
  }

  #fail(error: WarpError): WarpError {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#batch = [];
    this.#release();
    return error;
  }

  #release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const resolve of held) resolve();
  }
}
