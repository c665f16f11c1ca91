/**
 * The systems that Warp is measured beside, those that a goal names first, and those that cannot be had.
 */
import { cassandra } from "./cassandra.ts";
import { emmettPostgresql } from "./emmett-postgresql.ts";
import { emmettSqlite } from "./emmett-sqlite.ts";
import { etcd } from "./etcd.ts";
import type { Peer } from "./harness/peer.ts";
import { lmdb } from "./lmdb.ts";
import { nats } from "./nats.ts";
import { postgres } from "./postgres.ts";
import { redis } from "./redis.ts";
import { restate } from "./restate.ts";
import { rqlite } from "./rqlite.ts";
import { sqlite, sqliteGathered } from "./sqlite.ts";
import { warpInProcess, warpOverTcp } from "./warp.ts";
import { workerd } from "./workerd.ts";

export const warpForms: readonly Peer[] = [warpOverTcp, warpInProcess];

export const peers: readonly Peer[] = [
  redis,
  postgres,
  nats,
  rqlite,
  workerd,
  restate,
  emmettPostgresql,
  etcd,
  cassandra,
  lmdb,
  sqlite,
  sqliteGathered,
  emmettSqlite,
];
