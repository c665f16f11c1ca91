/**
 * Two projections of the same events: one that takes what they say of somebody else, and one that does not.
 */
import { defineProjection } from "warp";

export const addresses = defineProjection({
  name: "addresses",
  personal: true,
  tables: {
    address: {
      columns: { host: "text", seq: "integer", content: "text" },
      key: ["host", "seq"],
      subjects: ["host"],
    },
  },
  on: {
    Shipped: ({ entity, seq, personal }, { address }) =>
      address.insert({ host: entity, seq, content: JSON.stringify(personal ?? "none") }),
  },
});

export const parcels = defineProjection({
  name: "parcels",
  tables: {
    parcel: {
      columns: { host: "text", seq: "integer", customer: "text", has: "integer" },
      key: ["host", "seq"],
      subjects: ["host", "customer"],
    },
  },
  on: {
    Shipped: (event, { parcel }) =>
      parcel.insert({
        host: event.entity,
        seq: event.seq,
        customer: event.data.customer,
        has: "personal" in event ? 1 : 0,
      }),
  },
});
