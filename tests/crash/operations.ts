/**
 * The operations that the crash tests load an engine with, and how one is performed.
 *
 * - Everything about an operation follows from its name and its parts: content read back is compared with content made
 *   again, so the log needs names only.
 * - The name is in every event, so whoever reads the events knows which operation each belongs to.
 */
import type { AppendResult, Entity, SendResult, StoredEvent, Warp } from "../../src/index.ts";
import type { EventData } from "./aggregates.ts";

export interface Operation {
  readonly op: string;
  readonly kind: "append" | "batch" | "together" | "spend" | "erase";
  /** Which entities get how many events. */
  readonly parts: readonly (readonly [id: string, count: number])[];
  readonly key?: string;
  /** Its entity is new, and this says so; however often it is sent, it never meets itself. */
  readonly expect?: "none";
}

/** What is driven: a context in this process, or a client of a server, which lacks `atomically`. */
export interface Driven {
  entity(id: string): DrivenEntity;
  entities(): AsyncIterable<{ readonly id: string }>;
  readonly atomically?: Warp["atomically"];
}

interface WriteChoices {
  readonly key?: string;
  readonly expect?: "none";
}

interface DrivenEntity {
  append(event: MadeEvent, options: WriteChoices): Promise<AppendResult>;
  appendBatch(events: readonly MadeEvent[], options: WriteChoices): Promise<AppendResult>;
  send(command: string, input: unknown, options: WriteChoices): Promise<SendResult>;
  storedEvents(): AsyncIterable<StoredEvent>;
  read(aggregate: string): Promise<unknown>;
  seq(): Promise<number>;
  readonly delete?: Entity["delete"];
}

/** What the caller was told. */
export type Answer =
  | { readonly op: string; readonly firstSeqs: readonly number[]; readonly duplicate: boolean }
  | ({ readonly op: string; readonly duplicate: boolean } & Refusal);

/** Why nothing was appended; a rejection also says what it was decided on. */
export interface Refusal {
  readonly rejected: string;
  readonly seq?: number;
  readonly details?: unknown;
}

export interface MadeEvent {
  readonly type: string;
  readonly data: EventData;
  readonly occurredAt?: number;
}

const alphabet = "etaoinshrdlu cmfwypvbgkjqxz ÄÖÜ€";

/** Event `i` of a part, made from names alone. */
export function eventOf(operation: Operation, part: number, i: number): MadeEvent {
  const { op, kind } = operation;
  const of = operation.parts[part]?.[1] ?? 0;
  const hash = Bun.hash.crc32(`${op}|${part}|${i}`);
  const padLength = hash % 11 === 0 ? 1500 : hash % 90;
  const start = hash % alphabet.length;
  const pad = (alphabet.slice(start) + alphabet).repeat(Math.ceil(padLength / alphabet.length));
  const data = { op, part, i, of, cents: hash % 1000, pad: pad.slice(0, padLength) };
  if (kind === "spend") return { type: "Spent", data };
  const type = hash % 3 === 0 ? "Noted" : "Earned";
  return hash % 4 === 0 ? { type, data, occurredAt: 1_600_000_000_000 + (hash % 1e9) } : { type, data };
}

export function eventsOf(operation: Operation, part: number): MadeEvent[] {
  return Array.from({ length: operation.parts[part]?.[1] ?? 0 }, (_, i) => eventOf(operation, part, i));
}

/** Makes the operations of one run, some on entities that it has used before and some on new ones. */
export class Operations {
  readonly #run: string;
  readonly #random: () => number;
  readonly #hasTogether: boolean;
  #made = 0;

  constructor(run: string, random: () => number, hasTogether = true) {
    this.#run = run;
    this.#random = random;
    this.#hasTogether = hasTogether;
  }

  /** The operations of a short life: an entity of its own is written to, and erased. One caller performs them in order. */
  life(): Operation[] {
    const id = `mortal ${this.#run}-${++this.#made} ü`;
    const length = 1 + Math.floor(this.#random() * 4);
    const written = Array.from({ length }, (_, i): Operation => {
      const op = `${this.#run}.${++this.#made}`;
      return { op, kind: "batch", parts: [[id, 1 + Math.floor(this.#random() * 30)]], key: `key ${op} ${i}` };
    });
    return [...written, { op: `${this.#run}.${++this.#made}`, kind: "erase", parts: [[id, 0]] }];
  }

  next(): Operation {
    const random = this.#random;
    const op = `${this.#run}.${++this.#made}`;
    const kind = random();
    const key = random() < 0.3 ? { key: `key ${op}` } : {};
    if (kind < 0.12 && this.#hasTogether) {
      const group = Math.floor(random() * 12);
      const names = ["a", "b", "c"].slice(0, 2 + Math.floor(random() * 2));
      const parts = names.map((name) => [`{group-${group}}/${name}`, 1 + Math.floor(random() * 3)] as const);
      return { op, kind: "together", parts };
    }
    const isNew = random() < 0.15;
    const id = isNew ? `new ${this.#run}-${this.#made} ü` : `known-${Math.floor(random() ** 2 * 150)}`;
    if (kind < 0.3) return { op, kind: "batch", parts: [[id, 1 + Math.floor(random() * 8)]], ...key };
    if (kind < 0.5) return { op, kind: "spend", parts: [[id, 1]], ...key };
    const expect = isNew && random() < 0.5 ? { expect: "none" as const } : {};
    return { op, kind: "append", parts: [[id, 1]], ...key, ...expect };
  }
}

/** Erases an entity. Resolves when nothing is pending. Errors: those of the engine. */
async function erase(entity: DrivenEntity, op: string): Promise<Answer> {
  const receipt = await entity.delete?.({ reason: "crash", waitMs: 600_000 });
  if (receipt?.status !== "erased") throw new Error(`the receipt says ${JSON.stringify(receipt)}`);
  return { op, firstSeqs: [], duplicate: false };
}

/** Performs an operation, or repeats it. Errors: those of the engine. */
export async function perform(driven: Driven, operation: Operation): Promise<Answer> {
  const { op, kind, parts, key, expect } = operation;
  if (kind === "together" && driven.atomically !== undefined) {
    const ids = parts.map(([id]) => id);
    const result = await driven.atomically(ids, (participants) => {
      for (const [part, participant] of participants.entries())
        participant.append(...eventsOf(operation, part));
    });
    if (!result.ok) return { op, rejected: result.code, duplicate: false };
    return { op, firstSeqs: result.results.map(({ firstSeq }) => firstSeq), duplicate: false };
  }
  const entity = driven.entity(parts[0]?.[0] ?? "");
  if (kind === "erase") return await erase(entity, op);
  const events = eventsOf(operation, 0);
  const options = { ...(key === undefined ? {} : { key }), ...(expect === undefined ? {} : { expect }) };
  const first = events[0];
  let result: AppendResult | SendResult;
  if (kind === "spend") result = await entity.send("purse.spend", first?.data, options);
  else if (kind === "append" && first !== undefined) result = await entity.append(first, options);
  else result = await entity.appendBatch(events, options);
  if (result.ok) return { op, firstSeqs: [result.firstSeq], duplicate: result.duplicate };
  const { seq } = result;
  if (result.reason === "conflict") return { op, rejected: result.reason, seq, duplicate: false };
  return { op, rejected: result.code, seq, details: result.details, duplicate: result.duplicate };
}
