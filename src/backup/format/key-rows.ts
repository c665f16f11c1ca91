/**
 * The key set's rows: entities with their wrapped keys and their ids.
 *
 * - A slot is the vault's, as it stands there: the key under a period key, which the object's keyring holds under the
 *   root key. Ids are sealed under the entity's own key and are gone with it.
 * - Neither the root key nor an id in plaintext is ever in a backup.
 */
import { open, seal } from "../../core/aead.ts";
import { type Keyring, unlockKeyring } from "../../core/keyring.ts";
import { Associated } from "../../shard/files/sealed.ts";
import { unwrapSlot } from "../../shard/files/vault.ts";
import { damaged } from "./container.ts";
import type { KeysHeader } from "./objects.ts";

export class SealedIds {
  readonly #associated: Associated;

  constructor(context: string, shard: number) {
    this.#associated = new Associated("backup id", context, shard);
  }

  seal(key: Uint8Array, number: number, id: Uint8Array): Buffer {
    return seal(key, id, this.#associated.of(number));
  }

  /** Undefined when it is not what was sealed. */
  open(key: Uint8Array, number: number, sealed: Uint8Array): Buffer | undefined {
    return open(key, sealed, this.#associated.of(number));
  }
}

/** Opens the rows of a shard's key set with the root key. */
export class KeyRowOpener {
  readonly #context: string;
  readonly #rootKey: Uint8Array;
  readonly #slots: Associated;
  readonly #ids: SealedIds;
  #keyringText = "";
  #keyring: Keyring | undefined;

  constructor(context: string, shard: number, rootKey: Uint8Array) {
    this.#context = context;
    this.#rootKey = rootKey;
    this.#slots = new Associated("entity key", context, shard);
    this.#ids = new SealedIds(context, shard);
  }

  /** The keyring of an object. Errors: ROOT_KEY_WRONG, CORRUPT, with the object. */
  keyringOf({ keyring }: KeysHeader, object: string): Keyring {
    const text = JSON.stringify(keyring);
    if (this.#keyring === undefined || text !== this.#keyringText) {
      this.#keyring = unlockKeyring(keyring, this.#rootKey, this.#context, object);
      this.#keyringText = text;
    }
    return this.#keyring;
  }

  /** The key and the id of a row. Errors: CORRUPT. */
  open(
    keyring: Keyring,
    object: string,
    number: number,
    slot: Uint8Array,
    sealedId: Uint8Array,
  ): { readonly key: Buffer; readonly id: Buffer } {
    const bytes = Buffer.from(slot.buffer, slot.byteOffset, slot.length);
    const key = unwrapSlot((period) => keyring.keyOf(period), this.#slots, number, bytes);
    if (typeof key === "string") throw damaged(object, undefined, `the key of number ${number}: ${key}`);
    const id = this.#ids.open(key, number, sealedId);
    if (id === undefined) throw damaged(object, undefined, `the id of number ${number} does not open`);
    return { key, id };
  }
}
