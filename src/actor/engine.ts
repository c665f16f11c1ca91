/**
 * Admission and answers: which writes are let in, and when their callers hear of them. What they do is appender.ts.
 *
 * - No reply leaves before everything it was computed from is durable.
 * - What finds the tail full waits in one queue, in order; nothing overtakes it.
 * - After a failure nothing is accepted; what was under way is answered OUTCOME_UNKNOWN.
 */

import { toWarpError, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { Turn } from "../journal/journal.ts";
import type { Actor } from "./actor.ts";
import { Appender, type AppenderParts, type DecideTogether } from "./appender.ts";
import type { Appended } from "./results.ts";
import { type Erased, Eraser, type EraserParts, type Erasing } from "./storage/eraser.ts";
import type { Answer, Write } from "./write.ts";

export interface EngineParts extends AppenderParts, EraserParts {
  /** Hears of every durable turn, after its writes were answered. */
  readonly onDurable: (turn: Turn<Write>, use: number) => void;
  /** Hears of a record that was begun and not finished. */
  readonly onBroken: (error: WarpError) => void;
  /** Called while writes wait for space in a tail: what is in it should be settled now. */
  readonly onStarved: () => void;
  /** The actor of the same entity, when a write met one that has left memory. */
  readonly actorAgain: (actor: Actor) => Actor;
}

export class Engine {
  readonly #parts: EngineParts;
  readonly #appender: Appender;
  readonly #eraser: Eraser;
  /** Writes that found the tail full, oldest first. */
  #spaceQueue: Queued[] = [];
  /** Calls that wait in the mailboxes of actors. */
  #inMailboxes = 0;
  #isDraining = false;
  #failure: WarpError | undefined;
  #closing: WarpError | undefined;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#eraser = new Eraser(parts);
    this.#appender = new Appender(
      parts,
      (write) => this.#enter(write),
      (write) => this.submit(write),
    );
  }

  /** Calls that are not answered yet. */
  get pending(): number {
    return this.underWay + this.#inMailboxes;
  }

  /** Those of them that wait for the journal or for space in a tail, and not for the disk to load an entity. */
  get underWay(): number {
    return this.#parts.journal.pending + this.#spaceQueue.length;
  }

  get failure(): WarpError | undefined {
    return this.#failure;
  }

  /**
   * Runs `decide` once all actors are ready and appends what it returns, one list per actor, as one record. The
   * actors are of one shard. `decide` may throw to change nothing.
   */
  atomically(actors: readonly Actor[], decide: DecideTogether): Promise<Appended[]> {
    return new Promise((resolve, reject) => {
      const answer = { reject };
      const attempt = (): boolean => {
        const refusal = this.#refusal() ?? actors.find((actor) => actor.loadFailure)?.loadFailure;
        if (refusal !== undefined) throw refusal;
        const waiting = actors.find((actor) => actor.isWaiting);
        const again = () => this.#performInTurn({ attempt, answer });
        if (waiting !== undefined) {
          this.#waitFor(waiting, again);
          return true;
        }
        try {
          return this.#appender.performTogether(actors, decide, resolve, reject, again);
        } catch (thrown) {
          this.#refuseTogether(actors, thrown, reject);
          return true;
        }
      };
      if (this.pending >= limits.pendingMax) reject(overloaded());
      else this.#performInTurn({ attempt, answer });
    });
  }

  /** Rejects, once everything that the actors have recorded, and the error may be about, is durable. */
  #refuseTogether(actors: readonly Actor[], thrown: unknown, reject: (error: Error) => void): void {
    const error = toWarpError(thrown, "INVALID_ARGUMENT");
    const durable = Promise.all(actors.map((actor) => this.whenDurable(actor)));
    durable.then(() => reject(error), reject);
    this.#failIfBroken(thrown);
  }

  /** Records erasures in one turn, once all their actors are ready; resolves when that is durable. */
  erase(erasures: readonly Erasing[]): Promise<Erased[]> {
    return new Promise((resolve, reject) => {
      const actors = erasures.map(({ actor }) => actor);
      for (const actor of actors) actor.holds++;
      const release = () => {
        for (const actor of actors.splice(0)) actor.holds--;
      };
      const answer: Answer<Erased[]> = {
        resolve: (erased) => {
          release();
          resolve(erased);
        },
        reject: (error) => {
          release();
          reject(error);
        },
      };
      const attempt = (): boolean => {
        const refusal = this.#refusal();
        if (refusal !== undefined) throw refusal;
        const waiting = actors.find((actor) => actor.isWaiting);
        if (waiting === undefined) return this.#eraser.erase(erasures, answer);
        this.#waitFor(waiting, () => this.#performInTurn({ attempt, answer }));
        return true;
      };
      this.#performInTurn({ attempt, answer });
    });
  }

  /** Resolves when everything that the actor has recorded is durable. */
  whenDurable(actor: Actor): Promise<unknown> {
    return this.#appender.whenDurable(actor);
  }

  /** Answers what is durable by now, while the caller goes on with its own work. */
  poll(): void {
    this.#parts.journal.poll();
  }

  /** A read for somebody beyond this process is being served. */
  noteRead(): void {
    this.#parts.journal.noteRead();
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
    for (const write of unacknowledged) write.answer.reject(unknown);
    for (const queued of this.#spaceQueue.splice(0)) queued.answer.reject(this.#refusal() ?? unknown);
  }

  /** Called by the journal, in the order of the turns. */
  acknowledge(turn: Turn<Write>, use: number): void {
    const { completions } = turn;
    // Actors are cold in the processor's caches by now; with nothing in between, it fetches several at a time.
    for (let i = 0; i < completions.length; i++) {
      const write = completions[i];
      if (write === undefined) continue;
      const { actor } = write;
      actor.committedSeq = write.seq;
      actor.committedStates = write.states;
      if (write.position > 0) actor.shard.committedPosition = write.position;
    }
    // What was under way when the engine failed has been answered then.
    for (let i = this.#failure === undefined ? 0 : completions.length; i < completions.length; i++) {
      const write = completions[i];
      if (write === undefined) continue;
      if (write.result !== undefined) write.answer.resolve(write.result);
      else if (write.error !== undefined) write.answer.reject(write.error);
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
      if (queued === undefined || !this.#tryOnce(queued)) break;
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

  /** Performs the write and answers it when that is durable. Never throws. */
  submit(write: Write): void {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      write.answer.reject(refusal);
    } else if (this.pending >= limits.pendingMax) {
      write.answer.reject(overloaded());
    } else if (write.actor.isWaiting || !write.actor.isResident) {
      guard(write.answer, () => {
        if (!write.actor.isResident) write.actor = this.#parts.actorAgain(write.actor);
        this.#waitFor(write.actor, () => this.#enter(write));
      });
    } else {
      this.#enter(write);
    }
  }

  /** Runs `work`, which does not throw, when the actor is ready. Errors: OVERLOADED when its mailbox is full. */
  #waitFor(actor: Actor, work: () => void): void {
    actor.whenReady(() => {
      this.#inMailboxes--;
      work();
    });
    this.#inMailboxes++;
  }

  #enter(write: Write): void {
    const refusal = this.#refusal() ?? write.actor.loadFailure;
    if (refusal !== undefined) write.answer.reject(refusal);
    else if (this.#spaceQueue.length > 0 || !this.#attempt(write)) this.#waitForSpace(write);
  }

  #waitForSpace(write: Write): void {
    const { actor, answer } = write;
    actor.holds++;
    const attempt = (): boolean => {
      // Meanwhile it may have begun to wait for the disk; what comes behind this write then waits in its mailbox too.
      if (actor.isWaiting) guard(answer, () => this.#waitFor(actor, () => this.#enter(write)));
      // … and may have left memory because it could not be read again.
      else if (actor.loadFailure !== undefined) answer.reject(actor.loadFailure);
      else if (!this.#attempt(write)) return false;
      actor.holds--;
      return true;
    };
    this.#queueForSpace({ attempt, answer });
  }

  /** Runs it now, or behind what waits for space already. */
  #performInTurn(queued: Queued): void {
    if (this.#spaceQueue.length > 0 || !this.#tryOnce(queued)) this.#queueForSpace(queued);
  }

  #queueForSpace(queued: Queued): void {
    this.#spaceQueue.push(queued);
    this.#parts.onStarved();
  }

  /** False when there is no space; nothing has changed then. */
  #attempt(write: Write): boolean {
    try {
      return this.#appender.perform(write);
    } catch (thrown) {
      const error = toWarpError(thrown, "INVALID_ARGUMENT");
      this.#appender.refuse(write, error);
      this.#failIfBroken(thrown);
      return true;
    }
  }

  #tryOnce(queued: Queued): boolean {
    try {
      return queued.attempt();
    } catch (thrown) {
      queued.answer.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
      this.#failIfBroken(thrown);
      return true;
    }
  }

  /** An error of the caller is the caller's; one in the middle of a record ends the engine. */
  #failIfBroken(thrown: unknown): void {
    const { recorder, onBroken } = this.#parts;
    if (recorder.isBroken) onBroken(toWarpError(thrown, "ENGINE_FAILED"));
  }
}

function overloaded(): WarpError {
  return new WarpError("OVERLOADED", "too many calls wait for the disk", { limit: "pendingMax" });
}

/** What waits for space in a tail: true when it is done, false when there is still none. */
interface Queued {
  readonly attempt: () => boolean;
  readonly answer: Pick<Answer<never>, "reject">;
}

function guard(answer: Pick<Answer<never>, "reject">, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    answer.reject(toWarpError(thrown, "INVALID_ARGUMENT"));
  }
}
