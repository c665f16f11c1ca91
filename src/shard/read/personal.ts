/**
 * What a shard says of a subject: in how many parts, in which hosts, and the parts themselves.
 */
import { WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { openRun, type ShardView } from "./view.ts";

export type PersonalRequest =
  /** How much is settled that speaks of a subject. */
  | { readonly op: "subject"; readonly number: number }
  /** Hosts of a subject with numbers behind one. */
  | { readonly op: "hosts"; readonly number: number; readonly after: number; readonly limit: number }
  /** A page of the runs that speak of a subject, behind one. */
  | {
      readonly op: "parts";
      readonly number: number;
      readonly after: { readonly host: number; readonly seq: number };
    };

type Request<Op extends PersonalRequest["op"]> = Extract<PersonalRequest, { op: Op }>;

export interface SubjectResult {
  readonly op: "subject";
  readonly parts: number;
  readonly hosts: number;
}

export interface HostsResult {
  readonly op: "hosts";
  readonly ids: readonly string[];
  /** The host behind which to ask on; undefined at the end. */
  readonly next: number | undefined;
}

/** Entries of one host's run, opened. */
export interface PartsRun {
  readonly entity: string;
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export interface PartsResult {
  readonly op: "parts";
  readonly runs: readonly PartsRun[];
  /** The run behind which to ask on; undefined at the end. */
  readonly next: { readonly host: number; readonly seq: number } | undefined;
}

export type PersonalResult = SubjectResult | HostsResult | PartsResult;

export function subjectOf(view: ShardView, { number }: Request<"subject">): SubjectResult {
  return { op: "subject", ...view.runs.personal.countOf(number) };
}

/** Ids of the hosts, but of those that are being erased. */
export function hostsOf(view: ShardView, { number, after, limit }: Request<"hosts">): HostsResult {
  const hosts = view.runs.personal.hostsOf(number, after, limit);
  const ids = hosts.flatMap((host) => {
    const id = view.names.idOf(host);
    return id === undefined ? [] : [Buffer.from(id).toString("utf8")];
  });
  return { op: "hosts", ids, next: hosts.length < limit ? undefined : hosts.at(-1) };
}

/** Runs with parts of a subject, about a page of them; those of hosts that are being erased are passed over. */
export function partsOf(view: ShardView, { number, after }: Request<"parts">): PartsResult {
  return view.runs.view(() => {
    const runs: PartsRun[] = [];
    let bytes = 0;
    let last = after;
    for (const { host, seq } of view.runs.personal.runsOf(number, after)) {
      if (bytes >= limits.readPageBytes) return { op: "parts", runs, next: last };
      last = { host, seq };
      const run = openedPart(view, host, seq);
      if (run === undefined) continue;
      runs.push(run);
      bytes += run.bytes.length;
    }
    return { op: "parts", runs, next: undefined };
  });
}

function openedPart(view: ShardView, host: number, seq: number): PartsRun | undefined {
  const row = view.runs.at(host, seq);
  const id = view.names.idOf(host);
  if (row === undefined || id === undefined) return undefined;
  try {
    const body = openRun(view, host, row);
    return { entity: Buffer.from(id).toString("utf8"), seq, bytes: new Uint8Array(body) };
  } catch (thrown) {
    if (thrown instanceof WarpError && thrown.code === "ERASED") return undefined;
    throw thrown;
  }
}
