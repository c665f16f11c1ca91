/**
 * Sends the groups of chunks to the target, several at a time, so that one fsync carries many of them.
 *
 * - The events of one entity arrive in the order of the file: a group waits until the group of the same entity before
 *   it is acknowledged, whatever happens to others.
 * - Each group has the caller key `import:<name>:<chunk>`, so a group that is already there is not added again.
 * - After the first failure nothing more is sent.
 */
import { assert, WarpError } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import type { AppendOutcome, Target } from "../../target.ts";
import type { Chunk } from "./chunks.ts";

/** Chunks that may be under way: bounds the memory of an import. */
const chunksInFlight = 8;
const retryDelayMsMax = 1000;
const retriesMax = 60;

export interface Tally {
  /** Events added by this run. */
  readonly events: number;
  /** Events that an earlier run had added. */
  readonly alreadyThere: number;
  /** Entities that had no events before this run. */
  readonly entitiesNew: number;
}

export class ChunkAppender {
  private readonly target: Pick<Target, "append">;
  private readonly name: string;
  /** The newest group of each entity that is not acknowledged yet. */
  private readonly newest = new Map<string, Promise<void>>();
  private readonly underWay: Promise<unknown>[] = [];
  private failure: { readonly error: unknown } | undefined;
  private events = 0;
  private alreadyThere = 0;
  private entitiesNew = 0;

  constructor(target: Pick<Target, "append">, name: string) {
    this.target = target;
    this.name = name;
  }

  get tally(): Tally {
    return { events: this.events, alreadyThere: this.alreadyThere, entitiesNew: this.entitiesNew };
  }

  /** Begins to append a chunk, as soon as few enough are under way. Throws what an earlier chunk failed with. */
  async submit(chunk: Chunk): Promise<void> {
    while (this.underWay.length >= chunksInFlight) await this.underWay.shift();
    if (this.failure !== undefined) throw this.failure.error;
    const groups: Promise<void>[] = [];
    for (const [entity, events] of chunk.groups) groups.push(this.enqueue(chunk, entity, events));
    this.underWay.push(Promise.all(groups));
  }

  /** Waits for everything under way. Throws what the first failed group failed with. */
  async finish(): Promise<void> {
    await Promise.all(this.underWay);
    if (this.failure !== undefined) throw this.failure.error;
  }

  private enqueue(chunk: Chunk, entity: string, events: readonly NewEvent[]): Promise<void> {
    const before = this.newest.get(entity);
    const sent =
      before === undefined
        ? this.send(chunk, entity, events)
        : before.then(() => this.send(chunk, entity, events));
    const forget = () => {
      if (this.newest.get(entity) === group) this.newest.delete(entity);
    };
    const group: Promise<void> = sent.then(forget, (error: unknown) => {
      this.failure ??= { error };
      forget();
    });
    this.newest.set(entity, group);
    return group;
  }

  private async send(chunk: Chunk, entity: string, events: readonly NewEvent[]): Promise<void> {
    if (this.failure !== undefined) return;
    const outcome = await this.append(chunk, entity, events);
    assert(outcome.ok, "an append that expects nothing has no conflict");
    if (outcome.duplicate) {
      this.alreadyThere += outcome.count;
    } else {
      this.events += outcome.count;
      if (outcome.firstSeq === 1) this.entitiesNew++;
    }
  }

  private async append(chunk: Chunk, entity: string, events: readonly NewEvent[]): Promise<AppendOutcome> {
    const key = `import:${this.name}:${chunk.number}`;
    for (let retry = 0; ; retry++) {
      try {
        return await this.target.append(entity, events, { key });
      } catch (error) {
        if (!(error instanceof WarpError)) throw error;
        if (error.code === "KEY_REUSED") throw this.otherContents(chunk, entity, error);
        // The key makes it safe to repeat even an append whose outcome is not known.
        if (error.advice !== "retry" || retry === retriesMax) throw error;
        await Bun.sleep(Math.min(retryDelayMsMax, 10 * 2 ** retry));
      }
    }
  }

  private otherContents(chunk: Chunk, entity: string, cause: WarpError): WarpError {
    const lines = `lines ${chunk.firstLine} to ${chunk.lastLine}`;
    const message = `"${this.name}" was imported before with other contents or options (${lines}, entity ${JSON.stringify(entity)}); give this import another --name`;
    return new WarpError("KEY_REUSED", message, { name: this.name, entity, ...cause.details }, cause);
  }
}
