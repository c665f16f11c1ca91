/**
 * The privacy of a context's entities, as handles offer it (actor/privacy.ts).
 */
import type { DeleteOptions, Privacy, Receipt } from "../actor/privacy.ts";
import { Erasures, type ErasuresParts } from "./erasures.ts";
import { referenceOf } from "./reference.ts";

export class ContextPrivacy implements Privacy {
  readonly #erasures: Erasures;

  constructor(parts: ErasuresParts) {
    this.#erasures = new Erasures(parts);
  }

  resume(): void {
    this.#erasures.resume();
  }

  close(): void {
    this.#erasures.close();
  }

  whenTidy(): Promise<void> {
    return this.#erasures.whenTidy();
  }

  async delete(id: string, options: DeleteOptions): Promise<Receipt> {
    return this.#erasures.delete(id, options, referenceOf(id, options.reason, options.by));
  }
}
