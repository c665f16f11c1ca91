/**
 * How far a build is: what was sent to its Worker, what is in the rows, and since when the oldest of the rest waits.
 *
 * Positions are by shard. What was sent and not applied is under way, in messages that are done in their order.
 */
import type { FeedSource } from "../core/feed.ts";
import type { Place } from "./messages.ts";

/** A build that is at most this far behind is near, and a new one may take over. */
const caughtUpMs = 1000;

/** Positions of the newest durable records. */
export function committedIn(source: FeedSource): number[] {
  return Array.from({ length: source.shards }, (_, shard) => source.committed(shard));
}

export class Progress {
  readonly #source: FeedSource;
  /** Everything up to here is in the rows. */
  readonly applied: number[];
  /** Everything up to here was handed over. */
  readonly sent: number[];
  /** Since when something waits to be sent, 0 for nothing. */
  readonly #waitingSince: number[];
  readonly #recordedAt: number[];
  /** Since when the oldest of what is in each message under way has waited. */
  #underWay: number[] = [];
  /** Where the feed was when that was asked for. */
  #target: { readonly positions: readonly number[]; readonly at: number } | undefined;

  constructor(source: FeedSource) {
    this.#source = source;
    const none = () => new Array<number>(source.shards).fill(0);
    this.applied = none();
    this.sent = none();
    this.#waitingSince = none();
    this.#recordedAt = none();
  }

  /** Messages under way. */
  get messages(): number {
    return this.#underWay.length;
  }

  get hasCaughtUp(): boolean {
    for (let shard = 0; shard < this.#source.shards; shard++)
      if (this.#source.committed(shard) > (this.applied[shard] ?? 0)) return false;
    return true;
  }

  /** It is where the feed was a moment ago: where the feed is, it may never be while others write. */
  get hasNearlyCaughtUp(): boolean {
    const now = performance.now();
    const known = this.#target;
    const isOld = known === undefined || (this.isPast(known.positions) && now - known.at > caughtUpMs);
    const target = isOld ? { positions: committedIn(this.#source), at: now } : known;
    this.#target = target;
    return this.isPast(target.positions);
  }

  isPast(positions: readonly number[]): boolean {
    return positions.every((position, shard) => (this.applied[shard] ?? 0) >= position);
  }

  /** Records that are durable and not in the rows; and the age of the oldest of them, ms. */
  get lag(): { readonly records: number; readonly ms: number } {
    let records = 0;
    let recordedAt = Number.POSITIVE_INFINITY;
    let isReplaying = false;
    for (let shard = 0; shard < this.#source.shards; shard++) {
      const committed = this.#source.committed(shard);
      const behind = Math.max(0, committed - (this.applied[shard] ?? 0));
      records += behind;
      if (behind > 0) recordedAt = Math.min(recordedAt, this.#recordedAt[shard] || Date.now());
      if ((this.sent[shard] ?? 0) < committed) isReplaying = true;
    }
    if (records === 0) return { records, ms: 0 };
    const since = [...this.#waitingSince, ...this.#underWay].filter((at) => at > 0);
    const waited = since.length === 0 ? 0 : performance.now() - Math.min(...since);
    // While it catches up, what is next is about as old as what it took last.
    return { records, ms: isReplaying ? Math.max(waited, Date.now() - recordedAt) : waited };
  }

  get isNear(): boolean {
    return this.lag.ms <= caughtUpMs;
  }

  /** Something may have become durable. */
  look(): void {
    const now = performance.now();
    for (let shard = 0; shard < this.#source.shards; shard++) {
      if (this.#waitingSince[shard] === 0 && this.#source.committed(shard) > (this.sent[shard] ?? 0)) {
        this.#waitingSince[shard] = now;
      }
    }
  }

  /** Where the rows are, when their Worker has opened them: a shard that has no place begins anew, however far it was. */
  opened(places: readonly Place[]): void {
    for (const values of [this.applied, this.sent, this.#recordedAt]) values.fill(0);
    for (const place of places) {
      this.took(place);
      this.sent[place.shard] = place.position;
    }
  }

  took({ shard, position, recordedAt }: Place): void {
    this.applied[shard] = position;
    this.#recordedAt[shard] = recordedAt;
  }

  /** A page is in the next message. Returns since when the oldest of it has waited. */
  collected(shard: number, upTo: number): number {
    this.sent[shard] = upTo;
    const now = performance.now();
    const since = this.#waitingSince[shard] || now;
    this.#waitingSince[shard] = this.#source.committed(shard) > upTo ? now : 0;
    return since;
  }

  /** A message has left; the oldest of what is in it has waited since then. */
  messageLeft(since: number): void {
    this.#underWay.push(since);
  }

  messageDone(): void {
    this.#underWay.shift();
  }

  /** What was under way is to be sent again. */
  lost(): void {
    this.#underWay = [];
    for (const [shard, position] of this.applied.entries()) this.sent[shard] = position;
  }
}
