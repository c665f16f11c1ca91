/**
 * Fits the engine to what the network needs of it (net/engine-port.ts).
 */
import type { Answer, EnginePort } from "./net/engine-port.ts";
import type { Warp } from "./warp.ts";

/** A context as the network sees it. */
export function enginePortOf(warp: Warp): EnginePort {
  return {
    context: warp.context,
    shards: warp.shards,
    node: warp.node,
    incarnation: warp.incarnation,
    aggregates: warp.aggregates,
    commands: warp.commands,

    append(entity, events, options, answer) {
      answerWith(answer, () => warp.entity(entity).appendBatch(events, options));
    },
    send(entity, command, input, options, answer) {
      answerWith(answer, () => warp.entity(entity).send(command, input, options));
    },
    state(entity, aggregate, at, answer) {
      answerWith(answer, async () => {
        const handle = warp.entity(entity);
        if (at === undefined) return await handle.snapshot(aggregate);
        return { seq: undefined, state: await handle.stateAt(at, aggregate) };
      });
    },
    seq(entity, answer) {
      answerWith(answer, () => warp.entity(entity).seq());
    },
    async *events(entity, query, stored) {
      const handle = warp.entity(entity);
      yield* stored ? handle.storedEvents(query) : handle.events(query);
    },
    async *entities(query) {
      yield* warp.entities(query);
    },
  };
}

/** Whatever `call` throws or rejects with goes to the answer. */
function answerWith<Result>(answer: Answer<Result>, call: () => Promise<Result>): void {
  try {
    call().then(
      (result) => answer.resolve(result),
      (error: unknown) => answer.reject(error),
    );
  } catch (thrown) {
    answer.reject(thrown);
  }
}
