/**
 * What the main thread knows of one shard.
 */

import type { Filter } from "../../shard/files/filter.ts";
import { UnsettledKeys } from "../caller-keys.ts";
import { Deliveries } from "../deliveries.ts";
import { ErasedIds } from "./erased-ids.ts";

export class ShardState {
  readonly index: number;
  /** Which writer (and so which tail) the shard belongs to. */
  readonly writer: number;
  readonly epoch: number;
  /** Position of the next record. */
  nextPosition: number;
  /** Records up to this position are durable and acknowledged. */
  committedPosition: number;
  /** Records up to this position are in the shard's file, as far as the main thread has heard; {@link noteSettled} moves it. */
  settledPosition: number;
  /** The number of the next new entity. */
  nextNumber: number;
  /** `recordedAt` of the newest record, ms. */
  lastRecordedAt: number;
  ids: Filter;
  /** Over entity number and caller key. */
  keys: Filter;
  /** Which actors keep results of keyed calls. */
  readonly unsettledKeys = new UnsettledKeys();
  readonly deliveries: Deliveries;
  readonly erased: ErasedIds;
  /** The newest position that the ledger has. */
  readonly #erasedPosition: number;
  /** While a subject is erased, nothing is loaded: resolves when states can be folded without what is said of her. */
  refolding: Promise<void> | undefined;
  /** How often that has begun; a load that it came into is done again. */
  refolds = 0;

  constructor(start: {
    readonly index: number;
    readonly writer: number;
    readonly epoch: number;
    readonly settledPosition: number;
    readonly nextNumber: number;
    readonly lastRecordedAt: number;
    readonly ids: Filter;
    readonly keys: Filter;
    readonly idHashKey: Uint8Array;
    readonly erasedPosition: number;
    readonly erasedIds: Float64Array;
    readonly erasedAt: Float64Array;
  }) {
    this.index = start.index;
    this.writer = start.writer;
    this.epoch = start.epoch;
    this.nextPosition = start.settledPosition + 1;
    this.committedPosition = start.settledPosition;
    this.settledPosition = start.settledPosition;
    this.nextNumber = start.nextNumber;
    this.lastRecordedAt = start.lastRecordedAt;
    this.ids = start.ids;
    this.keys = start.keys;
    this.erased = new ErasedIds(start.idHashKey, start.erasedIds, start.erasedAt);
    this.#erasedPosition = start.erasedPosition;
    this.deliveries = new Deliveries(start.index);
  }

  /** True when the ledger knows an erasure that the journal and the shard's files do not have. */
  get isBehindErasures(): boolean {
    return this.#erasedPosition > this.committedPosition;
  }

  /** After recovery, as the shard's writer does: no record gets the position of an erasure that the ledger knows. */
  goOnBehindErasures(): void {
    if (!this.isBehindErasures) return;
    this.settledPosition = this.#erasedPosition;
    this.committedPosition = this.#erasedPosition;
    this.nextPosition = this.#erasedPosition + 1;
  }

  noteSettled(position: number): void {
    this.settledPosition = position;
    this.unsettledKeys.forget(position);
  }

  /** A subject is about to be erased. Returns how to end it. */
  beginRefolding(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.refolds++;
    this.refolding = promise;
    return () => {
      this.refolding = undefined;
      resolve();
    };
  }

  replaceFilter(of: "ids" | "keys", filter: Filter): void {
    if (of === "ids") this.ids = filter;
    else this.keys = filter;
  }
}
