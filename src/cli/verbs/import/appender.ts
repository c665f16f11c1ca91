/**
 * Sends the groups of chunks to the target, several at a time, so that one fsync carries many of them.
 *
 * - The events of one entity arrive in the order of the file: a group waits until the group of the same entity before
 *   it is acknowledged, whatever happens to others.
 * - Each group has the caller key `import:<name>:<n>` when it is the n-th of its entity, and the engine compares its
 *   contents with those the key was used for. So what an import has appended to an entity is always the first groups of
 *   the entity in the input, each once. An input whose groups are others is refused at the first one that differs, where
 *   ever in the input it stands; groups behind those that are there are added.
 * - After the first failure nothing more is sent.
 */
import { assert, WarpError } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import type { AppendOutcome, Target } from "../../target.ts";
import type { Chunk } from "./chunks.ts";
import { GroupNumbers } from "./group-numbers.ts";

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

/** What is one append: events of one entity, and where they come from. */
interface Group {
  readonly entity: string;
  readonly events: readonly NewEvent[];
  readonly key: string;
  readonly chunk: Chunk;
}

export class ChunkAppender {
  private readonly target: Pick<Target, "append">;
  private readonly name: string;
  private readonly numbers = new GroupNumbers();
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
    for (const [entity, events] of chunk.groups) {
      const key = `import:${this.name}:${this.numbers.next(entity)}`;
      groups.push(this.enqueue({ entity, events, key, chunk }));
    }
    this.underWay.push(Promise.all(groups));
  }

  /** Waits for everything under way. Throws what the first failed group failed with. */
  async finish(): Promise<void> {
    await Promise.all(this.underWay);
    if (this.failure !== undefined) throw this.failure.error;
  }

  private enqueue(group: Group): Promise<void> {
    const { entity } = group;
    const before = this.newest.get(entity);
    const sent = before === undefined ? this.send(group) : before.then(() => this.send(group));
    const forget = () => {
      if (this.newest.get(entity) === done) this.newest.delete(entity);
    };
    const done: Promise<void> = sent.then(forget, (error: unknown) => {
      this.failure ??= { error };
      forget();
    });
    this.newest.set(entity, done);
    return done;
  }

  private async send(group: Group): Promise<void> {
    if (this.failure !== undefined) return;
    const outcome = await this.append(group);
    assert(outcome.ok, "an append that expects nothing has no conflict");
    if (outcome.duplicate) {
      this.alreadyThere += outcome.count;
    } else {
      this.events += outcome.count;
      if (outcome.firstSeq === 1) this.entitiesNew++;
    }
  }

  private async append(group: Group): Promise<AppendOutcome> {
    const { entity, events, key } = group;
    for (let retry = 0; ; retry++) {
      try {
        return await this.target.append(entity, events, { key });
      } catch (error) {
        if (!(error instanceof WarpError)) throw error;
        if (error.code === "KEY_REUSED") throw this.otherContents(group, error);
        // The key makes it safe to repeat even an append whose outcome is not known.
        if (error.advice !== "retry" || retry === retriesMax) throw error;
        await Bun.sleep(Math.min(retryDelayMsMax, 10 * 2 ** retry));
      }
    }
  }

  private otherContents({ entity, chunk }: Group, cause: WarpError): WarpError {
    const lines = `lines ${chunk.firstLine} to ${chunk.lastLine}`;
    const message = `"${this.name}" was imported before with other contents or options (${lines}, entity ${JSON.stringify(entity)}); rows that are all to be added need another --name`;
    return new WarpError("KEY_REUSED", message, { name: this.name, entity, ...cause.details }, cause);
  }
}
