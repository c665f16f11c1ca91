/**
 * Appending to several entities of one shard at once: all of it or nothing.
 */
import type { Aggregate, StateOf } from "../aggregate/aggregate.ts";
import { outcomeProblem, Rejection } from "../aggregate/command.ts";
import { WarpError } from "../core/errors.ts";
import type { NewEvent } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Actor } from "./actor.ts";
import type { Engine } from "./engine.ts";
import type { Folding } from "./folding.ts";
import type { Residency } from "./residency.ts";
import type { Appended } from "./results.ts";

/** One of the entities, as the function given to `atomically` sees it. */
export class Participant {
  readonly id: string;
  /** Its newest seq. */
  readonly seq: number;
  readonly #folding: Folding;
  readonly #actor: Actor;
  readonly #events: NewEvent[] = [];

  constructor(folding: Folding, actor: Actor) {
    this.id = actor.id;
    this.seq = actor.tipSeq;
    this.#folding = folding;
    this.#actor = actor;
  }

  /** The state that the append decides on; the events appended here are not in it yet. */
  state<A extends Aggregate>(aggregate: A): StateOf<A>;
  state(aggregate?: string): unknown;
  state(aggregate?: Aggregate | string): unknown {
    return this.#folding.stateOf(this.#actor.tipStates, this.#folding.slotOf(aggregate));
  }

  append(...events: readonly NewEvent[]): void {
    this.#events.push(...events);
  }

  get events(): readonly NewEvent[] {
    return this.#events;
  }
}

export type TogetherResult =
  | { readonly ok: true; readonly results: readonly Appended[] }
  | { readonly ok: false; readonly reason: "rejected"; readonly code: string; readonly details: unknown };

// biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is the usual case.
type Decide = (participants: readonly Participant[]) => Rejection | undefined | void;

/**
 * Runs `decide` on all entities at one moment; what it appends to them becomes durable together. It may return
 * `reject(code)` to change nothing. Errors: CROSS_SHARD unless all ids are of one shard (share a `{tag}`); COMMAND_FAILED
 * when it throws or returns something else, such as the Promise of an async function: nothing is appended then.
 */
export async function together(
  parts: { readonly engine: Engine; readonly residency: Residency; readonly folding: Folding },
  ids: readonly string[],
  decide: Decide,
): Promise<TogetherResult> {
  const { engine, residency, folding } = parts;
  if (ids.length < 1 || ids.length > limits.appendPartsMax || new Set(ids).size !== ids.length) {
    throw new WarpError("INVALID_ARGUMENT", `atomically takes 1 to ${limits.appendPartsMax} different ids`);
  }
  const actors: Actor[] = [];
  try {
    for (const id of ids) {
      const actor = residency.actor(id);
      // Making the next one may drop idle actors, and these are about to be used.
      actor.holds++;
      actors.push(actor);
    }
    return await decideTogether(engine, folding, actors, decide);
  } finally {
    for (const actor of actors) actor.holds--;
  }
}

async function decideTogether(
  engine: Engine,
  folding: Folding,
  actors: readonly Actor[],
  decide: Decide,
): Promise<TogetherResult> {
  const shards = new Set(actors.map((actor) => actor.shard.index));
  if (shards.size > 1) {
    throw new WarpError(
      "CROSS_SHARD",
      "the entities are of different shards: give their ids a common {tag}",
      { ids: actors.map((actor) => actor.id) },
    );
  }
  let rejection: Rejection | undefined;
  const results = await engine.atomically(actors, (ready) => {
    const participants = ready.map((actor) => new Participant(folding, actor));
    const decided: unknown = decide(participants);
    const problem = outcomeProblem(decided);
    if (problem !== undefined)
      throw new WarpError("COMMAND_FAILED", `the function given to atomically ${problem}`);
    rejection = decided instanceof Rejection ? decided : undefined;
    // A rejection appends nothing and is answered like an append: not before what it was decided on is durable.
    return rejection === undefined ? participants.map((participant) => participant.events) : [];
  });
  if (rejection === undefined) return { ok: true, results };
  return { ok: false, reason: "rejected", code: rejection.code, details: rejection.details };
}
