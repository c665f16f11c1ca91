/**
 * What folding costs beside the application's own functions: run it with `bun bench/fold.ts`. The first two lines
 * call the handler directly; the plan's share is the difference to them.
 */
import { bench, do_not_optimize, run, summary } from "mitata";
import { defineAggregate, type FoldEvent } from "../src/aggregate/aggregate.ts";
import { compileAggregates } from "../src/aggregate/fold.ts";

const credited = (state: { cents: number }, { data }: { data: { cents: number } }) => ({
  cents: state.cents + data.cents,
});
const define = (name: string) =>
  defineAggregate({
    name,
    initialState: { cents: 0 },
    evolve: { Credited: credited, Noted: (state) => state },
  });

const one = compileAggregates([define("a")]);
const three = compileAggregates([define("a"), define("b"), define("c")]);
const documents = compileAggregates([]);
const events: FoldEvent[] = Array.from({ length: 1024 }, (_, i) => ({
  entity: "alice",
  seq: i + 1,
  type: "Credited",
  data: { cents: i, ref: `salary-${i}` },
  recordedAt: 1e12 + i,
}));
const noted = events.map((event) => ({ ...event, type: "Noted" }));

function folding(plan: typeof one, of: readonly FoldEvent[], lookUp: boolean): () => void {
  let states = plan.initialStates();
  let next = 0;
  const handlers = plan.handlersOf(of[0]?.type ?? "");
  return () => {
    const event = of[next++ & 1023];
    if (event !== undefined) states = lookUp ? plan.fold(states, event) : plan.fold(states, event, handlers);
    do_not_optimize(states);
  };
}

summary(() => {
  let state = { cents: 0 };
  let next = 0;
  bench("the handler alone", () => {
    const event = events[next++ & 1023];
    if (event !== undefined) state = credited(state, event as FoldEvent<string, { cents: number }>);
    do_not_optimize(state);
  });
  bench("fold, handlers looked up once", folding(one, events, false));
  bench("fold, handlers looked up each time", folding(one, events, true));
  bench("fold, state unchanged", folding(one, noted, false));
  bench("fold, three aggregates", folding(three, events, false));
  bench("fold, document", folding(documents, events, false));
});

await run();
