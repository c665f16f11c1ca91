/**
 * Legal holds: who must not be erased, and why. A row of runs.db per entity, sealed under the entity's key.
 */
import type { Database } from "bun:sqlite";
import { open, seal } from "../../core/aead.ts";
import { WarpError } from "../../core/errors.ts";
import { transactSynced } from "../sqlite/database.ts";
import type { Associated } from "./sealed.ts";
import type { Vault } from "./vault.ts";

export const holdsSchema = ["CREATE TABLE holds (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT"];

export class Holds {
  readonly #database: Database;
  readonly #path: string;

  constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /** The plaintext of an entity's hold. Errors: CORRUPT. */
  find(number: number, vault: Vault, associated: Associated): Buffer | undefined {
    const found = this.findOrFault(number, vault, associated);
    if (found instanceof WarpError) throw found;
    return found;
  }

  /** As {@link find}; of a hold that cannot be read what is wrong with it, or with its entity's key. */
  findOrFault(number: number, vault: Vault, associated: Associated): Buffer | WarpError | undefined {
    const query = this.#database.query<{ data: Uint8Array }, [number]>(
      "SELECT data FROM holds WHERE number = ?",
    );
    const row = query.get(number);
    if (row === null) return undefined;
    const key = vault.keyOrFault(number);
    if (!(key instanceof Uint8Array)) return key;
    const plaintext = open(key, row.data, associated.of(number));
    if (plaintext !== undefined) return plaintext;
    const why = `${this.#path}: the hold of entity ${number} does not open`;
    return new WarpError("CORRUPT", why, { file: this.#path, number });
  }

  /** Sets a hold; on the disk when it returns. */
  set(number: number, hold: Uint8Array, key: Uint8Array, associated: Associated): void {
    const sealed = seal(key, hold, associated.of(number));
    transactSynced(this.#database, this.#path, () => {
      this.#database.query("INSERT OR REPLACE INTO holds VALUES (?, ?)").run(number, sealed);
    });
  }

  /** Takes a hold away, read or not; on the disk when it returns. */
  remove(number: number): void {
    transactSynced(this.#database, this.#path, () => {
      this.#database.query("DELETE FROM holds WHERE number = ?").run(number);
    });
  }
}
