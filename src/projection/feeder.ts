/**
 * The main thread's side of one build: its Worker, the pages it is given, and how far it is.
 *
 * - At most two messages of pages are under way, so a slow handler or sink costs bounded memory; pages are read when there
 *   is room for them and not before.
 * - A Worker that fails is started again where its rows are, after a while; one whose failure only a change can mend waits
 *   for it.
 */
import { toWarpError, WarpError } from "../core/errors.ts";
import type { FeedPage, FeedSource } from "../core/feed.ts";
import { limits } from "../core/limits.ts";
import type { EventFailure } from "./build/outcomes.ts";
import { erasedIn, historyOf, memoryOf, owned } from "./build/records.ts";
import type { BuildOrder, Erasure, FromBuild, ParkedEntity, Place, TableRow, ToBuild } from "./messages.ts";
import { Progress } from "./progress.ts";
import { Retry } from "./retry.ts";

const messagesMax = 2;
/** A Worker that does not end by itself within this is given up. */
const closeMs = 5000;

export type FeederState = "starting" | "running" | "retrying" | "sink-away" | "failed" | "closed";

export interface FeederParts {
  readonly source: FeedSource;
  readonly order: Omit<BuildOrder, "isLive">;
  /** Queries see it: that is asked at each opening. */
  readonly isLive: () => boolean;
  readonly startWorker: () => Worker;
  readonly isPaused: () => boolean;
  /** Something of it has changed. */
  readonly onChange: () => void;
  readonly onFailures: (failures: readonly EventFailure[]) => void;
  /** So often retention had dropped events of an entity that would have been taken in. */
  readonly onGaps: (entities: number) => void;
  /** The rows are worthless: of another incarnation, ahead of the journal, or tainted by what was erased. */
  readonly onWorthless: (why: string) => void;
}

export class Feeder {
  readonly #parts: FeederParts;
  readonly progress: Progress;
  /** Erasures of which nothing is left in the files. */
  readonly #erased = new Set<string>();
  #worker: Worker | undefined;
  #state: FeederState = "starting";
  #isPumping = false;
  /** Somebody asked since it looked last. */
  #looksAgain = false;
  /** Entities that are to be taken again, up to where their shard is: no pages are sent meanwhile. */
  #unparks = 0;
  #lastUnpark: Promise<unknown> = Promise.resolve();
  /** Looks again whether pages are under way. */
  #onIdle: (() => void) | undefined;
  readonly #restart = new Retry(() => this.start());
  #asked = new Map<number, (message: FromBuild) => void>();
  #nextAsk = 1;
  #onClosed: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  /** Erasures that were asked for and are not done, by their place: a Worker that ends leaves them to the next. */
  readonly #erasures = new Map<string, Erasure>();
  #firstShard = 0;
  #wasOpened = false;
  /** The Worker that runs has said where its rows are. Before that it is sent nothing: nobody knows what comes next. */
  #isPlaced = false;
  error: WarpError | undefined;
  records = 0;
  events = 0;
  parked = 0;
  skipped = 0;
  /** How often retention had dropped events before they were taken in, as far as this feeder was told. */
  gaps = 0;
  /** An entity was erased whose events are in rows that are shared. */
  isTainted = false;
  /** It has been where the feed was, once. */
  hasCaughtUp = false;
  /** The sink was told to show its rows, and they are not those that are live. */
  mayBeShown = false;

  constructor(parts: FeederParts) {
    this.#parts = parts;
    this.progress = new Progress(parts.source);
  }

  get state(): FeederState {
    return this.#state;
  }

  /** Starts, or starts again after a failure. */
  start(): void {
    if (this.#worker !== undefined || this.#state === "closed") return;
    this.#restart.cancel();
    this.#state = "starting";
    const worker = this.#parts.startWorker();
    this.#worker = worker;
    // One that was given up may have something to say still, and another one runs by then.
    const isCurrent = () => this.#worker === worker;
    const crashed = (why: string) => {
      if (isCurrent())
        this.#failed(new WarpError("ENGINE_FAILED", `the Worker of the projection ${why}`), true);
    };
    worker.onmessage = (event: MessageEvent<FromBuild>) => void (isCurrent() && this.#hear(event.data));
    worker.onerror = (event) => {
      event.preventDefault();
      crashed(`failed: ${event.message}`);
    };
    worker.addEventListener("close", () => crashed("ended by itself"));
    const order = { ...this.#parts.order, isLive: this.#parts.isLive() };
    this.#say({ type: "open", order, erased: this.#parts.source.erasedIds() });
  }

  /** Looks whether there is something to send; called after turns. */
  wake(): void {
    this.progress.look();
    void this.#pump();
  }

  /** Its rows are there. */
  get isOpen(): boolean {
    return this.#state !== "starting" || this.isCleaner;
  }

  /** It only removes rows. */
  get isCleaner(): boolean {
    return this.#parts.order.application === undefined;
  }

  /** It takes pages as they come. */
  get isFed(): boolean {
    return this.#state === "running" && !this.isCleaner && !this.#parts.isPaused();
  }

  /** Nothing is left of what was erased at this place of the feed. */
  isClean(shard: number, position: number): boolean {
    return !this.isTainted && this.#erased.has(`${shard}:${position}`);
  }

  /** Removes an entity's rows now, whether pages are taken or not. */
  erase(erasure: Erasure): void {
    this.#erasures.set(`${erasure.shard}:${erasure.position}`, erasure);
    this.start();
    if (this.#isPlaced) this.#say({ type: "erase", erasure });
  }

  async parkedEntities(): Promise<readonly ParkedEntity[]> {
    const answer = await this.#ask((id) => ({ type: "parked", id }));
    return answer.type === "parkedList" ? answer.parked : [];
  }

  /** Takes the events of an entity again that is held back. The failure that holds it back once more, if there is one. */
  unpark(held: ParkedEntity): Promise<EventFailure | undefined> {
    this.#unparks++;
    const done = this.#lastUnpark
      .then(() => this.#unpark(held))
      .finally(() => {
        this.#unparks--;
        void this.#pump();
      });
    this.#lastUnpark = done.catch(() => undefined);
    return done;
  }

  async #unpark(held: ParkedEntity): Promise<EventFailure | undefined> {
    while ((this.#isPumping || this.progress.messages > 0) && this.#state !== "closed") {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    for await (const page of historyOf(this.#parts.source, held, this.progress.applied[held.shard] ?? 0)) {
      const answer = await this.#ask((id) => ({ type: "unpark", id, number: held.number, page }));
      if (answer.type === "unparked" && answer.failure !== undefined) return answer.failure;
    }
    return undefined;
  }

  /** Makes the build the one that queries see, where the sink has to be told. Errors: that with which its Worker ends. */
  async publish(): Promise<void> {
    this.mayBeShown = true;
    await this.#ask((id) => ({ type: "publish", id }));
  }

  /** The rows about an entity, from every table that names it as a subject. Errors: SINK_UNAVAILABLE when it does not run. */
  async rowsAbout(entity: string): Promise<readonly TableRow[]> {
    const answer = await this.#ask((id) => ({ type: "about", id, entity }));
    if (answer.type !== "rowsAbout") return [];
    if (answer.error !== undefined) throw WarpError.fromWire(answer.error);
    return answer.rows;
  }

  /** Ends the Worker; what it has not committed is taken again by the next one. What it was asked and has not answered fails. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    this.#restart.cancel();
    const worker = this.#worker;
    this.#state = "closed";
    this.#onIdle?.();
    this.#parts.onChange();
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        // A handler that never returns: nothing is open in its database while a handler runs.
        worker.terminate();
        resolve();
      }, closeMs);
      this.#onClosed = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#say({ type: "close" });
    });
    this.#worker = undefined;
    this.#giveUpAsked(this.#notRunning());
  }

  #say(message: ToBuild, memory: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, memory);
  }

  #ask(message: (id: number) => ToBuild): Promise<FromBuild> {
    if (this.#state !== "running" && this.#state !== "retrying") throw this.#notRunning();
    const id = this.#nextAsk++;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, (answer) => {
        if (answer.type === "failed") reject(WarpError.fromWire(answer.error));
        else resolve(answer);
      });
      this.#say(message(id));
    });
  }

  #giveUpAsked(error: WarpError): void {
    for (const answer of this.#asked.values()) answer({ type: "failed", error: error.toWire() });
    this.#asked.clear();
  }

  #notRunning(): WarpError {
    const { projection } = this.#parts.order;
    return new WarpError("SINK_UNAVAILABLE", `projection ${projection} does not run`, { state: this.#state });
  }

  #hear(message: FromBuild): void {
    switch (message.type) {
      case "opened":
        this.#opened(message.places);
        this.parked = message.parked;
        this.skipped = message.skipped;
        break;
      case "foreign":
        this.#parts.onWorthless("its rows are of another incarnation, or some of its tables are gone");
        return;
      case "applied":
        for (const place of message.places) this.progress.took(place);
        this.hasCaughtUp ||= this.progress.hasCaughtUp;
        this.records += message.records;
        this.events += message.events;
        this.parked = message.parked;
        this.skipped = message.skipped;
        if (message.failures.length > 0) this.#parts.onFailures(message.failures);
        this.gaps += message.gaps;
        if (message.gaps > 0) this.#parts.onGaps(message.gaps);
        break;
      case "taken":
        this.progress.messageDone();
        this.#restart.reset();
        this.#onIdle?.();
        void this.#pump();
        break;
      case "waiting":
        if (this.#state === "closed") break;
        if (message.why === undefined) this.#state = this.#isPlaced ? "running" : "starting";
        else this.#state = message.why === "retry" ? "retrying" : "sink-away";
        this.error = message.error === undefined ? undefined : WarpError.fromWire(message.error);
        break;
      case "purged":
        for (const { shard, position } of message.erased) {
          this.#erasures.delete(`${shard}:${position}`);
          this.#erased.add(`${shard}:${position}`);
        }
        break;
      case "tainted":
        this.isTainted = true;
        this.#parts.onWorthless("an entity was erased whose events are in rows that are shared");
        break;
      case "unparked":
      case "parkedList":
      case "published":
      case "rowsAbout":
        this.#asked.get(message.id)?.(message);
        this.#asked.delete(message.id);
        break;
      case "failed":
        this.#failed(WarpError.fromWire(message.error), false);
        break;
      case "closed":
        this.#onClosed?.();
        return;
    }
    this.#parts.onChange();
  }

  #opened(places: readonly Place[]): void {
    if (this.#state === "closed") return;
    const { source } = this.#parts;
    for (const { shard, position } of places) {
      // Rows of an earlier process may be of records that were lost, the positions of which others have by now.
      if (position <= (this.#wasOpened ? source.committed(shard) : source.recovered(shard))) continue;
      this.#parts.onWorthless(`its rows are ahead of shard ${shard}, which has lost its newest records`);
      return;
    }
    this.#wasOpened = true;
    this.#isPlaced = true;
    this.#state = "running";
    this.error = undefined;
    this.progress.opened(places);
    this.hasCaughtUp = this.progress.hasCaughtUp;
    for (const erasure of this.#erasures.values()) this.#say({ type: "erase", erasure });
    this.wake();
  }

  #failed(error: WarpError, isCrash: boolean): void {
    if (this.#state === "closed") {
      this.#onClosed?.();
      return;
    }
    const worker = this.#worker;
    this.#worker = undefined;
    this.#isPlaced = false;
    // One that has said so has nothing under way; one that crashed is gone already.
    if (!isCrash) worker?.postMessage({ type: "close" } satisfies ToBuild);
    this.#state = "failed";
    this.error = error;
    this.progress.lost();
    this.#onIdle?.();
    this.#giveUpAsked(error);
    this.#parts.onChange();
    if (!isCrash && error.advice !== "retry") return;
    this.#restart.plan();
  }

  /** Sends pages while there are some and room for them. */
  async #pump(): Promise<void> {
    this.#looksAgain = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#looksAgain && this.#canSend) {
        this.#looksAgain = false;
        const { pages, since } = await this.#collect();
        if (pages.length === 0 || this.#worker === undefined) continue;
        this.#looksAgain = true;
        this.progress.messageLeft(since);
        const erased = pages.flatMap((page) => erasedIn(page, this.#parts.source));
        this.#say({ type: "pages", pages, erased }, pages.map(memoryOf));
      }
    } catch (thrown) {
      // One that is being closed says itself when it is.
      if (this.#state !== "closed") this.#failed(toWarpError(thrown, "ENGINE_FAILED"), false);
    }
    this.#isPumping = false;
    this.#onIdle?.();
  }

  get #canSend(): boolean {
    const runs = this.#state === "running" || this.#state === "retrying" || this.#state === "sink-away";
    const mayRun = runs && !this.isCleaner && this.#unparks === 0 && !this.#parts.isPaused();
    return this.#isPlaced && mayRun && this.progress.messages < messagesMax;
  }

  /** Pages of all shards that have something, up to the size of a message. */
  async #collect(): Promise<{ pages: FeedPage[]; since: number }> {
    const { source } = this.#parts;
    const pages: FeedPage[] = [];
    const worker = this.#worker;
    let since = performance.now();
    let bytes = 0;
    // Every message begins with another shard, so that none waits for the others' past.
    const first = this.#firstShard++ % source.shards;
    for (let i = 0; i < source.shards && bytes < limits.projectionMessageBytes; i++) {
      const shard = (first + i) % source.shards;
      const after = this.progress.sent[shard] ?? 0;
      if (source.committed(shard) <= after) continue;
      const page = await source.read(shard, after, limits.projectionMessageBytes / 4);
      if (worker !== this.#worker) return { pages: [], since };
      if (page.upTo === after) continue;
      pages.push({ ...page, after, bytes: owned(page.bytes) });
      bytes += page.bytes.length;
      since = Math.min(since, this.progress.collected(shard, page.upTo));
    }
    return { pages, since };
  }
}
