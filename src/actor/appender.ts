/**
 * What a write does to its actor: deduplicate, check, decide, evolve, record. Admission and answers are engine.ts.
 *
 * - Work on one actor runs to its end without a break, in the order it arrived: nothing else decides in between.
 * - A write either appends all its events or changes nothing at all.
 * - `false` means that the tail is full: nothing has changed, and the write is to be tried again.
 */
import { Rejection } from "../aggregate/command.ts";
import { shortJson } from "../aggregate/json-data.ts";
import type { Delivery } from "../core/append-record.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import type { Journal } from "../journal/journal.ts";
import { type Actor, requireNotErased, requireTip, type States } from "./actor.ts";
import { contentHashOf, findKeyed, keyedOf, rememberKeyed, repeatedResult } from "./caller-keys.ts";
import type { SessionTime } from "./deliveries/session-time.ts";
import { draftEvents, emptyDraft, foldEvent, foldEvents, plainEvent, typeRef } from "./draft.ts";
import type { Folding } from "./folding.ts";
import { nameSubjects, recordNaming } from "./personal/naming.ts";
import type { Missing, Subjects } from "./personal/subjects.ts";
import { type Appended, appended, meets, type Rejected, type SendResult } from "./results.ts";
import type { Reading } from "./storage/reading.ts";
import { partOf, partsTogether } from "./storage/record-parts.ts";
import type { Recorder } from "./storage/recorder.ts";
import { type CommandCall, noteTip, textOf, Write } from "./write.ts";

export interface AppenderParts {
  readonly folding: Folding;
  readonly recorder: Recorder;
  readonly reading: Reading;
  readonly journal: Journal<Write>;
  readonly subjects: Subjects;
  readonly sessionTime: SessionTime;
  /** Deep-freezes states and event data, so that a program that changes them is found out. */
  readonly freeze: boolean;
  /** Hears of an actor with enough events for a snapshot. */
  readonly onSnapshotDue: (actor: Actor) => void;
  /** Hears of an actor whose states may have grown. */
  readonly onGrown: (actor: Actor) => void;
}

/** Chooses the events for several actors at one moment, a list for each; may throw to change nothing. */
export type DecideTogether = (actors: readonly Actor[]) => readonly (readonly NewEvent[])[];

export class Appender {
  readonly #parts: AppenderParts;
  readonly #sessionTime = (): number => this.#parts.sessionTime.now();
  /** Takes back a write that waited for the disk. */
  readonly #again: (write: Write) => void;
  /** Takes back a write whose actor went on meanwhile. */
  readonly #submit: (write: Write) => void;

  constructor(parts: AppenderParts, again: (write: Write) => void, submit: (write: Write) => void) {
    this.#parts = parts;
    this.#again = again;
    this.#submit = submit;
  }

  /** Errors: those of the write's own input; they leave everything as it was. */
  perform(write: Write): boolean {
    const { actor, options } = write;
    actor.isRecent = true;
    if (options !== undefined) {
      const { delivery, key, expect } = options;
      if (delivery !== undefined) {
        const now = this.#parts.recorder.now(actor.shard);
        const done = actor.shard.deliveries.find(delivery, now, this.#sessionTime);
        if (done === "ask") return this.#askForDelivery(write, delivery);
        if (done !== undefined) return this.#answer(write, { ...done, duplicate: true });
      }
      if (expect !== "none") requireNotErased(actor);
      if (key !== undefined) {
        const known = findKeyed(write, key);
        if (known === "ask") return this.#askForKey(write, key);
        if (known !== undefined) return this.#answer(write, repeatedResult(write, key, known));
      }
      if (expect !== undefined && !meets(expect, actor.tipSeq)) {
        return this.#answer(write, { ok: false, reason: "conflict", seq: actor.tipSeq });
      }
    } else {
      requireNotErased(actor);
    }
    if (write.command === undefined) return this.#appendEvents(write, write.events ?? []);
    return this.#decide(write, write.command);
  }

  /** Resolves when everything that the actor has recorded is durable. */
  whenDurable(actor: Actor): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const write = new Write(actor, undefined, undefined, undefined, { resolve, reject });
    this.#answer(write, appended(actor, 0, actor.tipPosition));
    return promise;
  }

  #decide(write: Write, { name, input }: CommandCall): boolean {
    const { actor } = write;
    const { folding } = this.#parts;
    const command = folding.command(name);
    if (command === undefined) {
      throw new WarpError(
        "UNKNOWN_COMMAND",
        `no aggregate of this context has a command ${JSON.stringify(name)}`,
      );
    }
    // Of what was asked: a repeat comes with that, whatever a command does to its input.
    if (write.options?.key !== undefined) contentHashOf(write);
    const tipSeq = actor.tipSeq;
    const decision = command.decide(folding.stateOf(actor.tipStates, command.index), input, actor.id);
    requireTip(actor, tipSeq, "COMMAND_FAILED");
    if (!(decision instanceof Rejection)) return this.#appendEvents(write, decision);
    const { code, details } = decision;
    const seq = actor.tipSeq;
    const rejection: Rejected = { ok: false, reason: "rejected", code, details, seq, duplicate: false };
    if (write.options?.key === undefined) return this.#answer(write, rejection);
    return this.#appendOutcome(write, rejection);
  }

  #appendEvents(write: Write, events: readonly NewEvent[]): boolean {
    const { folding, recorder, freeze, subjects } = this.#parts;
    const { actor, options } = write;
    const { shard } = actor;
    const only = actor.number === 0 || options?.key !== undefined ? undefined : plainEvent(events);
    // What a command decides has no text.
    const text = only === undefined ? undefined : shortJson(only.data, textOf(write));
    if (only !== undefined && text !== undefined) return this.#appendOne(write, only, text);
    const entry = draftEvents(folding, events, write.parsed);
    const { count } = entry;
    if (count === 0) {
      if (options?.key !== undefined) return this.#appendOutcome(write, undefined);
      return this.#answer(write, appended(actor, 0, shard.nextPosition - 1));
    }
    const naming = entry.personal === undefined ? undefined : nameSubjects(subjects, shard, [entry]);
    if (naming !== undefined && "ready" in naming) return this.#waitFor(write, naming);
    const recordedAt = recorder.now(shard);
    const tipSeq = actor.tipSeq;
    const states = foldEvents(folding, actor, events, recordedAt, freeze);
    const part = partOf(write, entry, undefined, naming);
    requireTip(actor, tipSeq, "EVOLVE_FAILED");
    write.position =
      naming === undefined
        ? recorder.record(actor, part, recordedAt)
        : recordNaming(recorder, naming, [actor], [part], recordedAt);
    if (write.position === 0) return false;
    this.#finishAppend(write, count, states);
    return true;
  }

  /** What nearly every append is, with as few objects as can be; `text` is that of {@link shortJson}. */
  #appendOne(write: Write, event: NewEvent, text: string): boolean {
    const { folding, recorder, freeze } = this.#parts;
    const { actor, options } = write;
    const { tipSeq } = actor;
    const type = typeRef(folding, event.type);
    const recordedAt = recorder.now(actor.shard);
    const states = foldEvent(folding, actor.id, actor.tipStates, tipSeq + 1, event, recordedAt, freeze);
    requireTip(actor, tipSeq, "EVOLVE_FAILED");
    const isList = textOf(write) !== undefined;
    write.position = recorder.recordOne(actor, type, text, isList, options?.delivery, recordedAt);
    if (write.position === 0) return false;
    this.#finishAppend(write, 1, states);
    return true;
  }

  /** Moves the tip over what was recorded, and lets the caller hear of it when it is durable. */
  #finishAppend(write: Write, count: number, states: States): void {
    const { actor, options } = write;
    const before = actor.tipSeq;
    actor.tipSeq = before + count;
    actor.tipStates = states;
    const result = appended(actor, count, write.position);
    if (options?.delivery !== undefined) actor.shard.deliveries.remember(options.delivery, result);
    if (options?.key !== undefined) rememberKeyed(write, options.key, result, undefined);
    this.#complete(write, result);
    this.#noteGrowth(actor, before);
  }

  /** A rejection under a caller key, or nothing to append, is durable too, so that a repeat gets the same answer. */
  #appendOutcome(write: Write, rejection: Rejected | undefined): boolean {
    const { recorder } = this.#parts;
    const outcome = rejection === undefined ? undefined : JSON.stringify(rejection);
    const part = partOf(write, emptyDraft, outcome, undefined);
    write.position = recorder.record(write.actor, part, recorder.now(write.actor.shard));
    if (write.position === 0) return false;
    rememberKeyed(write, write.options?.key ?? "", undefined, outcome);
    this.#complete(write, rejection ?? appended(write.actor, 0, write.position));
    return true;
  }

  /** After events behind the seq `before`. */
  #noteGrowth(actor: Actor, before: number): void {
    this.#noteSnapshotDue(actor);
    // When the events have doubled, then every 256th: one whose state is all of its events is never taken for less than half.
    const hasDoubled = Math.clz32(actor.tipSeq) !== Math.clz32(before);
    if (hasDoubled || actor.tipSeq <= 4 || actor.tipSeq >>> 8 !== before >>> 8) this.#parts.onGrown(actor);
  }

  #noteSnapshotDue(actor: Actor): void {
    if (actor.isSnapshotDue || actor.tipSeq - actor.snapshotSeq < this.#parts.folding.snapshotEvery) return;
    actor.isSnapshotDue = true;
    this.#parts.onSnapshotDue(actor);
  }

  /** As {@link perform}, for several actors at once. */
  performTogether(
    actors: readonly Actor[],
    decide: DecideTogether,
    resolve: (results: Appended[]) => void,
    reject: (error: Error) => void,
    again: () => void,
  ): boolean {
    const first = actors[0];
    const unloaded = actors.find((actor) => actor.loadFailure !== undefined);
    if (unloaded?.loadFailure !== undefined) throw unloaded.loadFailure;
    if (first === undefined) throw new WarpError("INVALID_ARGUMENT", "atomically needs at least one entity");
    for (const actor of actors) requireNotErased(actor);
    const { folding, recorder, freeze, subjects } = this.#parts;
    const tipSeqs = actors.map((actor) => actor.tipSeq);
    const lists = decideFor(actors, decide);
    const recordedAt = recorder.now(first.shard);
    const drafts = actors.map((_, index) => draftEvents(folding, lists[index] ?? []));
    const naming = nameSubjects(subjects, first.shard, drafts);
    if (naming !== undefined && "ready" in naming) {
      naming.ready.then(again, reject);
      return true;
    }
    const states = actors.map((actor, index) =>
      foldEvents(folding, actor, lists[index] ?? [], recordedAt, freeze),
    );
    const touched = actors.filter((_, index) => (drafts[index]?.count ?? 0) > 0);
    const parts = partsTogether(actors, drafts, naming);
    for (const [index, actor] of actors.entries()) requireTip(actor, tipSeqs[index] ?? 0, "COMMAND_FAILED");
    const record = (): number =>
      naming === undefined
        ? recorder.recordTogether(touched, parts, recordedAt)
        : recordNaming(recorder, naming, touched, parts, recordedAt);
    const recorded = parts.length === 0 ? 0 : record();
    if (parts.length > 0 && recorded === 0) return false;
    const position = recorded === 0 ? first.shard.nextPosition - 1 : recorded;

    const results: Appended[] = [];
    for (const [index, actor] of actors.entries()) {
      const count = drafts[index]?.count ?? 0;
      actor.tipSeq += count;
      // Any value is a state, null too.
      actor.tipStates = states[index];
      results.push(appended(actor, count, position));
    }
    const writes = actors.map((actor, index) => {
      const done = index === actors.length - 1 ? () => resolve(results) : () => {};
      const write = new Write(actor, [], undefined, undefined, { resolve: done, reject });
      write.position = position;
      noteTip(write);
      write.result = results[index];
      return write;
    });
    // One turn for all, so that nobody sees one entity with it and another without.
    this.#parts.journal.completeTogether(writes);
    for (const [index, actor] of actors.entries()) this.#noteGrowth(actor, tipSeqs[index] ?? 0);
    return true;
  }

  /** Rejects a write, once what it was refused for is durable; appends nothing. */
  refuse(write: Write, error: WarpError): void {
    const { actor } = write;
    if (actor.tipPosition <= actor.shard.committedPosition) {
      write.answer.reject(error);
      return;
    }
    write.error = error;
    write.position = 0;
    noteTip(write);
    this.#parts.journal.complete(write);
  }

  #complete(write: Write, result: SendResult): void {
    write.result = result;
    noteTip(write);
    this.#parts.journal.complete(write);
  }

  /** Answers without appending, once what the answer was computed from is durable. */
  #answer(write: Write, result: SendResult): boolean {
    const { actor } = write;
    if (actor.tipPosition <= actor.shard.committedPosition) {
      write.answer.resolve(result);
    } else {
      this.#complete(write, result);
    }
    return true;
  }

  /** Performs the write again when its subjects can be named. */
  #waitFor(write: Write, { ready, suspends }: Missing): true {
    const { actor, answer } = write;
    if (suspends) actor.suspend();
    else actor.holds++;
    const go = (work?: () => void) => {
      if (suspends) return actor.resume(work);
      actor.holds--;
      work?.();
    };
    ready.then(
      () => go(() => (suspends ? this.#again : this.#submit)(write)),
      (thrown) => {
        answer.reject(toWarpError(thrown, "IO_ERROR"));
        go();
      },
    );
    return true;
  }

  /** Lets the actor wait until what its shard's file has of the session is known again; then the write comes back. */
  #askForDelivery(write: Write, delivery: Delivery): true {
    const { actor } = write;
    const { shard } = actor;
    actor.suspend();
    shard.deliveries
      .recall(delivery, () => this.#parts.reading.window(shard.index, delivery))
      .then(
        () => actor.resume(() => this.#again(write)),
        (thrown) => {
          write.answer.reject(toWarpError(thrown, "IO_ERROR"));
          actor.resume();
        },
      );
    return true;
  }

  /** Lets the actor wait until the disk has said whether the key is known; then the write comes back. */
  #askForKey(write: Write, key: string): true {
    const { actor } = write;
    const { shard } = actor;
    actor.suspend();
    this.#parts.reading.key(shard.index, actor.number, key).then(
      (found) => {
        // Behind a start the question waits until what the journal held is settled: only now the result is sure to be before this.
        const position = shard.settledPosition;
        const keyed = keyedOf(write);
        keyed.stored = found === undefined ? null : { ...found, position };
        keyed.askedAt = actor.tipPosition;
        actor.resume(() => this.#again(write));
      },
      (thrown) => {
        write.answer.reject(toWarpError(thrown, "IO_ERROR"));
        actor.resume();
      },
    );
    return true;
  }
}

function decideFor(actors: readonly Actor[], decide: DecideTogether): ReturnType<DecideTogether> {
  try {
    return decide(actors);
  } catch (thrown) {
    if (thrown instanceof WarpError) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new WarpError("COMMAND_FAILED", `the function given to atomically threw: ${why}`, {}, thrown);
  }
}
