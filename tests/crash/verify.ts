/**
 * Compares an open context with the model: every acknowledged operation is there once, whole and with its content,
 * nothing is there that nobody tried, seqs have no gaps, states are a plain fold, rejections were due, and repeats under
 * a key count once.
 *
 * Complaints are sentences; an empty list is the proof.
 */
import type { StoredEvent } from "../../src/index.ts";
import { type EventData, plainFold } from "./aggregates.ts";
import type { Known, Model } from "./model.ts";
import { type Driven, eventOf, type Operation, perform } from "./operations.ts";

/** Where the events of one part of an operation were found. */
interface Found {
  readonly id: string;
  readonly seqs: number[];
}

/** `lossAllowed`: acknowledged operations may be missing (durability "os"); they are counted, not complained about. */
export interface Verified {
  readonly complaints: string[];
  readonly events: number;
  readonly lost: number;
}

export async function verify(driven: Driven, model: Model, lossAllowed = false): Promise<Verified> {
  const complaints: string[] = [];
  const found = new Map<string, Found[]>();
  let events = 0;
  const ids: string[] = [];
  for await (const { id } of driven.entities()) ids.push(id);
  const histories = new Map<string, readonly StoredEvent[]>();
  for (const id of ids) {
    const stored: StoredEvent[] = [];
    for await (const event of driven.entity(id).storedEvents()) stored.push(event);
    events += stored.length;
    histories.set(id, stored);
    complaints.push(...checkEntity(id, stored, model, found), ...(await checkStates(driven, id, stored)));
  }
  complaints.push(...(await checkErasures(driven, model, histories, lossAllowed)));
  let lost = 0;
  for (const known of model.operations.values()) {
    const parts = found.get(known.operation.op);
    const problem = checkOperation(known, parts);
    if (problem === "lost" && lossAllowed) {
      lost++;
      known.status = "absent";
      known.firstSeqs = undefined;
    } else if (problem === "lost") complaints.push(`${describe(known)} was acknowledged and is not there`);
    else if (problem !== undefined) complaints.push(`${describe(known)} ${problem}`);
    else if (known.status === "unknown") settleUnknown(known, parts);
    // What a refusal was decided on may be lost like everything else.
    if (lossAllowed) known.refusal = undefined;
    const untrue = checkRefusal(known, histories);
    if (untrue !== undefined) complaints.push(`${describe(known)} ${untrue}`);
  }
  return { complaints, events, lost };
}

/** Repeats every keyed operation without an answer, and `more` of those with one. */
export async function repeatKeyed(driven: Driven, model: Model, more: readonly Known[]): Promise<string[]> {
  const complaints: string[] = [];
  for (const known of model.unansweredKeyed()) {
    const answer = await perform(driven, known.operation);
    if ("rejected" in answer) {
      if (known.status === "there")
        complaints.push(`${describe(known)} is there and was rejected when repeated`);
      known.refusal = answer;
      continue;
    }
    if (answer.duplicate !== (known.status === "there")) {
      complaints.push(`${describe(known)} was repeated with duplicate: ${answer.duplicate}`);
    }
    known.status = "there";
    known.firstSeqs = answer.firstSeqs;
  }
  for (const known of more) {
    const answer = await perform(driven, known.operation);
    if (!answer.duplicate) complaints.push(`${describe(known)} took effect again when it was repeated`);
    const isSame =
      "rejected" in answer
        ? answer.rejected === known.refusal?.rejected && answer.seq === known.refusal.seq
        : answer.firstSeqs.join() === known.firstSeqs?.join();
    if (!isSame)
      complaints.push(`${describe(known)} got another answer when repeated: ${JSON.stringify(answer)}`);
  }
  return complaints;
}

/** An erasure took place wholly or not at all, and one with a receipt did. */
async function checkErasures(
  driven: Driven,
  model: Model,
  histories: ReadonlyMap<string, unknown>,
  lossAllowed: boolean,
): Promise<string[]> {
  const complaints: string[] = [];
  for (const [id, state] of model.erasures) {
    const isThere = histories.has(id);
    if (isThere && state === "gone") complaints.push(`${id} is erased, and it is listed`);
    if (isThere && state === "asked") model.erasures.delete(id);
    if (isThere) continue;
    const answer = await driven
      .entity(id)
      .seq()
      .then(String, (error: { code?: string }) => error.code);
    if (lossAllowed && state === "asked" && answer === "0") {
      // Its events are lost, and the erasure with them; its name may have outlived both.
      model.erasures.delete(id);
      continue;
    }
    if (answer !== "ERASED") complaints.push(`${id} is erased, and its seq is ${answer}`);
    model.bury(id);
  }
  return complaints;
}

function checkEntity(
  id: string,
  stored: readonly StoredEvent[],
  model: Model,
  found: Map<string, Found[]>,
): string[] {
  const complaints: string[] = [];
  let recordedAt = 0;
  if (stored.length === 0) complaints.push(`${id} is listed without events`);
  for (const [index, event] of stored.entries()) {
    const { op, part, i } = event.data as EventData;
    const operation = model.operations.get(op)?.operation;
    if (event.seq !== index + 1) complaints.push(`${id} has seq ${event.seq} where ${index + 1} is due`);
    if (event.recordedAt < recordedAt) complaints.push(`${id}: recordedAt falls at seq ${event.seq}`);
    recordedAt = event.recordedAt;
    if (operation === undefined || operation.parts[part]?.[0] !== id) {
      complaints.push(`${id} has at seq ${event.seq} an event of ${op}, which nobody tried there`);
      continue;
    }
    if (!hasContent(event, operation, part, i)) complaints.push(`${id} seq ${event.seq} has other content`);
    const parts = found.get(op) ?? operation.parts.map(([partId]) => ({ id: partId, seqs: [] }));
    parts[part]?.seqs.push(event.seq);
    found.set(op, parts);
  }
  return complaints;
}

function hasContent(event: StoredEvent, operation: Operation, part: number, i: number): boolean {
  const made = eventOf(operation, part, i);
  return (
    event.type === made.type &&
    event.occurredAt === made.occurredAt &&
    Bun.deepEquals(event.data, made.data, true)
  );
}

async function checkStates(driven: Driven, id: string, stored: readonly StoredEvent[]): Promise<string[]> {
  const entity = driven.entity(id);
  const plain = plainFold(stored);
  const complaints: string[] = [];
  if (!Bun.deepEquals(await entity.read("purse"), plain.purse)) complaints.push(`${id} has another purse`);
  if (!Bun.deepEquals(await entity.read("trail"), plain.trail)) complaints.push(`${id} has another trail`);
  if ((await entity.seq()) !== stored.length) complaints.push(`${id} has another newest seq`);
  return complaints;
}

/** Undefined when what was found is what the model says; "lost" when nothing of an acknowledged operation is there. */
function checkOperation(known: Known, parts: readonly Found[] | undefined): string | undefined {
  const { operation, status, firstSeqs } = known;
  if (parts === undefined) return status === "there" ? "lost" : undefined;
  if (status === "absent") return "is there although it was not to be";
  for (const [index, [, count]] of operation.parts.entries()) {
    const seqs = parts[index]?.seqs ?? [];
    if (seqs.length !== count) return `has ${seqs.length} of ${count} events in part ${index}`;
    const first = seqs[0] ?? 0;
    if (seqs.some((seq, i) => seq !== first + i)) return `is torn apart: seqs ${seqs.join()}`;
    if (firstSeqs !== undefined && firstSeqs[index] !== first)
      return `is at seq ${first}, not ${firstSeqs[index]}`;
  }
  return undefined;
}

/** Undefined when a refused operation was to be refused, by what its entity holds at the seq that its caller was told. */
function checkRefusal(
  { operation, refusal }: Known,
  histories: ReadonlyMap<string, readonly StoredEvent[]>,
): string | undefined {
  if (refusal === undefined) return undefined;
  const { rejected, seq = -1, details } = refusal;
  if (rejected !== "TOO_LITTLE") return `was refused with ${rejected}, for which there is no reason`;
  const before = (histories.get(operation.parts[0]?.[0] ?? "") ?? []).slice(0, seq);
  const { cents } = plainFold(before).purse;
  const isDue = before.length === seq && cents < eventOf(operation, 0, 0).data.cents;
  if (isDue && Bun.deepEquals(details, { have: cents })) return undefined;
  return `was rejected at seq ${seq} with ${JSON.stringify(details)}, where ${before.length} events have ${cents}`;
}

function settleUnknown(known: Known, parts: readonly Found[] | undefined): void {
  known.status = parts === undefined ? "absent" : "there";
}

function describe({ operation }: Known): string {
  return `${operation.kind} ${operation.op} on ${operation.parts.map(([id]) => id).join(", ")}`;
}
