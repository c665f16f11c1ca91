/**
 * Recording erasures. Actors that are erased take no calls until that is durable; then they are as if never written to.
 */
import type { Journal } from "../../journal/journal.ts";
import type { Actor } from "../actor.ts";
import type { Folding } from "../folding.ts";
import { recordNaming } from "../personal/naming.ts";
import { appended } from "../results.ts";
import { type Answer, noteTip, Write } from "../write.ts";
import type { Recorder } from "./recorder.ts";

export interface EraserParts {
  readonly folding: Folding;
  readonly recorder: Recorder;
  readonly journal: Journal<Write>;
  /** Hears of an erasure that is durable, before its turn is given to be settled. */
  readonly onErased: (actor: Actor, number: number) => void;
}

/** What is to be erased: an entity, or the number of a subject, of which `events` are the parts. */
export interface Erasing {
  readonly actor: Actor;
  readonly events?: number | undefined;
  /** True for a subject that its shard may not know yet: her number is made, to be erased. */
  readonly isMade?: boolean;
  readonly reason: string;
  readonly by: string;
  /** Throws when it may not be erased after all; called in the turn in which that is recorded. */
  readonly requireErasable?: () => void;
}

/** An entity that is erased, durably. Number and position are 0 when there was nothing to erase. */
export interface Erased {
  readonly number: number;
  readonly position: number;
  readonly events: number;
  readonly erasedAt: number;
}

export class Eraser {
  readonly #parts: EraserParts;

  constructor(parts: EraserParts) {
    this.#parts = parts;
  }

  /**
   * Records erasures, all of them in one turn: they are durable together. Nothing more is done for the actors until they are.
   * Answers in the order of what was given.
   */
  erase(erasures: readonly Erasing[], answer: Answer<Erased[]>): boolean {
    const { recorder, journal } = this.#parts;
    // Its number and seq are all that is needed of it.
    const unknown = erasures.find(({ actor }) => actor.loadFailure !== undefined && actor.number === 0);
    if (unknown?.actor.loadFailure !== undefined) throw unknown.actor.loadFailure;
    for (const { requireErasable } of erasures) requireErasable?.();
    if (!this.#make(erasures)) return false;
    const drafts = erasures.map(({ actor, events = actor.tipSeq, reason, by }) => {
      return { id: actor.id, events, erasedAt: recorder.now(actor.shard), reason, by };
    });
    const due = erasures.flatMap(({ actor }, i) => {
      const draft = drafts[i];
      return actor.number === 0 || draft === undefined ? [] : [{ actor, draft }];
    });
    const recorded = recorder.recordErasures(due);
    if (recorded === undefined) return false;
    const positions = new Map(due.map(({ actor }, i) => [actor, recorded[i]]));
    const erased = erasures.map(({ actor }, i) => {
      const { events = 0, erasedAt = 0 } = drafts[i] ?? {};
      return { number: actor.number, position: positions.get(actor) ?? 0, events, erasedAt };
    });
    if (due.length === 0) answer.resolve(erased);
    let left = due.length;
    const writes = due.map(({ actor, draft }, i) => {
      const resolve = () => {
        this.#forget(actor, draft.erasedAt);
        if (--left === 0) answer.resolve(erased);
      };
      const reject = (error: Error) => {
        answer.reject(error);
        queueMicrotask(() => actor.resume());
      };
      const write = new Write(actor, undefined, undefined, undefined, { resolve, reject });
      write.position = recorded[i] ?? 0;
      write.result = appended(actor, 0, write.position);
      noteTip(write);
      actor.suspend();
      return write;
    });
    // Whatever the durability: shards settle it one by one, and what one of them has erased is to be erased in all.
    journal.completeTogether(writes, true);
    return true;
  }

  /** False when a tail is full. */
  #make(erasures: readonly Erasing[]): boolean {
    const { recorder, journal } = this.#parts;
    for (const { actor, isMade = false } of erasures) {
      if (!isMade || actor.number > 0) continue;
      const naming = { subjects: [actor], fresh: [actor], nextNumber: actor.shard.nextNumber };
      const position = recordNaming(recorder, naming, [], [], recorder.now(actor.shard));
      if (position === 0) return false;
      // The shard is durable up to here when its turn is, also if the erasure comes in a later one.
      const write = new Write(actor, undefined, undefined, undefined, {
        resolve: () => {},
        reject: () => {},
      });
      write.position = position;
      write.result = appended(actor, 0, position);
      noteTip(write);
      journal.complete(write);
    }
    return true;
  }

  /** The erasure of what the actor stood for is durable. */
  #forget(actor: Actor, erasedAt: number): void {
    const { folding, onErased } = this.#parts;
    const { number } = actor;
    actor.forget(folding.initialStates(), erasedAt);
    actor.shard.erased.add(actor.id, erasedAt);
    onErased(actor, number);
    queueMicrotask(() => actor.resume());
  }
}
