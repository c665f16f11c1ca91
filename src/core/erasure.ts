/**
 * What an erasure leaves behind, and who has to hear of it before it is complete.
 *
 * - The id of what was erased is kept only as a keyed hash. The key is the context's own (`Keyring.idHashKey`), so a
 *   ledger tells nothing to who has not the root key, and the same id has the same hash in a restored directory.
 * - The key of what was erased is kept only as a fingerprint: it names a key and does not help to find one.
 */

export const idHashBytes = 32;
export const fingerprintBytes = 16;

/** HMAC-SHA-256 of an entity's id: how a ledger and a backup's key set look an id up. */
export function idHash(idHashKey: Uint8Array, id: string | Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256", idHashKey).update("warp entity id|").update(id).digest();
}

/** The first 16 bytes of a SHA-256 over an entity's key. */
export function keyFingerprint(entityKey: Uint8Array): Buffer {
  const hasher = new Bun.CryptoHasher("sha256").update("warp key fingerprint|").update(entityKey);
  return hasher.digest().subarray(0, fingerprintBytes);
}

/**
 * Somebody who keeps something that is made of events (a projection, say) and follows the feed. An erasure is complete
 * when every registered follower has passed it; until then the erased id stays in the feed, and the receipt is
 * pending and names who is missing.
 */
export interface ErasureFollower {
  /** For receipts: `projection balances`. */
  readonly name: string;
  /**
   * Resolves when everything up to this position of the shard's feed has been taken in, and nothing of what was erased
   * at or before it is left in what the follower keeps, its files included. Rejects when that will not happen in this
   * process's life; the erasure then stays pending.
   */
  passed(shard: number, position: number): Promise<void>;
  /** What it keeps of an entity, for exports; each becomes a line. */
  holds?(entity: string): AsyncIterable<Readonly<Record<string, unknown>>>;
}

/** Where followers register, before or after the context serves. */
export class ErasureFollowers {
  readonly #followers = new Set<ErasureFollower>();

  /** Returns how to take it back. */
  register(follower: ErasureFollower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  get all(): readonly ErasureFollower[] {
    return [...this.#followers];
  }
}
