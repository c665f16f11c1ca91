/**
 * Compares an open context with the model: every acknowledged operation is there once, whole and with its content,
 * nothing is there that nobody tried, seqs have no gaps, states are a plain fold, and repeats under a key count once.
 *
 * Complaints are sentences; an empty list is the proof.
 */
import type { StoredEvent, Warp } from "../../src/index.ts";
import { type EventData, plainFold, purse, trail } from "./aggregates.ts";
import type { Known, Model } from "./model.ts";
import { eventOf, type Operation, perform } from "./operations.ts";

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

export async function verify(warp: Warp, model: Model, lossAllowed = false): Promise<Verified> {
  const complaints: string[] = [];
  const found = new Map<string, Found[]>();
  let events = 0;
  const ids: string[] = [];
  for await (const { id } of warp.entities()) ids.push(id);
  for (const id of ids) {
    const stored: StoredEvent[] = [];
    for await (const event of warp.entity(id).storedEvents()) stored.push(event);
    events += stored.length;
    complaints.push(...checkEntity(id, stored, model, found), ...(await checkStates(warp, id, stored)));
  }
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
  }
  return { complaints, events, lost };
}

/** Repeats every keyed operation without an answer, and `more` of those with one. */
export async function repeatKeyed(warp: Warp, model: Model, more: readonly Known[]): Promise<string[]> {
  const complaints: string[] = [];
  for (const known of model.unansweredKeyed()) {
    const answer = await perform(warp, known.operation);
    if ("rejected" in answer) {
      if (known.status === "there")
        complaints.push(`${describe(known)} is there and was rejected when repeated`);
      known.rejected = answer.rejected;
      continue;
    }
    if (answer.duplicate !== (known.status === "there")) {
      complaints.push(`${describe(known)} was repeated with duplicate: ${answer.duplicate}`);
    }
    known.status = "there";
    known.firstSeqs = answer.firstSeqs;
  }
  for (const known of more) {
    const answer = await perform(warp, known.operation);
    if (!answer.duplicate) complaints.push(`${describe(known)} took effect again when it was repeated`);
    const isSame =
      "rejected" in answer
        ? answer.rejected === known.rejected
        : answer.firstSeqs.join() === known.firstSeqs?.join();
    if (!isSame)
      complaints.push(`${describe(known)} got another answer when repeated: ${JSON.stringify(answer)}`);
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

async function checkStates(warp: Warp, id: string, stored: readonly StoredEvent[]): Promise<string[]> {
  const entity = warp.entity(id);
  const plain = plainFold(stored);
  const complaints: string[] = [];
  if (!Bun.deepEquals(await entity.read(purse), plain.purse)) complaints.push(`${id} has another purse`);
  if (!Bun.deepEquals(await entity.read(trail), plain.trail)) complaints.push(`${id} has another trail`);
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

function settleUnknown(known: Known, parts: readonly Found[] | undefined): void {
  known.status = parts === undefined ? "absent" : "there";
}

function describe({ operation }: Known): string {
  return `${operation.kind} ${operation.op} on ${operation.parts.map(([id]) => id).join(", ")}`;
}
