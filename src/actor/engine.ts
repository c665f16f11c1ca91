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
import type { PartDraft } from "../core/append-record.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Journal, Turn } from "../journal/journal.ts";
import type { Actor } from "./actor.ts";
import { contentHashOf, findKeyed, rememberKeyed, repeatedResult } from "./caller-keys.ts";
import { draftEvents, emptyDraft, foldEvents } from "./draft.ts";
import type { Folding } from "./folding.ts";
import type { Reading } from "./reading.ts";
import type { Recorder } from "./recorder.ts";
import type { Appended, Expect, Rejected, SendResult } from "./results.ts";
import { Write, type WriteOptions } from "./write.ts";

export interface EngineParts {
  readonly folding: Folding;
  readonly recorder: Recorder;
  readonly reading: Reading;
  readonly journal: Journal<Write>;
  /** Deep-freezes states and event data, so that a program that changes them is found out. */
  readonly freeze: boolean;
  /** Hears of every durable turn, after its writes were answered. */
  readonly onDurable: (turn: Turn<Write>, use: number) => void;
  /** Hears of an actor with enough events for a snapshot. */
  readonly onSnapshotDue: (actor: Actor) => void;
  /** Called while writes wait for space in a tail: what is in it should be settled now. */
  readonly onStarved: () => void;
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
      let present = actors;
      const attempt = (): void => {
        const failed = present.find((actor) => actor.loadFailure !== undefined);
        if (failed?.loadFailure !== undefined) throw failed.loadFailure;
        present = this.#present(present);
        const waiting = present.find((actor) => actor.isWaiting);
        if (waiting !== undefined) {
          waiting.whenReady(() => guard(reject, attempt));
          return;
        }
        const ready = present;
        const queued = {
          attempt: () => this.#retryTogether(ready, attempt, decide, resolve, reject),
          reject,
        };
        if (this.#spaceQueue.length > 0 || !tryOnce(queued)) this.#queueForSpace(queued);
      };
      guard(reject, attempt);
    });
  }

  /** The actors themselves, or those that took the place of ones that have left memory, all resident at once. */
  #present(actors: readonly Actor[]): readonly Actor[] {
    let present = actors;
    for (;;) {
      for (const actor of present) actor.isRecent = true;
      const gone = present.find((actor) => !actor.isResident);
      if (gone === undefined) return present;
      const again = this.#parts.actorAgain(gone);
      present = present.map((actor) => (actor === gone ? again : actor));
    }
  }

  /** As {@link #performTogether}; begins again when an actor has left memory while it waited for space. */
  #retryTogether(
    actors: readonly Actor[],
    again: () => void,
    decide: (actors: readonly Actor[]) => readonly (readonly NewEvent[])[],
    resolve: (results: Appended[]) => void,
    reject: (error: Error) => void,
  ): boolean {
    const isReady = actors.every((actor) => actor.isResident && !actor.isWaiting);
    if (isReady) return this.#performTogether(actors, decide, resolve, reject);
    queueMicrotask(() => guard(reject, again));
    return true;
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
    if (this.#spaceQueue.length > 0) this.#parts.onStarved();
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
    if (this.#spaceQueue.length > 0) this.#parts.onStarved();
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
      this.#queueForSpace({ attempt: () => this.#retry(write), reject: write.reject });
    }
  }

  #queueForSpace(queued: Queued): void {
    this.#spaceQueue.push(queued);
    this.#parts.onStarved();
  }

  /** As {@link #attempt}, for a write that waited for space: meanwhile its actor may have left memory or wait itself. */
  #retry(write: Write): boolean {
    if (write.actor.isResident && !write.actor.isWaiting) return this.#attempt(write);
    this.#submit(write);
    return true;
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
      const { delivery, key, expect } = options;
      if (delivery !== undefined) {
        const done = actor.shard.deliveries.find(delivery, Date.now());
        if (done !== undefined) return this.#answer(write, { ...done, duplicate: true });
      }
      if (key !== undefined) {
        const known = findKeyed(write, key);
        if (known === "ask") return this.#askForKey(write, key);
        if (known !== undefined) return this.#answer(write, repeatedResult(write, key, known));
      }
      if (expect !== undefined && !meets(expect, actor.tipSeq)) {
        return this.#answer(write, { ok: false, reason: "conflict", seq: actor.tipSeq });
      }
    }
    if (write.command === undefined) return this.#appendEvents(write, write.events ?? []);
    return this.#decide(write, write.command);
  }

  #decide(write: Write, name: string): boolean {
    const { actor } = write;
    const { folding } = this.#parts;
    const command = folding.command(name);
    if (command === undefined) {
      throw new WarpError(
        "UNKNOWN_COMMAND",
        `no aggregate of this context has a command ${JSON.stringify(name)}`,
      );
    }
    const decision = command.decide(folding.stateOf(actor.tipStates, command.index), write.input, actor.id);
    if (!(decision instanceof Rejection)) return this.#appendEvents(write, decision);
    const { code, details } = decision;
    const seq = actor.tipSeq;
    const rejection: Rejected = { ok: false, reason: "rejected", code, details, seq, duplicate: false };
    if (write.options?.key === undefined) return this.#answer(write, rejection);
    return this.#appendOutcome(write, rejection);
  }

  #appendEvents(write: Write, events: readonly NewEvent[]): boolean {
    const { folding, recorder, freeze } = this.#parts;
    const { actor, options } = write;
    const { shard } = actor;
    const entry = draftEvents(folding, events);
    const { count } = entry;
    const firstSeq = actor.tipSeq + 1;
    if (count === 0) return this.#answer(write, appended(actor, 0, shard.nextPosition - 1));
    const recordedAt = recorder.now(shard);
    const states = foldEvents(folding, actor, events, recordedAt, freeze);
    const part = partOf(write, entry, undefined);
    write.position = recorder.record(actor, part, recordedAt);
    if (write.position === 0) return false;
    actor.tipSeq = firstSeq + count - 1;
    actor.tipStates = states;
    const result = appended(actor, count, write.position);
    if (options?.delivery !== undefined) shard.deliveries.remember(options.delivery, result);
    if (options?.key !== undefined) rememberKeyed(write, options.key, result, undefined);
    this.#complete(write, result);
    this.#noteSnapshotDue(actor);
    return true;
  }

  /** A rejection under a caller key is durable too, so that a repeat gets the same answer. */
  #appendOutcome(write: Write, rejection: Rejected): boolean {
    const { recorder } = this.#parts;
    const outcome = JSON.stringify(rejection);
    const part = partOf(write, emptyDraft, outcome);
    write.position = recorder.record(write.actor, part, recorder.now(write.actor.shard));
    if (write.position === 0) return false;
    rememberKeyed(write, write.options?.key ?? "", undefined, outcome);
    this.#complete(write, rejection);
    return true;
  }

  #noteSnapshotDue(actor: Actor): void {
    if (actor.isSnapshotDue || actor.tipSeq - actor.snapshotSeq < this.#parts.folding.snapshotEvery) return;
    actor.isSnapshotDue = true;
    this.#parts.onSnapshotDue(actor);
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
    const { folding, recorder, freeze } = this.#parts;
    const lists = decide(actors);
    const recordedAt = recorder.now(first.shard);
    const drafts = actors.map((_, index) => draftEvents(folding, lists[index] ?? []));
    const states = actors.map((actor, index) =>
      foldEvents(folding, actor, lists[index] ?? [], recordedAt, freeze),
    );
    const touched = actors.filter((_, index) => (drafts[index]?.count ?? 0) > 0);
    const parts = partsTogether(actors, drafts);
    const recorded = parts.length === 0 ? 0 : recorder.recordTogether(touched, parts, recordedAt);
    if (parts.length > 0 && recorded === 0) return false;
    const position = recorded === 0 ? first.shard.nextPosition - 1 : recorded;

    const results: Appended[] = [];
    for (const [index, actor] of actors.entries()) {
      const count = drafts[index]?.count ?? 0;
      actor.tipSeq += count;
      actor.tipStates = states[index] ?? actor.tipStates;
      results.push(appended(actor, count, position));
    }
    for (const [index, actor] of actors.entries()) {
      const done = index === actors.length - 1 ? () => resolve(results) : () => {};
      const write = new Write(actor, [], undefined, undefined, undefined, done, reject);
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

  /** Lets the actor wait until the disk has said whether the key is known; then the write comes back. */
  #askForKey(write: Write, key: string): true {
    const { actor } = write;
    const { shard } = actor;
    actor.suspend();
    const settled = shard.settledPosition;
    this.#parts.reading.key(shard.index, actor.number, key).then(
      (found) => {
        write.stored = found === undefined ? null : { ...found, position: settled };
        actor.resume(() => this.#enter(write));
      },
      (thrown) => {
        write.reject(toWarpError(thrown, "IO_ERROR"));
        actor.resume();
      },
    );
    return true;
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

/** The result of an append of `count` events that the actor's tip has taken in. */
function appended(actor: Actor, count: number, position: number): Appended {
  const seq = actor.tipSeq;
  const shard = actor.shard.index;
  return { ok: true, seq, firstSeq: seq - count + 1, count, duplicate: false, shard, position };
}

function partOf(write: Write, entry: PartDraft["entry"], outcome: string | undefined): PartDraft {
  const { actor, options } = write;
  const isNew = actor.number === 0;
  const key = options?.key;
  return {
    number: isNew ? actor.shard.nextNumber : actor.number,
    firstSeq: actor.tipSeq + 1,
    id: isNew ? actor.id : undefined,
    key: key === undefined ? undefined : { text: key, contentHash: contentHashOf(write) },
    delivery: options?.delivery,
    outcome,
    entry,
  };
}

function partsTogether(actors: readonly Actor[], drafts: readonly PartDraft["entry"][]): PartDraft[] {
  const parts: PartDraft[] = [];
  let nextNumber = actors[0]?.shard.nextNumber ?? 0;
  for (const [index, actor] of actors.entries()) {
    const entry = drafts[index];
    if (entry === undefined || entry.count === 0) continue;
    const isNew = actor.number === 0;
    const number = isNew ? nextNumber++ : actor.number;
    const id = isNew ? actor.id : undefined;
    const none = { key: undefined, delivery: undefined, outcome: undefined };
    parts.push({ number, firstSeq: actor.tipSeq + 1, id, ...none, entry });
  }
  return parts;
}

function meets(expect: Expect, seq: number): boolean {
  if (expect === "any") return true;
  if (expect === "none") return seq === 0;
  if (expect === "exists") return seq > 0;
  if (Number.isSafeInteger(expect) && expect >= 0) return expect === seq;
  throw new WarpError("INVALID_ARGUMENT", `expect is any, none, exists or a seq, not ${String(expect)}`);
}

function guard(reject: (error: Error) => void, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    reject(toWarpError(thrown, "INVALID_ARGUMENT"));
  }
}
