/**
 * Reading pushes of every kind (docs/protocol.md).
 */
import type { WarpError } from "../../../core/errors.ts";
import type { FrameReader } from "../frame-reader.ts";
import type { GroupDelivery, SubscriptionMessage } from "../outcomes.ts";
import { readError } from "../replies.ts";
import { readDeliveries, readWithdrawn } from "./groups.ts";
import { pushKind, readHeads } from "./pushes.ts";

/** What a push says; a mark that only moves the cursor has kind `moved`. */
export type Pushed =
  | SubscriptionMessage
  | { readonly kind: "moved"; readonly cursor: string }
  | { readonly kind: "deliveries"; readonly deliveries: readonly GroupDelivery[] }
  | { readonly kind: "withdrawn"; readonly deliveries: readonly number[] }
  | { readonly kind: "ended"; readonly error: WarpError };

/** Begins behind the subscription's number; undefined for a kind of a newer server. */
export function readPush(reader: FrameReader): Pushed | undefined {
  switch (reader.whole()) {
    case pushKind.events: {
      const cursor = reader.str();
      return { kind: "events", events: readHeads(reader), cursor };
    }
    case pushKind.caughtUp:
      return { kind: "caughtUp", cursor: reader.str() };
    case pushKind.erased: {
      const cursor = reader.str();
      return { kind: "erased", entity: reader.str(), cursor };
    }
    case pushKind.dropped: {
      const cursor = reader.str();
      return { kind: "dropped", entity: reader.str(), droppedTo: reader.whole(), cursor };
    }
    case pushKind.moved:
      return { kind: "moved", cursor: reader.str() };
    case pushKind.ended:
      return { kind: "ended", error: readError(reader) };
    case pushKind.deliveries:
      return { kind: "deliveries", deliveries: readDeliveries(reader) };
    case pushKind.withdrawn:
      return { kind: "withdrawn", deliveries: readWithdrawn(reader) };
    default:
      return undefined;
  }
}
