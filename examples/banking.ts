/**
 * Bank accounts: one entity per account, with a balance that may fall to an agreed overdraft and no further.
 *
 * - Amounts are whole cents. The overdraft rule needs no lock: the actor decides one command after the other.
 * - What a bank asks across accounts are projections: the balances, the statement of an account, the volume of a day.
 * - Run it with `warp serve --app banking.ts`; its specification is banking.test.ts.
 *
 *   warp query "SELECT owner, cents FROM accounts ORDER BY cents DESC LIMIT 10"
 *   warp query "SELECT * FROM statement WHERE account = ? ORDER BY seq" --param alice
 */
import { defineAggregate, defineProjection, type ProjectedEvent, reject, type Tables } from "warp";

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

/** Who has what. */
export const accounts = defineProjection<AccountEvent>()({
  name: "accounts",
  tables: {
    accounts: {
      columns: { account: "text", owner: "text", cents: "integer", status: "text" },
      key: ["account"],
      subjects: ["account"],
      indexes: [["owner"]],
    },
  },
  on: {
    Opened: ({ entity, data }, { accounts }) =>
      accounts.insert({ account: entity, owner: data.owner, cents: 0, status: "open" }),
    Credited: ({ entity, data }, { accounts }) => accounts.add({ account: entity }, { cents: data.cents }),
    Debited: ({ entity, data }, { accounts }) => accounts.add({ account: entity }, { cents: -data.cents }),
    Closed: ({ entity }, { accounts }) => accounts.update({ account: entity }, { status: "closed" }),
  },
});

const movementTables = {
  movements: {
    columns: { account: "text", seq: "integer", day: "text", cents: "integer", ref: "text" },
    key: ["account", "seq"],
    subjects: ["account"],
  },
  account_days: {
    columns: { account: "text", day: "text", cents: "integer", movements: "integer" },
    key: ["account", "day"],
    subjects: ["account"],
    indexes: [["day"]],
  },
} as const;

/**
 * Every movement, and what is made of them: the statement of an account joins them with the accounts, the volume of a day
 * adds up what each account moved on it. A volume per account and day goes with the account when it is erased.
 */
export const movements = defineProjection<AccountEvent>()({
  name: "movements",
  tables: movementTables,
  views: {
    statement: `SELECT a.owner, m.account, m.seq, m.day, m.ref, m.cents,
        sum(m.cents) OVER (PARTITION BY m.account ORDER BY m.seq) AS balance
      FROM movements m JOIN accounts a ON a.account = m.account`,
    daily_volume: `SELECT day, sum(cents) AS cents, sum(movements) AS movements, count(*) AS accounts
      FROM account_days GROUP BY day`,
  },
  on: {
    Credited: (event, tables) => move(event, tables, event.data.cents),
    Debited: (event, tables) => move(event, tables, -event.data.cents),
  },
});

function move(
  { entity, seq, data, recordedAt, occurredAt }: ProjectedEvent<string, Movement>,
  { movements, account_days }: Tables<typeof movementTables>,
  cents: number,
): void {
  const day = new Date(occurredAt ?? recordedAt).toISOString().slice(0, 10);
  movements.insert({ account: entity, seq, day, cents, ref: data.ref });
  account_days.add({ account: entity, day }, { cents: Math.abs(cents), movements: 1 });
}

export const aggregates = [account];
