/**
 * Everything that the context holds of an entity, as pages of NDJSON (core/export-digest.ts; docs/privacy.md has the lines).
 *
 * - What an export shows is one moment: seq and states are fixed with the first page, and events go up to that seq.
 * - Whose states have to be folded from millions of events first is waited for in several pages without a line, so that no request
 *   lasts as long as that.
 * - Events are in their stored form, one page of history in memory at a time, whatever the length of the history: what is
 *   not settled is settled first.
 * - Behind them comes what other entities say of her: one line for each part, with the host's id, seq and type.
 * - Values that JSON has no form for are objects with one key: `$bytes` (base64), `$bigint`, `$date`, `$number`.
 */
import type { Actor } from "../actor/actor.ts";
import type { ExportCursor, ExportPage } from "../actor/privacy.ts";
import type { Residency } from "../actor/residency.ts";
import {
  type HistoryParts,
  type Life,
  lifeOf,
  readEvents,
  requireSameLife,
} from "../actor/storage/history.ts";
import type { ErasureFollowers } from "../core/erasure.ts";
import { WarpError } from "../core/errors.ts";
import type { StoredEvent } from "../core/event.ts";
import { exportFormat } from "../core/export-digest.ts";
import { raceLasting } from "../core/race-lasting.ts";
import { firstPartOf, isOfParts, spokenPage } from "./export-parts.ts";
import { type HostsParts, spokenOfUnlessFailed } from "./hosts.ts";

export interface ExportParts extends HostsParts {
  readonly context: string;
  readonly history: HistoryParts;
  readonly followers: ErasureFollowers;
  /** Resolves when the engine fails. */
  readonly failed: Promise<WarpError>;
}

const pageChars = 512 * 1024;
/** Entries are about half of the lines that are made of them: what is read for a page is used for it. */
const pageBytes = pageChars / 2;

/** How long a page waits for the entity to be loaded, ms: well below what clients wait for an answer (30 s unless they say so). */
const loadingMs = 5000;
/** The cursor of an export whose first line is still to come. */
const notBegun: ExportCursor = { from: 0, to: 0 };

/** The next page. Errors: ERASED, INVALID_ARGUMENT for an entity that has no events. */
export async function exportPage(
  parts: ExportParts,
  id: string,
  after: ExportCursor | undefined,
): Promise<ExportPage> {
  const { residency, history, subjects } = parts;
  if (after !== undefined && isOfParts(after)) return await partsPage(parts, id, after);
  const actor = await loadedWithin(residency, id, loadingMs);
  if (actor === undefined) return { text: "", next: after ?? notBegun };
  const cursor = after?.from === notBegun.from ? undefined : after;
  const isSpokenOf = (await subjects.numbersOf(id)).length > 0;
  if (actor.committedSeq === 0 && actor.erasedAt !== undefined)
    throw new WarpError("ERASED", `entity ${JSON.stringify(id)} was erased`);
  const life = cursor === undefined ? lifeOf(actor) : lifeAt(cursor, lifeOf(actor));
  requireSameLife(actor, life);
  const { number, seq: to } = life;
  if (to === 0 && !isSpokenOf)
    throw new WarpError("INVALID_ARGUMENT", `entity ${JSON.stringify(id)} has no events`);
  let text = "";
  if (cursor === undefined) {
    const head = {
      format: exportFormat,
      context: parts.context,
      entity: id,
      seq: to,
      exportedAt: Date.now(),
    };
    text = line("entity", head);
    const states = to === 0 ? [] : statesOf(history, actor.committedStates);
    for (const { name, version, state } of states)
      text += line("state", { aggregate: name, version, seq: to, state });
    await whenSettled(parts, actor);
  }
  let from = cursor?.from ?? 1;
  for await (const event of readEvents(history, actor, { from, pageBytes }, life)) {
    text += eventLine(event);
    from = event.seq + 1;
    if (text.length >= pageChars && from <= to) return { text, next: { from, to, number } };
  }
  for (const follower of parts.followers.all)
    for await (const item of follower.holds?.(id) ?? []) text += line("held", { by: follower.name, ...item });
  // What followers hold is found by id: it is hers only if she was there all the time.
  requireSameLife(await residency.ready(id), life);
  // Parts are read from the shards' files.
  if (isSpokenOf) await spokenOfUnlessFailed(parts, id);
  return { text, next: isSpokenOf ? await firstPartOf(subjects, id) : undefined };
}

/** What others say of her, behind her own. */
async function partsPage(parts: ExportParts, id: string, cursor: ExportCursor): Promise<ExportPage> {
  const { events, next } = await spokenPage(
    { subjects: parts.subjects, reading: parts.history.reading },
    id,
    cursor,
  );
  let text = "";
  for (const { entity, seq, type, version, recordedAt, position, personal } of events)
    text += line("personal", { entity, seq, type, version, recordedAt, position, data: personal });
  return { text, next };
}

/** The entity once it is loaded; undefined when that takes longer, and goes on. Errors: those of loading it. */
export async function loadedWithin(
  residency: Pick<Residency, "ready">,
  id: string,
  ms: number,
): Promise<Actor | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([residency.ready(id), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Otherwise every page would copy what the tail has of her. Errors: ENGINE_FAILED. */
async function whenSettled({ settlings, failed }: ExportParts, actor: Actor): Promise<void> {
  const { shard, tipPosition } = actor;
  const settled = settlings[shard.writer]?.whenSettledTo(shard, tipPosition);
  const failure = await raceLasting(Promise.resolve(settled), failed);
  if (failure !== undefined)
    throw new WarpError("ENGINE_FAILED", `the engine has failed: ${failure.message}`);
}

/** What the first page has fixed. Whoever hands a cursor back without the number is not told apart. */
function lifeAt({ to, number }: ExportCursor, now: Life): Life {
  return { number: number ?? now.number, seq: Math.min(to, now.seq) };
}

/** All pages, one after the other. */
export async function* exportPages(parts: ExportParts, id: string): AsyncGenerator<string> {
  let cursor: ExportCursor | undefined;
  do {
    const { text, next }: ExportPage = await exportPage(parts, id, cursor);
    yield text;
    cursor = next;
  } while (cursor !== undefined);
}

function statesOf({ folding }: HistoryParts, states: unknown) {
  return folding.plan.aggregates.map(({ name, version }, slot) => ({
    name,
    version,
    state: folding.stateOf(states, slot),
  }));
}

function eventLine({
  seq,
  type,
  version,
  recordedAt,
  occurredAt,
  position,
  data,
  personal,
}: StoredEvent): string {
  const occurred = occurredAt === undefined ? {} : { occurredAt };
  const said = personal === undefined ? {} : { personal };
  return line("event", { seq, type, version, recordedAt, ...occurred, position, data, ...said });
}

function line(kind: string, fields: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ kind, ...(plain(fields) as object) })}\n`;
}

/** The value with a form for everything that JSON has none for. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: value.toString() };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0)))
    return { $number: Object.is(value, -0) ? "-0" : String(value) };
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Date) return { $date: value.toISOString() };
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}
