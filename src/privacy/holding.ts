/**
 * Legal holds: an entity that is held is not erased. Kept with the entity, sealed under its key.
 *
 * A hold that has been answered is seen by every erasure that is asked for later: as long as one is being set, erasures of
 * that entity are refused.
 */

import type { Actor } from "../actor/actor.ts";
import type { Subjects } from "../actor/personal/subjects.ts";
import type { Hold, HoldOptions } from "../actor/privacy.ts";
import type { Residency } from "../actor/residency.ts";
import type { Reading } from "../actor/storage/reading.ts";
import type { Settling } from "../actor/storage/settling.ts";
import { WarpError } from "../core/errors.ts";
import { inForce, isInForce } from "../core/receipt.ts";

export interface HoldingParts {
  readonly residency: Residency;
  readonly subjects: Subjects;
  readonly reading: Reading;
  readonly settlings: readonly Settling[];
}

const textBytesMax = 1024;

export class Holding {
  readonly #parts: HoldingParts;
  /** Ids whose holds are being set, and how often at once. */
  readonly #beingSet = new Map<string, number>();
  /** Holds of this life: an erasure that was asked for before one was set, and looked for it then, meets it here. */
  readonly #setHere = new Map<string, Hold>();

  constructor(parts: HoldingParts) {
    this.#parts = parts;
  }

  /** Errors: INVALID_ARGUMENT, also for an entity that was never written to; ERASED. */
  async set(id: string, options: HoldOptions): Promise<Hold> {
    const hold = holdOf(options);
    this.#beingSet.set(id, (this.#beingSet.get(id) ?? 0) + 1);
    try {
      await this.#put(id, Buffer.from(JSON.stringify(hold)));
      this.#setHere.set(id, hold);
    } finally {
      const left = (this.#beingSet.get(id) ?? 1) - 1;
      if (left === 0) this.#beingSet.delete(id);
      else this.#beingSet.set(id, left);
    }
    return hold;
  }

  async release(id: string): Promise<void> {
    await this.#put(id, undefined);
    this.#setHere.delete(id);
  }

  /** The hold of an entity, or of somebody whom others speak of, that is in force. */
  async find(id: string): Promise<Hold | undefined> {
    return await this.#inForceOf(await this.#holders(id));
  }

  /** A hold that was set before there was the entity: it stands under a number of somebody of whom others spoke. */
  async findOfSubject(id: string): Promise<Hold | undefined> {
    return await this.#inForceOf(await this.#parts.subjects.numbersOf(id));
  }

  async #inForceOf(holders: readonly Actor[]): Promise<Hold | undefined> {
    for (const { shard, number } of holders) {
      const { hold: text } = await this.#parts.reading.sizes(shard.index, number, true);
      const hold = text === undefined ? undefined : inForce(text);
      if (hold !== undefined) return hold;
    }
    return undefined;
  }

  /** Errors: HELD. Called in the turn in which the erasure is recorded. */
  requireNotBeingSet(id: string): void {
    if (this.#beingSet.has(id)) throw new WarpError("HELD", `entity ${JSON.stringify(id)} is being held`);
    const hold = this.#setHere.get(id);
    if (hold !== undefined && isInForce(hold)) throw held(id, hold);
  }

  /** Sets it for the first number that the id has, or takes it away from all. */
  async #put(id: string, hold: Uint8Array | undefined): Promise<void> {
    const { residency, settlings } = this.#parts;
    const holders = await this.#holders(id);
    const name = JSON.stringify(id);
    const { erasedAt } = await residency.identityOf(id);
    if (holders.length === 0 && erasedAt === undefined)
      throw new WarpError("INVALID_ARGUMENT", `entity ${name} was never written to`);
    const put = hold === undefined ? holders : holders.slice(0, 1);
    const done = await Promise.all(
      put.map(({ shard, number, tipPosition }) =>
        settlings[shard.writer]?.hold(shard, number, tipPosition, hold),
      ),
    );
    if (!done.includes(true)) throw new WarpError("ERASED", `entity ${name} was erased`);
  }

  /** The numbers of an id: the entity's, and those of whom others speak of. */
  async #holders(id: string): Promise<Actor[]> {
    const { residency, subjects } = this.#parts;
    const actors = [await residency.identityOf(id), ...(await subjects.numbersOf(id))];
    return actors.filter(({ number }) => number > 0);
  }
}

/** Why an erasure is refused. */
export function held(id: string, hold: Hold): WarpError {
  const until =
    hold.until === undefined ? "until it is released" : `until ${new Date(hold.until).toISOString()}`;
  const since = new Date(hold.since).toISOString();
  const why = `entity ${JSON.stringify(id)} is held since ${since} ${until}: ${hold.reason}`;
  return new WarpError("HELD", why, { reason: hold.reason, since: hold.since, until: hold.until });
}

function holdOf({ reason, by, until }: HoldOptions): Hold {
  for (const text of [reason, by ?? ""]) {
    const isText = typeof text === "string" && Buffer.byteLength(text) <= textBytesMax;
    if (!isText) throw new WarpError("INVALID_ARGUMENT", `a hold's texts have at most ${textBytesMax} bytes`);
  }
  if (reason === "") throw new WarpError("INVALID_ARGUMENT", "a hold has a reason");
  const end = until instanceof Date ? until.getTime() : until;
  const since = Date.now();
  if (end === undefined) return { reason, by, since, until: end };
  const endsAt = new Date(end);
  if (typeof end !== "number" || Number.isNaN(endsAt.getTime()))
    throw new WarpError("INVALID_ARGUMENT", "until is no time", { until: end });
  // It would take the place of one that is in force, and hold nothing.
  if (end <= since)
    throw new WarpError("INVALID_ARGUMENT", `until is over already: ${endsAt.toISOString()}`, { until: end });
  return { reason, by, since, until: end };
}
