/**
 * Reading settled data: loads, pages of entries, listings, caller keys. Read-only connections, opened when first needed.
 *
 * - Every request is one short transaction on runs.db, so a load is one consistent state. names.db is asked first: a
 *   name is there before its runs, never the other way round.
 * - A page is whole runs, contiguous in seq; one that is not is CORRUPT, never skipped.
 * - The tail is not looked at: the engine puts what is not settled behind what it gets from here.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { open } from "../core/aead.ts";
import type { Dropped } from "../core/dropped.ts";
import { toWarpError, WarpError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { Names } from "./files/names.ts";
import { Runs, type SnapshotRow } from "./files/runs.ts";
import { aggregateHash, callerKeyHash, openPacked, shardAssociated } from "./files/sealed.ts";
import { Vault } from "./files/vault.ts";
import type {
  Base,
  EntriesPage,
  KeyResult,
  LoadResult,
  NamesResult,
  ReadAnswer,
  ReadRequest,
  ReadResult,
  ShardWorkerOptions,
  StoredState,
} from "./messages.ts";
import { SettledFeed } from "./read/feed.ts";
import { hostsOf, partsOf, subjectOf } from "./read/personal.ts";
import { erasureOf, ledgerOf, sizesOf } from "./read/privacy.ts";
import { droppedOf, oldRuns } from "./read/retention.ts";
import { damaged, erased, keyFor, openRun, type ShardView } from "./read/view.ts";
import { callerKeyLayout, shardDirectory, vaultOptions } from "./shard.ts";

type Request<Op extends ReadRequest["op"]> = Extract<ReadRequest, { op: Op }>;

export class Reader {
  readonly #options: ShardWorkerOptions;
  readonly #views = new Map<number, ShardView>();
  readonly #feed: SettledFeed;

  constructor(options: ShardWorkerOptions) {
    this.#options = options;
    this.#feed = new SettledFeed(options.shards.length);
  }

  /** Answers one request; a failure is an answer too. */
  answer(request: ReadRequest): ReadAnswer {
    try {
      return { id: request.id, ok: true, result: this.#read(request) };
    } catch (error) {
      return { id: request.id, ok: false, error: toWarpError(error, "IO_ERROR").toWire() };
    }
  }

  /** Lets go of a shard's files: cached keys are wiped, and nothing keeps a WAL from being emptied. */
  forget(shard: number): void {
    this.#feed.forget(shard);
    const view = this.#views.get(shard);
    this.#views.delete(shard);
    for (const file of [view?.names, view?.runs, view?.vault]) file?.close();
  }

  close(): void {
    for (const shard of [...this.#views.keys()]) this.forget(shard);
  }

  #read(request: ReadRequest): ReadResult {
    const view = this.#view(request.shard);
    switch (request.op) {
      case "load":
        return this.#load(view, request);
      case "entries":
        return { op: "entries", page: view.runs.view(() => readPage(view, request)) };
      case "names":
        return listNames(view, request);
      case "key":
        return { op: "key", found: view.runs.view(() => findKey(view, request)) };
      case "window":
        return { op: "window", results: view.runs.delivery(request) };
      case "feed":
        return this.#feed.read(view, request);
      case "positionAt":
        return { op: "positionAt", position: this.#feed.positionAt(view, request) };
      case "withRuns":
        return { op: "withRuns", numbers: view.runs.numbersWithRuns(request.after, request.limit) };
      case "oldRuns":
        return { op: "oldRuns", runs: view.runs.view(() => oldRuns(view, request)) };
      case "base":
        return { op: "base", base: view.runs.view(() => this.#base(view, request)) };
      case "sizes":
        return sizesOf(view, request);
      case "subject":
        return subjectOf(view, request);
      case "hosts":
        return hostsOf(view, request);
      case "parts":
        return partsOf(view, request);
      case "ledger":
        return ledgerOf(view, request, this.#options);
      case "erasure":
        return erasureOf(view, request, this.#options);
      case "ids":
        return { op: "ids", ids: this.#feed.idsOf(view, request.numbers) };
    }
  }

  #load(view: ShardView, request: Request<"load">): LoadResult {
    const number = view.names.find(request.entity);
    if (number === undefined) return { op: "load", found: undefined };
    const found = view.runs.view(() => {
      // Who it is says no key: one that is damaged keeps nobody from being erased.
      if (request.aggregates.length === 0) {
        const seq = view.runs.tipOf(number);
        const key = view.vault.keyOrFault(number) ?? erased(view, number);
        const fault = key instanceof WarpError ? key.toWire() : undefined;
        return { number, seq, fault, snapshots: [], dropped: undefined, entries: emptyPage(seq + 1) };
      }
      const snapshots = this.#snapshots(view, number, request.aggregates);
      const dropped = droppedOf(view, number);
      const isComplete = snapshots.length === request.aggregates.length;
      const from = isComplete
        ? Math.min(...snapshots.map((snapshot) => snapshot.seq)) + 1
        : (dropped?.seq ?? 0) + 1;
      const page = { number, from, to: Number.MAX_SAFE_INTEGER, bytesMax: limits.readPageBytes };
      const { end, ...entries } = readForward(view, page);
      // Behind a snapshot there may be nothing.
      const isWhole = entries.next === undefined && end > 1;
      const seq = isWhole ? end - 1 : view.runs.tipOf(number);
      return { number, seq, snapshots, dropped, entries };
    });
    return { op: "load", found };
  }

  #base(view: ShardView, { number, aggregates }: Request<"base">): Base | undefined {
    const dropped = droppedOf(view, number);
    if (dropped === undefined) return undefined;
    return { dropped, snapshots: this.#open(view, number, aggregates, view.runs.bases.of(number)) };
  }

  /** Of each aggregate the newest state that is stored, be it a snapshot or what its history begins with. */
  #snapshots(view: ShardView, number: number, aggregates: Request<"load">["aggregates"]): StoredState[] {
    const rows = [...view.runs.snapshotsOf(number), ...view.runs.bases.of(number)];
    return this.#open(view, number, aggregates, rows);
  }

  #open(
    view: ShardView,
    number: number,
    aggregates: Request<"load">["aggregates"],
    rows: readonly SnapshotRow[],
  ): StoredState[] {
    return aggregates.flatMap(({ name, version }) => {
      const aggregate = aggregateHash(this.#options.context, name);
      const usable = rows.filter((row) => row.aggregate === aggregate && row.version === version);
      const row = usable.toSorted((a, b) => b.seq - a.seq)[0];
      if (row === undefined) return [];
      const associated = view.associated.snapshot.of(number, aggregate, version, row.seq);
      const state = openPacked(keyFor(view, number), row.data, associated);
      if (state === undefined) throw damaged(view, number, row.seq, "a snapshot does not open");
      return [{ aggregate: name, version, seq: row.seq, state: owned(state) }];
    });
  }

  #view(shard: number): ShardView {
    const opened = this.#views.get(shard);
    if (opened !== undefined) return opened;
    const options = this.#options;
    const directory = shardDirectory(options.dataDir, shard);
    if (!existsSync(join(directory, "vault"))) {
      throw new WarpError("CORRUPT", `${join(directory, "vault")} is missing`, {
        file: join(directory, "vault"),
      });
    }
    const share = limits.shardCacheBytes / options.shards.length;
    const cacheBytes = Math.max(limits.shardCacheBytesMin, share) / 2;
    const { durability } = options;
    const closers: { close(): void }[] = [];
    try {
      const runs = Runs.open({ directory, shard, access: "read", cacheBytes });
      closers.push(runs);
      const names = Names.open({ directory, shard, access: "read", durability, cacheBytes });
      closers.push(names);
      const vault = Vault.open(vaultOptions(options, shard), "read");
      const view = { shard, names, runs, vault, associated: shardAssociated(options.context, shard) };
      this.#views.set(shard, view);
      return view;
    } catch (error) {
      for (const file of closers) file.close();
      throw error;
    }
  }
}

type PageRequest = Pick<Request<"entries">, "number" | "from" | "to" | "bytesMax">;

function readPage(
  view: ShardView,
  request: PageRequest & Pick<Request<"entries">, "direction">,
): EntriesPage {
  const from = Math.max(1, request.from);
  if (request.direction === "backward") return readBackward(view, { ...request, from });
  const { end: _, ...page } = readForward(view, { ...request, from });
  return page;
}

/** A page with the seq behind the last run of it; 1 when there is none. */
function readForward(
  view: ShardView,
  { number, from, to, bytesMax }: PageRequest,
): EntriesPage & { readonly end: number } {
  const bodies: Uint8Array[] = [];
  let bytes = 0;
  let firstSeq = from;
  let end = 1;
  let dropped: Dropped | undefined;
  for (const row of view.runs.forward(number, from, to)) {
    if (bytes >= bytesMax) return { bytes: joined(bodies, bytes), firstSeq, dropped, next: row.seq, end };
    if (bodies.length > 0 ? row.seq !== end : row.seq > from) {
      dropped = bodies.length > 0 ? undefined : droppedOf(view, number);
      if (dropped?.seq !== row.seq - 1) throw gap(view, number, bodies.length > 0 ? end : from, row.seq);
    }
    end = row.seq + row.count;
    if (bodies.length === 0) firstSeq = row.seq;
    const body = openRun(view, number, row);
    bodies.push(body);
    bytes += body.length;
  }
  // Nothing was found: all that was asked for may be among what was dropped.
  if (bodies.length === 0) dropped = droppedFrom(view, number, from);
  return { bytes: joined(bodies, bytes), firstSeq, dropped, next: undefined, end };
}

function readBackward(view: ShardView, { number, from, to, bytesMax }: PageRequest): EntriesPage {
  const bodies: Uint8Array[] = [];
  let bytes = 0;
  let firstSeq = to + 1;
  for (const row of view.runs.backward(number, to)) {
    const end = row.seq + row.count;
    if (end <= from) break;
    if (bytes >= bytesMax) return { bytes: joined(bodies.reverse(), bytes), firstSeq, next: end - 1 };
    if (bodies.length > 0 && end !== firstSeq) throw gap(view, number, end, firstSeq);
    const body = openRun(view, number, row);
    bodies.push(body);
    bytes += body.length;
    firstSeq = row.seq;
  }
  const dropped = firstSeq > from ? droppedFrom(view, number, from) : undefined;
  if (bodies.length > 0 && firstSeq > from && dropped?.seq !== firstSeq - 1)
    throw gap(view, number, from, firstSeq);
  return { bytes: joined(bodies.reverse(), bytes), firstSeq, dropped, next: undefined };
}

/** What was dropped, if any of it is of `from` or later. */
function droppedFrom(view: ShardView, number: number, from: number): Dropped | undefined {
  const dropped = droppedOf(view, number);
  return dropped !== undefined && dropped.seq >= from ? dropped : undefined;
}

function listNames(view: ShardView, { prefix, after, limit }: Request<"names">): NamesResult {
  const rows = view.names.list(prefix, after, limit);
  const names = view.runs.view(() =>
    rows.map(({ number, id }) => ({
      entity: Buffer.from(id).toString("utf8"),
      number,
      seq: view.runs.tipOf(number),
    })),
  );
  return { op: "names", names };
}

function findKey(view: ShardView, { number, key }: Request<"key">): KeyResult["found"] {
  const entityKey = view.vault.keyOf(number);
  if (entityKey === undefined) return undefined;
  const row = view.runs.callerKey(number, callerKeyHash(entityKey, Buffer.from(key, "utf8")));
  if (row === undefined) return undefined;
  const { firstSeq, count } = row;
  const plaintext = open(
    keyFor(view, number),
    row.data,
    view.associated.callerKey.of(number, firstSeq, count),
  );
  if (plaintext === undefined) throw damaged(view, number, firstSeq, `caller key ${row.id} does not open`);
  const { contentHash, element, outcome } = callerKeyLayout;
  return {
    firstSeq,
    count,
    contentHash: owned(plaintext.subarray(contentHash, element)),
    outcome: plaintext.length > outcome ? plaintext.toString("utf8", outcome) : undefined,
  };
}

function emptyPage(firstSeq: number): EntriesPage {
  return { bytes: new Uint8Array(0), firstSeq, next: undefined };
}

/** One block of its own memory, so that it can be handed to another thread. */
function joined(bodies: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const body of bodies) {
    bytes.set(body, at);
    at += body.length;
  }
  return bytes;
}

function owned(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function gap(view: ShardView, number: number, due: number, found: number): WarpError {
  // The rows of an erased entity go in slices.
  if (view.runs.erasures.find(number) !== undefined) throw erased(view, number);
  return damaged(view, number, found, `seq ${due} is due and ${found} comes`);
}
