/**
 * The main thread's side of one shard writer: which durable records it has been told to settle, and how far it is.
 *
 * - One round is under way at a time; it covers everything durable when it was ordered, so the tail is freed in the
 *   order it was filled and no shard lags behind another.
 * - A round is ordered when enough waits or the oldest has waited long enough. An entity's records of a round become one run, so small
 *   records wait for more of them: each row is shared by more events. Large ones make long runs by themselves.
 * - Snapshots are taken when the round is ordered, of the committed state, which is exactly what the round settles.
 */
import type { DeliveryWindows } from "../../core/delivery-windows.ts";
import { WarpError } from "../../core/errors.ts";
import type { ResolvedSettings } from "../../core/settings.ts";
import type { Turn } from "../../journal/journal.ts";
import type { Tail } from "../../journal/tail.ts";
import { Filter } from "../../shard/files/filter.ts";
import type { DropOrder, FromWriter, ShardOpened, SnapshotDraft, ToWriter } from "../../shard/messages.ts";
import type { Actor } from "../actor.ts";
import type { Folding } from "../folding.ts";
import type { ShardState } from "./shard-state.ts";

export interface SettlingOptions {
  readonly worker: Worker;
  readonly writer: number;
  readonly tail: Tail;
  /** Bytes that wait before a round is ordered, when writes are small on average and otherwise, and the longest they wait, ms. */
  readonly settings: Pick<ResolvedSettings, "settleSmallBytes" | "settleBytes" | "settleDelayMs">;
  readonly folding: Folding;
  readonly onSettled: () => void;
  readonly onCheckpointed: () => void;
  /** A larger filter of a shard, which takes the place of the one it grew from. */
  readonly onFilter: (shard: number, kind: "ids" | "keys", filter: Filter) => void;
  readonly onFailed: (error: WarpError) => void;
}

/** Writes are small below so many bytes each. */
const smallWriteBytes = 1024;

type Pace = Extract<ToWriter, { type: "checkpoint" }>["pace"];
type Held = Extract<FromWriter, { type: "held" }>["isDone"];
type RewrappedPiece = Extract<FromWriter, { type: "rewrapped" }>["piece"];
export type Swept = Pick<Extract<FromWriter, { type: "swept" }>, "hasMore" | "entities">;

/** Each waits for readers for some seconds. */
const checkpointsMax = 2;

interface Round {
  readonly round: number;
  /** Its last turn. */
  readonly turn: number;
  /** The journal use of its first turn. */
  readonly firstUse: number;
  /** Position of each shard's newest record in it. */
  readonly positions: readonly { readonly shard: ShardState; readonly position: number }[];
}

export class Settling {
  /** The writer's number in the system; 0 until it has opened its files, or where that is not known. */
  thread = 0;
  readonly #options: SettlingOptions;
  readonly #shards: ShardState[] = [];
  readonly #closed: Promise<void>;
  #opened: ((shards: readonly ShardOpened[]) => void) | undefined;
  #ranges: number[] = [];
  #waitingBytes = 0;
  /** About so many writes they are of. */
  #waitingWrites = 0;
  #lastTurn = 0;
  #settledTurn = 0;
  #firstUse = 0;
  /** The journal use of the newest turn. */
  #newestUse = 0;
  #timer: Timer | undefined;
  #snapshotsDue: Actor[] = [];
  #nextRound = 1;
  #underWay: Round | undefined;
  /** Settled, but perhaps not in main database files; oldest first. At a start, whatever was found in the WALs. */
  #checkpoints = 0;
  #unchecked: Round[] = [{ round: 0, turn: 0, firstUse: 0, positions: [] }];
  /** shard, number … of durable ERASE records that no round covers yet. */
  #erased: number[] = [];
  #onRecovered: (() => void) | undefined;
  #onDropped: ((runs: number) => void) | undefined;
  #onSwept: ((swept: Swept) => void) | undefined;
  #onReleased: ((shards: readonly number[]) => void) | undefined;
  #onRewrapped: ((piece: RewrappedPiece) => void) | undefined;
  /** Calls that set holds, oldest first. */
  readonly #holding: ((isDone: Held) => void)[] = [];
  /** Which checkpoint is asked for. */
  #asked: "at once" | Pace;
  #isClosing = false;
  #idle: (() => void)[] = [];

  constructor(options: SettlingOptions) {
    this.#options = options;
    const { worker } = options;
    this.#closed = new Promise((resolve) => {
      worker.addEventListener("close", () => {
        resolve();
        if (!this.#isClosing)
          options.onFailed(new WarpError("ENGINE_FAILED", "a shard writer ended by itself"));
      });
    });
    worker.onmessage = (event: MessageEvent<FromWriter>) => this.#onMessage(event.data);
    worker.onerror = (event) => {
      options.onFailed(new WarpError("ENGINE_FAILED", `a shard writer died: ${event.message}`));
    };
  }

  open(message: Extract<ToWriter, { type: "open" }>): Promise<readonly ShardOpened[]> {
    return new Promise((resolve) => {
      this.#opened = resolve;
      this.#post(message);
    });
  }

  adopt(shard: ShardState): void {
    this.#shards.push(shard);
  }

  /** Takes in the ranges of a durable turn that are in this writer's tail. */
  add(turn: Turn<unknown>, use: number): void {
    for (const range of turn.ranges) {
      if (range.tail !== this.#options.writer) continue;
      if (this.#waitingBytes === 0) this.#firstUse = use;
      this.#newestUse = use;
      this.#ranges.push(range.start, range.length);
      this.#waitingBytes += range.length;
      this.#lastTurn = turn.id;
    }
    this.#waitingWrites += turn.completions.length;
    this.#orderInTime();
  }

  owns(shard: number): boolean {
    return this.#shards.some(({ index }) => index === shard);
  }

  /** An ERASE record is in the turn that is given to {@link add} next. */
  noteErasure(shard: ShardState, number: number): void {
    this.#erased.push(shard.index, number);
  }

  /** Recovery has settled all that the journal held. Fails the engine, DIRECTORY_LOCKED, when it has to be in main files and cannot. */
  recovered(isJournalKept: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onRecovered = resolve;
      this.#post({ type: "recovered", isJournalKept });
    });
  }

  /** Removes rows of erased entities, about so many and of so many bytes; one call at a time. */
  sweep(rowsMax: number, bytesMax: number): Promise<Swept> {
    return new Promise((resolve) => {
      this.#onSwept = resolve;
      this.#post({ type: "sweep", rowsMax, bytesMax });
    });
  }

  /** Removes names of entities that are erased everywhere else. Resolves with the shards that need not be asked again. */
  release(erased: Extract<ToWriter, { type: "release" }>["erased"]): Promise<readonly number[]> {
    return new Promise((resolve) => {
      this.#onReleased = resolve;
      this.#post({ type: "release", erased });
    });
  }

  /** Wraps every key of a shard by the current period, in pieces; returns how many it were. Errors: CORRUPT for a damaged slot. */
  async rewrap(shard: number): Promise<number> {
    let keys = 0;
    for (let first: number | undefined = 1; first !== undefined; ) {
      const order = { type: "rewrap", shard, first } as const;
      const piece = await new Promise<RewrappedPiece>((resolve) => {
        this.#onRewrapped = resolve;
        this.#post(order);
      });
      if ("code" in piece) throw WarpError.fromWire(piece);
      keys += piece.keys;
      first = piece.next;
    }
    return keys;
  }

  /** Sets an entity's hold, or takes it away, once its records up to a position are settled. False when it is erased. Errors: CORRUPT. */
  async hold(shard: ShardState, number: number, to: number, hold: Uint8Array | undefined): Promise<boolean> {
    await this.whenSettledTo(shard, to);
    const isDone = await new Promise<Held>((resolve) => {
      this.#holding.push(resolve);
      this.#post({ type: "hold", shard: shard.index, number, hold });
    });
    if (typeof isDone === "object") throw WarpError.fromWire(isDone);
    return isDone;
  }

  dueForSnapshot(actor: Actor): void {
    this.#snapshotsDue.push(actor);
  }

  /** Settles what waits, unless a round is under way. */
  order(): void {
    if (this.#underWay !== undefined || this.#waitingBytes === 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const ranges = Float64Array.from(this.#ranges);
    this.#ranges = [];
    this.#waitingBytes = 0;
    this.#waitingWrites = 0;
    const positions = this.#shards.map((shard) => ({ shard, position: shard.committedPosition }));
    const round = { round: this.#nextRound++, turn: this.#lastTurn, firstUse: this.#firstUse, positions };
    this.#underWay = round;
    const erased = Float64Array.from(this.#erased);
    this.#erased = [];
    const deliveries: DeliveryWindows[] = [];
    for (const shard of this.#shards) {
      const { committedPosition, settledPosition } = shard;
      // Not the clock: sessions end by the time that the shard's records have, which never goes back.
      const changed = shard.deliveries.takeDirty(shard.lastRecordedAt, committedPosition, settledPosition);
      if (changed !== undefined) deliveries.push(changed);
    }
    const snapshots = this.#takeSnapshots();
    this.#post({ type: "settle", round: round.round, ranges, snapshots, deliveries, erased });
  }

  /** Drops the first events of an entity of this writer's; resolves with the number of runs. One order at a time. */
  drop(order: DropOrder): Promise<number> {
    return new Promise((resolve) => {
      this.#onDropped = resolve;
      this.#post({ type: "drop", ...order });
    });
  }

  /** Asks for a checkpoint of all shards, so that journal segments can be retired; nobody else waits for one with a pace. */
  checkpoint(pace?: Pace): void {
    if (this.#asked === "at once" || (pace !== undefined && this.#asked !== undefined)) return;
    if (this.#unchecked.length === 0) return;
    this.#asked = pace ?? "at once";
    this.#post({ type: "checkpoint", ...(pace === undefined ? {} : { pace }) });
  }

  /** The oldest journal use that holds records of this writer which are not in main database files. */
  get oldestUse(): number {
    const round = this.#unchecked[0] ?? this.#underWay;
    if (round !== undefined) return round.firstUse;
    return this.#waitingBytes > 0 ? this.#firstUse : Number.POSITIVE_INFINITY;
  }

  /** True when everything that it was given is in main database files. */
  get isClean(): boolean {
    return this.oldestUse === Number.POSITIVE_INFINITY;
  }

  /** Resolves when nothing waits and no round is under way. */
  whenSettled(): Promise<void> {
    return this.#until(() => this.#underWay === undefined && this.#waitingBytes === 0);
  }

  /** Resolves when a shard is settled up to a position. */
  whenSettledTo(shard: ShardState, position: number): Promise<void> {
    return this.#until(() => shard.settledPosition >= position);
  }

  /** Resolves when everything that is durable now is settled, whatever comes meanwhile. */
  whenCaughtUp(): Promise<void> {
    const turn = this.#lastTurn;
    return this.#until(() => this.#settledTurn >= turn);
  }

  /** Resolves when everything settled is in main database files; false when another process reads an older state and goes on with it. */
  async whenCheckpointed(): Promise<boolean> {
    await this.whenSettled();
    const last = this.#checkpoints + checkpointsMax;
    const isOver = () => this.#unchecked.length === 0 || this.#checkpoints >= last;
    await this.#until(isOver, () => this.checkpoint());
    return this.#unchecked.length === 0;
  }

  /** Resolves when all of this journal use and before is in main database files; patiently while others write to later ones, whose rounds wait until they are large. */
  whenPast(use: number): Promise<void> {
    return this.#until(
      () => this.oldestUse > use,
      () => {
        if (this.#firstUse <= use) this.order();
        const isSettled = this.#underWay === undefined || this.#underWay.firstUse > use;
        if (isSettled) this.checkpoint(this.#newestUse > use ? "patient" : "brief");
      },
    );
  }

  /** Asks for something each time a round or a checkpoint has ended, until it is so. */
  async #until(isSo: () => boolean, ask = () => this.order()): Promise<void> {
    while (!isSo()) {
      ask();
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#timer);
    this.#post({ type: "close" });
    await this.#closed;
  }

  /** Orders a round when enough waits, or later. */
  #orderInTime(): void {
    const { settleBytes, settleSmallBytes } = this.#options.settings;
    const areSmall = this.#waitingBytes < this.#waitingWrites * smallWriteBytes;
    if (this.#waitingBytes >= (areSmall ? settleSmallBytes : settleBytes)) this.order();
    else if (this.#waitingBytes > 0)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.order();
      }, this.#options.settings.settleDelayMs).unref();
  }

  #takeSnapshots(): SnapshotDraft[] {
    const drafts: SnapshotDraft[] = [];
    for (const actor of this.#snapshotsDue) {
      actor.isSnapshotDue = false;
      // Where it is not loaded, its states are about to be folded anew.
      if (!actor.isLoaded || actor.committedSeq <= actor.snapshotSeq) continue;
      actor.snapshotSeq = actor.committedSeq;
      for (const { aggregate, version, state } of this.#options.folding.encodeStates(actor.committedStates)) {
        const { shard, number } = actor;
        drafts.push({ shard: shard.index, number, aggregate, version, seq: actor.committedSeq, state });
      }
    }
    this.#snapshotsDue = [];
    return drafts;
  }

  #onMessage(message: FromWriter): void {
    switch (message.type) {
      case "opened":
        this.thread = message.thread;
        this.#opened?.(message.shards);
        break;
      case "settled":
        this.#settled();
        break;
      case "checkpointed":
        this.#checkpointed(message.round);
        break;
      case "recovered":
        this.#onRecovered?.();
        break;
      case "dropped":
        this.#onDropped?.(message.runs);
        break;
      case "swept":
        this.#onSwept?.(message);
        break;
      case "held":
        this.#holding.shift()?.(message.isDone);
        break;
      case "rewrapped":
        this.#onRewrapped?.(message.piece);
        break;
      case "released":
        this.#onReleased?.(message.shards);
        break;
      case "filter":
        this.#options.onFilter(message.shard, message.of, new Filter(message.filter));
        break;
      case "failed":
        this.#options.onFailed(WarpError.fromWire(message.error));
        break;
      case "closed":
        break;
    }
  }

  #settled(): void {
    const round = this.#underWay;
    if (round === undefined) return;
    this.#underWay = undefined;
    for (const { shard, position } of round.positions) shard.noteSettled(position);
    this.#settledTurn = round.turn;
    this.#options.tail.free(round.turn);
    this.#unchecked.push(round);
    this.#orderInTime();
    this.#wakeIdle();
    this.#options.onSettled();
  }

  #checkpointed(round: number): void {
    this.#asked = undefined;
    this.#checkpoints++;
    this.#unchecked = this.#unchecked.filter((one) => one.round > round);
    this.#wakeIdle();
    this.#options.onCheckpointed();
  }

  #wakeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #post(message: ToWriter): void {
    this.#options.worker.postMessage(message);
  }
}
