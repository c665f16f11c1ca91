/**
 * What every way into Warp has in common, as the contract suite sees it. One driver a file makes each of them look so.
 *
 * Failures are thrown as `Failure` with the code; an entity without events has seq 0, no events and no state.
 */

export interface Event {
  readonly type: string;
  readonly data: unknown;
  readonly occurredAt?: number;
  readonly personal?: { readonly subject: string; readonly data: unknown };
}

export interface Stored extends Omit<Event, "personal"> {
  readonly personal?: unknown;
  readonly entity: string;
  readonly seq: number;
  readonly version: number;
  readonly recordedAt: number;
  readonly position: number;
}

export interface Guard {
  readonly expect?: "any" | "none" | "exists" | number;
  readonly key?: string;
}

export type At = { readonly seq: number } | { readonly recorded: number } | { readonly occurred: number };

export interface FrontEnd {
  readonly name: string;
  /** Ids that this way in cannot carry, by their nature; documented where the front end is. */
  readonly unspeakable: ReadonlySet<string>;
  append(entity: string, events: readonly Event[], guard?: Guard): Promise<Record<string, unknown>>;
  send(entity: string, command: string, input: unknown, guard?: Guard): Promise<Record<string, unknown>>;
  seq(entity: string): Promise<number>;
  state(entity: string, aggregate?: string, at?: At): Promise<unknown>;
  events(
    entity: string,
    range?: { from?: number; to?: number; limit?: number; direction?: "forward" | "backward" },
  ): Promise<Stored[]>;
  entities(query: {
    prefix?: string;
    after?: string;
    limit?: number;
  }): Promise<{ id: string; seq: number }[]>;
  /** The lines of an export. */
  export(entity: string): Promise<Record<string, unknown>[]>;
  delete(entity: string, options?: { reason?: string; by?: string }): Promise<Record<string, unknown>>;
  deletePlan(entity: string): Promise<Record<string, unknown>>;
  hold(entity: string, reason: string): Promise<unknown>;
  releaseHold(entity: string): Promise<void>;
  /** What there is, and the cursor behind it; absent where subscribing is not possible. */
  readAll?(query: Followed, from: string | { time: number }): Promise<{ events: Stored[]; cursor: string }>;
  close(): Promise<void>;
}

/** What a subscription is about. */
export interface Followed {
  readonly entity?: string;
  readonly prefix?: string;
  readonly types?: readonly string[];
}

export function linesOf(text: string): Record<string, unknown>[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

export class Failure extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** The code that `call` fails with, or undefined. */
export async function codeOf(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (thrown) {
    if (typeof thrown === "object" && thrown !== null && "code" in thrown) return String(thrown.code);
    throw thrown;
  }
}
