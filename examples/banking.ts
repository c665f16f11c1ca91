/**
 * Bank accounts: one entity per account, with a balance that may fall to an agreed overdraft and no further.
 *
 * - Amounts are whole cents. The overdraft rule needs no lock: the actor decides one command after the other.
 * - Run it with `warp serve --app banking.ts`; its specification is banking.test.ts.
 */
import { defineAggregate, reject } from "warp";

export type AccountEvent =
  | { type: "Opened"; data: { owner: string; overdraftCents: number } }
  | { type: "Credited"; data: { cents: number; ref: string } }
  | { type: "Debited"; data: { cents: number; ref: string } }
  | { type: "Closed"; data: { reason: string } };

export interface AccountState {
  readonly status: "new" | "open" | "closed";
  readonly owner: string;
  readonly cents: number;
  /** How far below zero the balance may fall. */
  readonly overdraftCents: number;
}

const initialState: AccountState = { status: "new", owner: "", cents: 0, overdraftCents: 0 };

/** Money that moves: whole cents above zero, and what it is for. */
interface Movement {
  readonly cents: number;
  readonly ref: string;
}

/** Why no money may move now; undefined when it may. */
function refusal(state: AccountState, { cents }: Movement) {
  if (state.status !== "open") return reject("NOT_OPEN", { status: state.status });
  if (!Number.isSafeInteger(cents) || cents <= 0) return reject("INVALID_AMOUNT", { cents: String(cents) });
  return undefined;
}

export const account = defineAggregate<AccountEvent>()({
  name: "account",
  version: 1,
  initialState,
  evolve: {
    Opened: (state, { data }) => ({ ...state, ...data, status: "open" }),
    Credited: (state, { data }) => ({ ...state, cents: state.cents + data.cents }),
    Debited: (state, { data }) => ({ ...state, cents: state.cents - data.cents }),
    Closed: (state) => ({ ...state, status: "closed" }),
  },
  commands: {
    open: (state, { owner, overdraftCents = 0 }: { owner: string; overdraftCents?: number }) => {
      if (state.status !== "new") return reject("ALREADY_OPENED", { status: state.status });
      if (!Number.isSafeInteger(overdraftCents) || overdraftCents < 0) return reject("INVALID_OVERDRAFT");
      return { type: "Opened", data: { owner, overdraftCents } };
    },
    credit: (state, { cents, ref }: Movement) =>
      refusal(state, { cents, ref }) ?? { type: "Credited", data: { cents, ref } },
    debit: (state, { cents, ref }: Movement) => {
      const refused = refusal(state, { cents, ref });
      if (refused !== undefined) return refused;
      const have = state.cents + state.overdraftCents;
      return cents > have
        ? reject("INSUFFICIENT_FUNDS", { have })
        : { type: "Debited", data: { cents, ref } };
    },
    close: (state, { reason }: { reason: string }) => {
      if (state.status === "closed") return undefined;
      if (state.status === "new") return reject("NOT_OPEN", { status: state.status });
      if (state.cents !== 0) return reject("NOT_EMPTY", { cents: state.cents });
      return { type: "Closed", data: { reason } };
    },
  },
});

export const aggregates = [account];
