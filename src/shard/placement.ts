/**
 * Which shard an entity lives in: a pure function of its id and the shard count, the same in every client.
 *
 * - The hashed text is the id, or, when the id contains `{tag}` with something between the first `{` and the next
 *   `}`, the tag alone: ids that share a tag share a shard.
 * - The hash is FNV-1a (32 bits, offset basis 2166136261, prime 16777619) over the UTF-8 bytes, then mixed by the
 *   finalizer of MurmurHash3 (`fmix32`); the shard is the hash, unsigned, modulo the shard count.
 */

const utf8 = new TextEncoder();

/** The shard, 0 … shards - 1. The id is valid (entity-id.ts). */
export function shardOf(id: string, shards: number): number {
  if (shards === 1) return 0;
  return placementHash(placedText(id)) % shards;
}

/** What of an id decides where it lives: its tag if it has one. */
export function placedText(id: string): string {
  const open = id.indexOf("{");
  if (open < 0) return id;
  const close = id.indexOf("}", open + 1);
  return close > open + 1 ? id.slice(open + 1, close) : id;
}

function placementHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return placementHashOfBytes(utf8.encode(text));
    hash = Math.imul(hash ^ code, 0x01000193);
  }
  return mixed(hash);
}

function placementHashOfBytes(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return mixed(hash);
}

function mixed(hash: number): number {
  let mix = hash ^ (hash >>> 16);
  mix = Math.imul(mix, 0x85ebca6b);
  mix ^= mix >>> 13;
  mix = Math.imul(mix, 0xc2b2ae35);
  return (mix ^ (mix >>> 16)) >>> 0;
}
