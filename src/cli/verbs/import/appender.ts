/**
 * Sends the groups of chunks to the target, several at a time, so that one fsync carries many of them.
 *
 * - The events of one entity arrive in the order of the file: a group waits until the group of the same entity before
 *   it is acknowledged, whatever happens to others.
 * - Each group has the caller key `import:<name>:<n>` when it is the n-th of its entity, and the engine compares its
 *   contents with those the key was used for. So what an import has appended to an entity is always the first groups of
 *   the entity in the input, each once. An input whose groups are others is refused at the first one that differs, where
 *   ever in the input it stands; groups behind those that are there are added.
 * - After the first failure nothing more is sent. Erasures are failures too, unless there is somebody to tell of what is left
 *   out: then the groups of an erased entity are, and of others what they say of an erased subject. That is what there would
 *   be if the erasure had come behind the import; a key is not compared by what is said of subjects, so a group without it
 *   is still the same.
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

/** What is left out of a group because of an erasure. */
export interface LeftOut {
  readonly entity: string;
  /** Whose parts of the rows are left out; undefined when the rows are, because their entity was erased. */
  readonly subject: string | undefined;
  readonly rows: number;
  /** The lines that the rows are among. */
  readonly firstLine: number;
  readonly lastLine: number;
}

export class ChunkAppender {
  private readonly target: Pick<Target, "append">;
  private readonly name: string;
  private readonly onErased: ((leftOut: LeftOut) => void) | undefined;
  private readonly numbers = new GroupNumbers();
  /** The newest group of each entity that is not acknowledged yet. */
  private readonly newest = new Map<string, Promise<void>>();
  private readonly underWay: Promise<unknown>[] = [];
  private failure: { readonly error: unknown } | undefined;
  private events = 0;
  private alreadyThere = 0;
  private entitiesNew = 0;

  /** Without `onErased` an erasure is a failure. */
  constructor(target: Pick<Target, "append">, name: string, onErased?: (leftOut: LeftOut) => void) {
    this.target = target;
    this.name = name;
    this.onErased = onErased;
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
    const outcome = await this.appendUnerased(group);
    if (outcome === undefined) return;
    assert(outcome.ok, "an append that expects nothing has no conflict");
    if (outcome.duplicate) {
      this.alreadyThere += outcome.count;
    } else {
      this.events += outcome.count;
      if (outcome.firstSeq === 1) this.entitiesNew++;
    }
  }

  /** Appends what may be appended of a group; undefined when that is nothing. */
  private async appendUnerased(group: Group): Promise<AppendOutcome | undefined> {
    for (let unerased: Group | undefined = group; unerased !== undefined; ) {
      try {
        return await this.append(unerased);
      } catch (error) {
        if (!(error instanceof WarpError) || error.code !== "ERASED") throw error;
        unerased = this.leaveOut(unerased, error);
      }
    }
    return undefined;
  }

  /** The group without what an erasure forbids. Throws the error when that is not to be left out. */
  private leaveOut(group: Group, error: WarpError): Group | undefined {
    const { entity, events, chunk } = group;
    const subject = typeof error.details.subject === "string" ? error.details.subject : undefined;
    const about = subject === undefined ? events : events.filter((event) => isAbout(event, subject));
    if (this.onErased === undefined || about.length === 0) throw error;
    this.onErased({
      entity,
      subject,
      rows: about.length,
      firstLine: chunk.firstLine,
      lastLine: chunk.lastLine,
    });
    if (subject === undefined) return undefined;
    return { ...group, events: events.map((event) => (isAbout(event, subject) ? unsaid(event) : event)) };
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

function isAbout({ personal }: NewEvent, subject: string): boolean {
  return personal?.subject === subject;
}

function unsaid({ personal: _, ...event }: NewEvent): NewEvent {
  return event;
}
