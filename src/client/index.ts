/**
 * The public names of the client: `import { connect } from "warp/client"`. Runs on Bun and on Node 20 or newer.
 */
export { type ErrorCode, errorCodes, WarpError } from "../core/errors.ts";
export type { NewEvent, StoredEvent } from "../core/event.ts";
export type {
  Appended,
  AppendResult,
  Conflict,
  EntitiesQuery,
  EntityListed,
  EventsQuery,
  Expect,
  GroupStatus,
  ParkedEvent,
  Rejected,
  SendResult,
  SubscriptionMessage,
} from "../net/protocol/outcomes.ts";
export type {
  After,
  ProjectionAction,
  QueryOptions,
  QueryParam,
  QueryResult,
  QueryValue,
} from "../net/protocol/querying.ts";
export type { Welcome } from "../net/protocol/replies.ts";
export { type Client, connect } from "./client.ts";
export type { CallOptions } from "./sending/requests.ts";
export type { AggregateLike, RemoteEntity, RemoteMoment, RemoteView, WriteCall } from "./remote-entity.ts";
export type { ConnectSettings } from "./settings.ts";
export type { DroppedEvents } from "../core/dropped.ts";
export type { RemoteJoinOptions, RemoteMembership, RemoteWork } from "./subscription/remote-membership.ts";
export type { RemoteSubscribeQuery, RemoteSubscription } from "./subscription/remote-subscription.ts";
