/**
 * Waiting for work or for something that may come at any time and mostly never does: a failure, the end of a context.
 *
 * `Promise.race` adds a reaction to each promise that it is given, and a promise keeps its reactions, and what they refer to, until
 * it is settled. One that lasts as long as a process would keep everything that was ever waited for beside it.
 */

/** By lasting promise, who waits; undefined once it is settled. */
const waiting = new WeakMap<Promise<unknown>, Set<() => void> | undefined>();

/** As `Promise.race([work, lasting])`; `lasting` keeps nothing of it once the work is done. */
export function raceLasting<Result, Value>(
  work: Promise<Result>,
  lasting: Promise<Value>,
): Promise<Result | Value> {
  const others = waitingFor(lasting);
  if (others === undefined) return Promise.race([lasting, work]);
  return new Promise((resolve, reject) => {
    const settled = () => {
      lasting.then(resolve, reject);
    };
    others.add(settled);
    const forget = () => {
      others.delete(settled);
    };
    work.then(resolve, reject).finally(forget);
  });
}

function waitingFor(lasting: Promise<unknown>): Set<() => void> | undefined {
  if (waiting.has(lasting)) return waiting.get(lasting);
  const all = new Set<() => void>();
  waiting.set(lasting, all);
  const settled = () => {
    waiting.set(lasting, undefined);
    for (const one of all) one();
  };
  lasting.then(settled, settled);
  return all;
}
