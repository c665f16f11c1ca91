/**
 * The path of a write on the main thread: check, deduplicate, decide, evolve, number, write into the tail, and, when
 * its turn is durable, answer.
 *
 * - Work on one actor runs to its end without a break, in the order it arrived: nothing else decides in between.
 * - A write either appends all its events or changes nothing at all.
 * - No reply leaves before everything it was computed from is durable.
 * - After a failure nothing is accepted; what was under way is answered OUTCOME_UNKNOWN.
 */
import { Rejection } from "../aggregate/command.ts";
import {
  appendRecordBound,
  entryOfPart,
  type PartDraft,
  writePart,
  writeRecordHeader,
} from "../core/append-record.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import { recordHeaderBytes } from "../core/record.ts";
import type { Journal, Turn } from "../journal/journal.ts";
import type { Tail } from "../journal/tail.ts";
import type { Actor, KeyedResult } from "./actor.ts";
import { contentHashOf, draftEvents, type EventsDraft, emptyDraft, foldEvents, sameBytes } from "./draft.ts";
import type { Folding } from "./folding.ts";
import type { Reading } from "./reading.ts";
import type { Appended, Conflict, Expect, Rejected, SendResult } from "./results.ts";
import { Write, type WriteOptions } from "./write.ts";

export interface EngineParts {
  readonly folding: Folding;
  readonly tails: readonly Tail[];
  readonly reading: Reading;
  readonly journal: Journal<Write>;
  /** Deep-freezes states and event data, so that a program that changes them is found out. */
  readonly freeze: boolean;
  /** One record, all parts, bytes. */
  readonly recordBytesMax: number;
  /** Hears of every durable turn, after its writes were answered. */
  readonly onDurable: (turn: Turn<Write>, use: number) => void;
  /** Hears of an actor with enough events for a snapshot. */
  readonly onSnapshotDue: (actor: Actor) => void;
  /** The actor of the same entity, when a write met one that has left memory. */
  readonly actorAgain: (actor: Actor) => Actor;
}

export class Engine {
  readonly #parts: EngineParts;
  /** Writes that found the tail full, oldest first. */
  #spaceQueue: Queued[] = [];
  #isDraining = false;
  #pending = 0;
  #failure: WarpError | undefined;
  #closing: WarpError | undefined;
  #clock = 0;
  #clockTurn = 0;

  constructor(parts: EngineParts) {
    this.#parts = parts;
  }

  /** Writes that are not answered yet. */
  get pending(): number {
    return this.#pending + this.#spaceQueue.length;
  }

  get failure(): WarpError | undefined {
    return this.#failure;
  }

  append(actor: Actor, events: readonly NewEvent[], options?: WriteOptions): Promise<SendResult> {
    return new Promise((resolve, reject) => {
      this.#submit(new Write(actor, events, undefined, undefined, options, resolve, reject));
    });
  }

  send(actor: Actor, command: string, input: unknown, options?: WriteOptions): Promise<SendResult> {
    return new Promise((resolve, reject) => {
      this.#submit(new Write(actor, undefined, command, input, options, resolve, reject));
    });
  }

  /**
   * Runs `decide` once all actors are ready and appends what it returns, one list per actor, as one record. The
   * actors are of one shard. `decide` may throw to change nothing.
   */
  atomically(
    actors: readonly Actor[],
    decide: (actors: readonly Actor[]) => readonly (readonly NewEvent[])[],
  ): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      const attempt = (): void => {
        const waiting = actors.find((actor) => actor.isWaiting);
        if (waiting !== undefined) {
          waiting.whenReady(() => guard(reject, attempt));
          return;
        }
        const queued = { attempt: () => this.#performTogether(actors, decide, resolve, reject), reject };
        if (this.#spaceQueue.length > 0 || !tryOnce(queued)) this.#spaceQueue.push(queued);
      };
      guard(reject, attempt);
    });
  }

  /** Stops accepting work; what is under way goes on. */
  stopAccepting(): void {
    this.#closing = new WarpError("CLOSED", "this context is closed");
  }

  /** Fails everything under way and everything to come. */
  fail(error: WarpError, unacknowledged: readonly Write[]): void {
    this.#failure ??= error;
    const unknown = new WarpError(
      "OUTCOME_UNKNOWN",
      `the engine failed before this was confirmed; whether it is on disk shows after a restart (${error.message})`,
      { cause: error.toWire() },
      error,
    );
    for (const write of unacknowledged) write.reject(unknown);
    for (const write of this.#spaceQueue.splice(0)) write.reject(this.#refusal() ?? unknown);
    this.#pending = 0;
  }

  /** Called by the journal, in the order of the turns. */
  acknowledge(turn: Turn<Write>, use: number): void {
    const { completions } = turn;
    this.#pending -= completions.length;
    for (let i = 0; i < completions.length; i++) {
      const write = completions[i];
      if (write?.result === undefined) continue;
      const { actor } = write;
      actor.committedSeq = write.seq;
      actor.committedStates = write.states;
      if (write.position > 0) actor.shard.committedPosition = write.position;
      write.resolve(write.result);
    }
    this.#parts.onDurable(turn, use);
  }

  /** Lets in writes that waited for space. */
  onSpace(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    let taken = 0;
    while (taken < this.#spaceQueue.length) {
      const queued = this.#spaceQueue[taken];
      if (queued === undefined || !tryOnce(queued)) break;
      taken++;
    }
    this.#spaceQueue = this.#spaceQueue.slice(taken);
    this.#isDraining = false;
  }

  #refusal(): WarpError | undefined {
    if (this.#failure !== undefined) {
      return new WarpError("ENGINE_FAILED", `the engine has failed: ${this.#failure.message}`, {
        cause: this.#failure.toWire(),
      });
    }
    return this.#closing;
  }

  #submit(write: Write): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      write.reject(refusal);
    } else if (this.#pending + this.#spaceQueue.length >= limits.pendingMax) {
      write.reject(new WarpError("OVERLOADED", "too many writes wait for the disk", { limit: "pendingMax" }));
    } else if (write.actor.isWaiting || !write.actor.isResident) {
      guard(write.reject, () => {
        if (!write.actor.isResident) write.actor = this.#parts.actorAgain(write.actor);
        write.actor.whenReady(() => this.#enter(write));
      });
    } else {
      this.#enter(write);
    }
  }

  #enter(write: Write): void {
    const refusal = this.#refusal() ?? write.actor.loadFailure;
    if (refusal !== undefined) write.reject(refusal);
    else if (this.#spaceQueue.length > 0 || !this.#attempt(write)) {
      this.#spaceQueue.push({ attempt: () => this.#attempt(write), reject: write.reject });
    }
  }

  /** False when there is no space; nothing has changed then. */
  #attempt(write: Write): boolean {
    try {
      return this.#perform(write);
    } catch (thrown) {
      write.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
      return true;
    }
  }

  #perform(write: Write): boolean {
    const { actor, options } = write;
    actor.isRecent = true;
    if (options !== undefined) {
      if (options.delivery !== undefined) {
        const done = actor.shard.deliveries.find(options.delivery, Date.now());
        if (done !== undefined) return this.#answer(write, { ...done, duplicate: true });
      }
      if (options.key !== undefined) {
        const known = this.#findKeyed(write, options.key);
        if (known === "asked") return true;
        if (known !== undefined) return this.#answerKeyed(write, known);
      }
      if (options.expect !== undefined && !meets(options.expect, actor.tipSeq)) {
        return this.#answer(write, { ok: false, reason: "conflict", seq: actor.tipSeq } satisfies Conflict);
      }
    }
    return write.command === undefined
      ? this.#appendDraft(write, draftEvents(this.#parts.folding, write.events ?? []))
      : this.#decide(write, write.command);
  }

  #decide(write: Write, name: string): boolean {
    const { folding } = this.#parts;
    const { actor } = write;
    const command = folding.command(name);
    if (command === undefined) {
      throw new WarpError(
        "UNKNOWN_COMMAND",
        `no aggregate of this context has a command ${JSON.stringify(name)}`,
      );
    }
    const decision = command.decide(actor.tipStates[command.index], write.input, actor.id);
    if (!(decision instanceof Rejection)) return this.#appendDraft(write, draftEvents(folding, decision));
    const { code, details } = decision;
    const seq = actor.tipSeq;
    const rejection: Rejected = { ok: false, reason: "rejected", code, details, seq, duplicate: false };
    if (write.options?.key === undefined) return this.#answer(write, rejection);
    return this.#appendOutcome(write, rejection);
  }

  #appendDraft(write: Write, draft: EventsDraft): boolean {
    const { actor } = write;
    const count = draft.entry.count;
    if (count === 0) {
      const { shard, tipSeq } = actor;
      const position = shard.nextPosition - 1;
      const nothing = { firstSeq: tipSeq + 1, count, duplicate: false, shard: shard.index, position };
      return this.#answer(write, { ok: true, seq: tipSeq, ...nothing });
    }
    const recordedAt = this.#now(actor);
    const { folding, freeze } = this.#parts;
    const states = foldEvents(folding, actor.tipStates, draft.events, {
      entity: actor.id,
      firstSeq: actor.tipSeq + 1,
      recordedAt,
      freeze,
    });
    if (!this.#place(write, draft.entry, undefined, recordedAt)) return false;
    const firstSeq = actor.tipSeq + 1;
    actor.tipSeq += count;
    actor.tipStates = states;
    const { shard } = actor;
    const result: Appended = {
      ok: true,
      seq: actor.tipSeq,
      firstSeq,
      count,
      duplicate: false,
      shard: shard.index,
      position: write.position,
    };
    if (write.options !== undefined) this.#remember(write, write.options, result, undefined);
    this.#complete(write, result);
    this.#noteSnapshotDue(actor);
    return true;
  }

  #noteSnapshotDue(actor: Actor): void {
    if (actor.isSnapshotDue || actor.tipSeq - actor.snapshotSeq < this.#parts.folding.snapshotEvery) return;
    actor.isSnapshotDue = true;
    this.#parts.onSnapshotDue(actor);
  }

  /** A rejection under a caller key is durable too, so that a repeat gets the same answer. */
  #appendOutcome(write: Write, rejection: Rejected): boolean {
    const outcome = JSON.stringify(rejection);
    if (!this.#place(write, emptyDraft, outcome, this.#now(write.actor))) return false;
    if (write.options !== undefined) this.#remember(write, write.options, undefined, outcome);
    this.#complete(write, rejection);
    return true;
  }

  /** Writes the record into the tail and gives it its position. False when the tail is full. */
  #place(write: Write, entry: PartDraft["entry"], outcome: string | undefined, recordedAt: number): boolean {
    const { actor, options } = write;
    const { shard } = actor;
    const part: PartDraft = {
      number: actor.number === 0 ? shard.nextNumber : actor.number,
      firstSeq: actor.tipSeq + 1,
      id: actor.number === 0 ? actor.id : undefined,
      key: options?.key === undefined ? undefined : { text: options.key, contentHash: contentHashOf(write) },
      delivery: options?.delivery,
      outcome,
      entry,
    };
    return this.#placeParts([actor], [part], recordedAt, write);
  }

  #placeParts(
    actors: readonly Actor[],
    parts: readonly PartDraft[],
    recordedAt: number,
    write: Write,
  ): boolean {
    const { journal, tails } = this.#parts;
    const { shard } = write.actor;
    const bound = appendRecordBound(parts);
    const { recordBytesMax } = this.#parts;
    if (bound > recordBytesMax + roundingBytes) {
      throw new WarpError("EVENT_TOO_LARGE", `an append takes at most ${recordBytesMax} bytes`, {
        limit: "recordBytesMax",
        bytes: bound,
      });
    }
    const at = journal.reserve(shard.writer, bound);
    const tail = tails[shard.writer];
    if (at < 0 || tail === undefined) return false;
    const position = shard.nextPosition;
    let end = at + recordHeaderBytes;
    for (let i = 0; i < actors.length; i++) {
      const actor = actors[i];
      const part = parts[i];
      if (actor === undefined || part === undefined) continue;
      const partAt = end;
      end = writePart(tail.bytes, partAt, part, recordedAt, position);
      const entryAt = entryOfPart(tail.bytes, partAt);
      actor.tailRow = tail.index.add(entryAt, part.firstSeq, position, actor.tailRow);
      actor.tipPosition = position;
      if (actor.number !== 0) continue;
      actor.number = shard.nextNumber++;
      shard.ids.add(actor.id);
    }
    const { index, epoch } = shard;
    writeRecordHeader(tail.bytes, at, end, { shard: index, epoch, position, parts: parts.length });
    journal.commit(shard.writer, at, end);
    shard.nextPosition++;
    shard.lastRecordedAt = recordedAt;
    write.position = position;
    return true;
  }

  /** As {@link #perform}, for several actors at once. */
  #performTogether(
    actors: readonly Actor[],
    decide: (actors: readonly Actor[]) => readonly (readonly NewEvent[])[],
    resolve: (results: Appended[]) => void,
    reject: (error: Error) => void,
  ): boolean {
    const first = actors[0];
    const refusal = this.#refusal() ?? actors.find((actor) => actor.loadFailure !== undefined)?.loadFailure;
    if (refusal !== undefined) throw refusal;
    if (first === undefined) throw new WarpError("INVALID_ARGUMENT", "atomically needs at least one entity");
    const { folding, freeze } = this.#parts;
    const lists = decide(actors);
    const recordedAt = this.#now(first);
    const drafts = actors.map((_, index) => draftEvents(folding, lists[index] ?? []));
    const states = actors.map((actor, index) => {
      const events = drafts[index]?.events ?? [];
      const of = { entity: actor.id, firstSeq: actor.tipSeq + 1, recordedAt, freeze };
      return foldEvents(folding, actor.tipStates, events, of);
    });
    const touched = actors.filter((_, index) => (drafts[index]?.entry.count ?? 0) > 0);
    const leader = new Write(first, [], undefined, undefined, undefined, () => {}, reject);
    const parts = partsOf(actors, drafts);
    if (parts.length > 0 && !this.#placeParts(touched, parts, recordedAt, leader)) return false;

    const position = parts.length > 0 ? leader.position : first.shard.nextPosition - 1;
    const results: Appended[] = [];
    for (const [index, actor] of actors.entries()) {
      const count = drafts[index]?.entry.count ?? 0;
      const firstSeq = actor.tipSeq + 1;
      actor.tipSeq += count;
      actor.tipStates = states[index] ?? actor.tipStates;
      const result = { ok: true, seq: actor.tipSeq, firstSeq, count, duplicate: false } as const;
      results.push({ ...result, shard: actor.shard.index, position });
    }
    for (const [index, actor] of actors.entries()) {
      const isLast = index === actors.length - 1;
      const write = new Write(
        actor,
        [],
        undefined,
        undefined,
        undefined,
        () => isLast && resolve(results),
        reject,
      );
      write.position = position;
      const result = results[index];
      if (result !== undefined) this.#complete(write, result);
      this.#noteSnapshotDue(actor);
    }
    return true;
  }

  #complete(write: Write, result: SendResult): void {
    write.result = result;
    write.seq = write.actor.tipSeq;
    write.states = write.actor.tipStates;
    this.#pending++;
    this.#parts.journal.complete(write);
  }

  /** Answers without appending, once what the answer was computed from is durable. */
  #answer(write: Write, result: SendResult): boolean {
    const { actor } = write;
    if (actor.tipPosition <= actor.shard.committedPosition) {
      write.resolve(result);
    } else {
      this.#complete(write, result);
    }
    return true;
  }

  #answerKeyed(write: Write, known: KeyedResult): boolean {
    const key = write.options?.key ?? "";
    if (!sameBytes(known.contentHash, contentHashOf(write))) {
      throw new WarpError(
        "KEY_REUSED",
        `key ${JSON.stringify(key)} was used for something else on this entity`,
        {
          entity: write.actor.id,
          key,
        },
      );
    }
    if (known.outcome !== undefined) {
      const rejection: Rejected = JSON.parse(known.outcome);
      return this.#answer(write, { ...rejection, duplicate: true });
    }
    const { firstSeq, count, position } = known;
    const shard = write.actor.shard.index;
    return this.#answer(write, {
      ok: true,
      seq: firstSeq + count - 1,
      firstSeq,
      count,
      duplicate: true,
      shard,
      position,
    });
  }

  /** The earlier result under this key; "asked" when the disk has to say and the write comes back. */
  #findKeyed(write: Write, key: string): KeyedResult | "asked" | undefined {
    const { actor } = write;
    const bytes = Buffer.byteLength(key);
    if (bytes < 1 || bytes > limits.callerKeyBytesMax) {
      const why = `a caller key has 1 to ${limits.callerKeyBytesMax} UTF-8 bytes, this one ${bytes}`;
      throw new WarpError("INVALID_ARGUMENT", why);
    }
    const recent = actor.keyed?.get(key);
    if (recent !== undefined) return recent;
    if (actor.number === 0 || write.stored === null) return undefined;
    if (write.stored !== undefined) return write.stored;
    if (!actor.shard.keys.mayHave(key, actor.number)) return undefined;
    actor.suspend();
    const settled = actor.shard.settledPosition;
    this.#parts.reading
      .key(actor.shard.index, actor.number, key)
      .then((found) => {
        write.stored = found === undefined ? null : { ...found, position: settled };
        actor.resume(() => this.#enter(write));
      })
      .catch((thrown) => {
        write.reject(toWarpError(thrown, "IO_ERROR"));
        actor.resume();
      });
    return "asked";
  }

  #remember(
    write: Write,
    options: WriteOptions,
    result: Appended | undefined,
    outcome: string | undefined,
  ): void {
    const { actor } = write;
    if (options.delivery !== undefined && result !== undefined) {
      actor.shard.deliveries.remember(options.delivery, result);
    }
    if (options.key === undefined) return;
    actor.shard.keys.add(options.key, actor.number);
    const keyed = actor.keyed ?? new Map<string, KeyedResult>();
    actor.keyed = keyed;
    const settled = actor.shard.settledPosition;
    for (const [key, known] of keyed) {
      if (known.position > settled) break;
      keyed.delete(key);
    }
    keyed.set(options.key, {
      contentHash: contentHashOf(write),
      firstSeq: result?.firstSeq ?? actor.tipSeq + 1,
      count: result?.count ?? 0,
      position: write.position,
      outcome,
    });
  }

  /** ms since 1970; read once a turn, and never behind the shard's newest record. */
  #now(actor: Actor): number {
    const turn = this.#parts.journal.openTurn.id;
    if (turn !== this.#clockTurn) {
      this.#clock = Date.now();
      this.#clockTurn = turn;
    }
    return Math.max(this.#clock, actor.shard.lastRecordedAt);
  }
}

/** What waits for space in a tail: true when it is done, false when there is still none. */
interface Queued {
  readonly attempt: () => boolean;
  readonly reject: (error: Error) => void;
}

function tryOnce(queued: Queued): boolean {
  try {
    return queued.attempt();
  } catch (thrown) {
    queued.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
    return true;
  }
}

/** Texts below the length that draft.ts encodes at once are bounded at three bytes a unit. */
const roundingBytes = 1024 * 1024;

function partsOf(actors: readonly Actor[], drafts: readonly EventsDraft[]): PartDraft[] {
  const parts: PartDraft[] = [];
  let nextNumber = actors[0]?.shard.nextNumber ?? 0;
  for (const [index, actor] of actors.entries()) {
    const draft = drafts[index];
    if (draft === undefined || draft.entry.count === 0) continue;
    const isNew = actor.number === 0;
    parts.push({
      number: isNew ? nextNumber++ : actor.number,
      firstSeq: actor.tipSeq + 1,
      id: isNew ? actor.id : undefined,
      key: undefined,
      delivery: undefined,
      outcome: undefined,
      entry: draft.entry,
    });
  }
  return parts;
}

function meets(expect: Expect, seq: number): boolean {
  if (typeof expect === "number") return expect === seq;
  if (expect === "any") return true;
  return expect === "none" ? seq === 0 : seq > 0;
}

function guard(reject: (error: Error) => void, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    reject(toWarpError(thrown, "INVALID_ARGUMENT"));
  }
}
