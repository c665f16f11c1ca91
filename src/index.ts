/**
 * The public names of the library: `import { start, defineAggregate } from "warp"`.
 */
export type { Entity, EntityView } from "./actor/entity.ts";
export type {
  DeleteOptions,
  DeletePlan,
  ErasureListed,
  ErasuresQuery,
  Hold,
  HoldOptions,
  Receipt,
  Removed,
} from "./actor/privacy.ts";
export type { Appended, AppendResult, Conflict, Expect, Rejected, SendResult } from "./actor/results.ts";
export type { EventsQuery, Moment } from "./actor/storage/history.ts";
export type { EntitiesQuery, EntityListed } from "./actor/storage/listing.ts";
export type { Participant, TogetherResult } from "./actor/together.ts";
export type { WriteOptions } from "./actor/write.ts";
export {
  type Aggregate,
  type CommandsOf,
  defineAggregate,
  type EventOf,
  type FoldEvent,
  type InputArguments,
  type StateOf,
} from "./aggregate/aggregate.ts";
export { type Decision, Rejection, reject } from "./aggregate/command.ts";
export { document } from "./aggregate/document.ts";
export { mergePatch } from "./aggregate/merge-patch.ts";
export { specification } from "./aggregate/specification.ts";
export type { BackupOptions } from "./backup/backup.ts";
export type { KnownTarget } from "./backup/known-targets.ts";
export {
  type RestoreOptions,
  type RestoreReport,
  restoreBackup,
  type VerifyOptions,
  type VerifyReport,
  verifyBackup,
} from "./backup/restore.ts";
export { type CheckSettings, checkDirectory, type Finding } from "./check.ts";
export { type Settings, start } from "./context.ts";
export type { BackupReport } from "./core/backup-report.ts";
export { type ErrorCode, errorCodes, WarpError } from "./core/errors.ts";
export type { NewEvent, StoredEvent } from "./core/event.ts";
export type { Logger } from "./core/logger.ts";
export type { ColumnSpec } from "./projection/columns.ts";
export {
  defineProjection,
  type FailurePolicy,
  type ProjectedEvent,
  type Projection,
  type RunSql,
  type TableHandle,
  type TableSpec,
  type Tables,
} from "./projection/definition.ts";
export type { ParkedEntity } from "./projection/messages.ts";
export type { Projections } from "./projection/projections.ts";
export type { QueryParam, QueryResult, QueryValue } from "./projection/query/messages.ts";
export type { After, QueryOptions } from "./projection/query/query.ts";
export type { ProjectionStatus } from "./projection/status.ts";
export type { GroupStatus } from "./subscription/groups/groups.ts";
export type { DroppedEvents } from "./core/dropped.ts";
export type { JoinOptions, Membership, Work } from "./subscription/groups/membership.ts";
export type { SubscribeQuery, Subscription, SubscriptionMessage } from "./subscription/subscription.ts";
export type { Warp } from "./warp.ts";
