/**
 * Fits the engine to what the network needs of it (net/engine-port.ts). Writes, and reads of states in memory, answer
 * without a promise: at the rate of requests of a server it would cost as much as a good part of the write.
 */
import { resolve } from "node:path";
import { Entity } from "./actor/entity.ts";
import type { HoldOptions } from "./actor/privacy.ts";
import type { BackupSchedule } from "./backup/schedule.ts";
import { WarpError } from "./core/errors.ts";
import { limits } from "./core/limits.ts";
import type { Answer, EnginePort, EntityHandle } from "./net/engine-port.ts";
import type { Moment, StateAt } from "./net/protocol/outcomes.ts";
import type { ProjectionRequest } from "./net/protocol/querying.ts";
import type { Projections } from "./projection/projections.ts";
import type { Warp } from "./warp.ts";

/** Entries of a ledger in one reply. */
const erasuresPage = 500;

/** A context as the network sees it. Without a schedule no client can have it backed up. */
export function enginePortOf(warp: Warp, backups?: BackupSchedule): EnginePort {
  /** The handles that the network has are those that it was given here. */
  const entityOf = (entity: string | EntityHandle): Entity =>
    typeof entity === "string" ? warp.entity(entity) : (entity as Entity);
  /** Of what was looked at ahead, so that looking is not left out. */
  let seen = 0;
  return {
    context: warp.context,
    shards: warp.shards,
    node: warp.node,
    incarnation: warp.incarnation,
    aggregates: warp.aggregates,
    commands: warp.commands,

    handle: (entity) => warp.sharedHandle(entity),
    lookAhead(handles, count) {
      seen = Entity.lookAhead(handles as readonly (Entity | undefined)[], count) + (seen & 1);
    },
    append(entity, events, options, answer, parsed) {
      try {
        entityOf(entity).appendInto(answer, events, options, parsed);
      } catch (thrown) {
        answer.reject(thrown);
      }
    },
    send(entity, command, input, options, answer) {
      try {
        entityOf(entity).sendInto(answer, command, input, options);
      } catch (thrown) {
        answer.reject(thrown);
      }
    },
    state(entity, aggregate, at, answer) {
      try {
        const handle = entityOf(entity);
        const resident = at === undefined ? handle.residentSnapshot(aggregate) : undefined;
        if (resident !== undefined) answer.resolve(resident);
        else answerWith(answer, () => stateOf(handle, aggregate, at));
      } catch (thrown) {
        answer.reject(thrown);
      }
    },
    seq(entity, answer) {
      answerWith(answer, () => entityOf(entity).seq());
    },
    sessionTime: () => warp.sessionTime(),
    poll() {
      warp.poll();
    },
    async *events(entity, query, stored) {
      const handle = warp.entity(entity);
      yield* stored ? handle.storedEvents(query) : handle.events(query);
    },
    groups: warp.groups,
    subscribe(query, sink) {
      return warp.follow(query, sink);
    },
    query(sql, params, options) {
      const { pages = false, ...rest } = options;
      return warp.query(sql, params, { ...rest, bytes: pages ? limits.queryBytesLocal : limits.queryBytes });
    },
    projection(request) {
      return operateProjection(warp.projections, request);
    },
    async exportPage(entity, cursor) {
      return await warp.entity(entity).exportPage(cursor);
    },
    export: (entity) => warp.entity(entity).export(),
    async delete(entity, options) {
      const handle = warp.entity(entity);
      if (options.dryRun === true) return await handle.deletePlan();
      return await handle.delete({ waitMs: limits.receiptMsServed, ...options });
    },
    async hold(entity, action, options) {
      const handle = warp.entity(entity);
      if (action === "set") return await handle.hold(options as unknown as HoldOptions);
      if (action === "release") await handle.releaseHold();
      return (await handle.currentHold()) ?? null;
    },
    async erasures(shard, after) {
      const page: object[] = [];
      for await (const listed of warp.erasures({ shard, after }))
        if (page.push(listed) >= erasuresPage) break;
      return page;
    },
    async *entities(query) {
      yield* warp.entities(query);
    },
    backup: (target) => backUpNow(backups, target),
    keys: async (action) => await (action === "rotate" ? warp.rotateKeys() : warp.keysStatus()),
  };
}

/**
 * A client chooses when, never where to: a target is a path to write to, with the rights of the server.
 * Errors: UNSUPPORTED, INVALID_ARGUMENT, those of a backup.
 */
async function backUpNow(backups: BackupSchedule | undefined, target: string | undefined): Promise<object> {
  if (backups === undefined) {
    throw new WarpError("UNSUPPORTED", "this server has no target: it was started without --backup");
  }
  if (target !== undefined && resolve(target) !== backups.target) {
    const why = `this server backs up into ${backups.target} and nowhere else; name that, or nothing`;
    throw new WarpError("INVALID_ARGUMENT", why, { target: backups.target });
  }
  return await backups.now();
}

/** One verb of an operator, and what there is to see afterwards. */
export async function operateProjection(
  projections: Projections,
  { action, projection, entity }: ProjectionRequest,
): Promise<readonly object[]> {
  if (action === "parked") return await projections.parked(projection);
  if (action === "unpark") return await projections.unpark(projection, entity);
  if (action === "pause") projections.pause(projection);
  if (action === "resume") projections.resume(projection);
  if (action === "rebuild") await projections.rebuild(projection);
  return projections.status.filter(({ name }) => projection === "" || name === projection);
}

async function stateOf(
  handle: Entity,
  aggregate: string | undefined,
  at: Moment | undefined,
): Promise<StateAt> {
  if (at === undefined) return handle.snapshot(aggregate);
  return { seq: undefined, state: await handle.stateAt(at, aggregate) };
}

/** Whatever `call` throws or rejects with goes to the answer. */
function answerWith<Result>(answer: Answer<Result>, call: () => Promise<Result>): void {
  try {
    call().then(
      (result) => answer.resolve(result),
      (error: unknown) => answer.reject(error),
    );
  } catch (thrown) {
    answer.reject(thrown);
  }
}
