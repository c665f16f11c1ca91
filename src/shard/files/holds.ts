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
    const query = this.#database.query<{ data: Uint8Array }, [number]>(
      "SELECT data FROM holds WHERE number = ?",
    );
    const row = query.get(number);
    const key = row === null ? undefined : vault.keyOf(number);
    if (row === null || key === undefined) return undefined;
    const plaintext = open(key, row.data, associated.of(number));
    if (plaintext !== undefined) return plaintext;
    const why = `${this.#path}: the hold of entity ${number} does not open`;
    throw new WarpError("CORRUPT", why, { file: this.#path, number });
  }

  /** Sets a hold, or takes it away; on the disk when it returns. Errors: ERASED. */
  put(number: number, hold: Uint8Array | undefined, vault: Vault, associated: Associated): void {
    const key = vault.keyOf(number);
    if (key === undefined) throw new WarpError("ERASED", `entity ${number} has no key`, { number });
    transactSynced(this.#database, this.#path, () => {
      if (hold === undefined) this.#database.query("DELETE FROM holds WHERE number = ?").run(number);
      else {
        const sealed = seal(key, hold, associated.of(number));
        this.#database.query("INSERT OR REPLACE INTO holds VALUES (?, ?)").run(number, sealed);
      }
    });
  }
}
