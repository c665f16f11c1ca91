/**
 * The aggregate that `warp bench` drives, built in so that a server or a directory can have it too: `--app warp:bench`.
 */
import { type Aggregate, defineAggregate } from "./aggregate.ts";

export interface PaymentData {
  readonly cents: number;
  /** Events that are asked to be very small have no more than the cents. */
  readonly ref?: string;
  /** ms since 1970. */
  readonly at?: number;
  readonly note?: string;
}

/** Counts and sums payments; what makes a state, and checks that nothing was lost. */
export const ledger: Aggregate<{ count: number; cents: number }> = defineAggregate({
  name: "ledger",
  initialState: { count: 0, cents: 0 },
  evolve: {
    Paid: (state, { data }: { data: PaymentData }) => ({
      count: state.count + 1,
      cents: state.cents + data.cents,
    }),
  },
});
