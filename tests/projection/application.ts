/**
 * The application of the projection tests: purses, and what is derived from them.
 */
import { defineAggregate, defineProjection } from "warp";

type PurseEvent =
  | { type: "Paid"; data: { cents: number; to?: string; day?: string } }
  | { type: "Named"; data: { name: string } }
  | { type: "Broken"; data: { why: string } };

export const purse = defineAggregate({
  name: "purse",
  initialState: { cents: 0 },
  evolve: {
    Paid: (state, { data }) => ({ cents: state.cents + data.cents }),
    Named: (state) => state,
    Broken: (state) => state,
  },
});

export const totals = defineProjection<PurseEvent>()({
  name: "totals",
  tables: {
    total: {
      columns: { purse: "text", cents: "integer", payments: "integer", name: "text?" },
      key: ["purse"],
      subjects: ["purse"],
    },
  },
  on: {
    Paid: ({ entity, data }, { total }) => total.add({ purse: entity }, { cents: data.cents, payments: 1 }),
    Named: ({ entity, data }, { total }) => {
      total.add({ purse: entity }, {});
      total.update({ purse: entity }, { name: data.name });
    },
    Broken: ({ data }) => {
      if (data.why !== "mended") throw new Error(data.why);
    },
  },
});

export const payments = defineProjection<PurseEvent>()({
  name: "payments",
  tables: {
    payment: {
      columns: { purse: "text", seq: "integer", cents: "integer", receiver: "text?", day: "text?" },
      key: ["purse", "seq"],
      subjects: ["purse", "receiver"],
      indexes: [["day"]],
    },
  },
  views: {
    statement:
      "SELECT p.purse, p.seq, p.cents, t.cents AS total FROM payment p JOIN total t ON t.purse = p.purse",
  },
  on: {
    Paid: ({ entity, seq, data }, { payment }) =>
      payment.insert({
        purse: entity,
        seq,
        cents: data.cents,
        receiver: data.to ?? null,
        day: data.day ?? null,
      }),
  },
});

export const volume = defineProjection<PurseEvent>()({
  name: "volume",
  tables: {
    volume: { columns: { day: "text", cents: "integer" }, key: ["day"], shared: true, onErase: "rebuild" },
  },
  on: {
    Paid: ({ data }, { volume }) => volume.add({ day: data.day ?? "none" }, { cents: data.cents }),
  },
});
