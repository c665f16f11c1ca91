/**
 * What reading a resident state costs, in loops of a million calls: through one handle, through handles of entities
 * chosen at random (memory that is not in the processor's cache), and with the entity looked up by id.
 */
import type { Warp } from "../../../index.ts";
import { type DrivenEntities, idOf } from "./entities.ts";
import { ledger, type Payments } from "./payload.ts";
import type { Random } from "./random.ts";

export interface StateReads {
  /** ns per call, the median of the loops. */
  readonly oneHandleNs: number;
  readonly randomHandleNs: number;
  readonly lookupNs: number;
  /** `await entity.read()`. */
  readonly awaitedNs: number;
}

const loopCalls = 1_000_000;

export async function measureStateReads(
  warp: Warp,
  driven: DrivenEntities,
  payments: Payments,
  random: Random,
  seconds: number,
): Promise<StateReads> {
  const { active } = driven;
  const ids = Array.from({ length: active }, (_, number) => idOf(number));
  const handles = ids.map((id) => warp.entity(id));
  await Promise.all(handles.map((handle) => handle.append(payments.event())));
  for (let number = 0; number < active; number++) driven.note(number, 1);
  const order = Uint32Array.from({ length: loopCalls }, () => random.below(active));
  const [first] = handles;
  if (first === undefined) throw new Error("there is no entity to read");

  let sum = 0;
  const oneHandle = () => {
    for (let i = 0; i < loopCalls; i++) sum += first.state(ledger)?.count ?? 0;
  };
  const randomHandle = () => {
    for (let i = 0; i < loopCalls; i++) sum += handles[order[i] ?? 0]?.state(ledger)?.count ?? 0;
  };
  const lookup = () => {
    for (let i = 0; i < loopCalls; i++)
      sum += warp.entity(ids[order[i] ?? 0] ?? "").state(ledger)?.count ?? 0;
  };
  const awaited = async () => {
    for (let i = 0; i < loopCalls; i++) sum += (await first.read(ledger)).count;
  };
  const share = seconds / 4;
  const reads = {
    oneHandleNs: await medianNs(oneHandle, share),
    randomHandleNs: await medianNs(randomHandle, share),
    lookupNs: await medianNs(lookup, share),
    awaitedNs: await medianNs(awaited, share),
  };
  // Every read found a state, so the loops did what they claim to.
  if (sum < loopCalls * 4) throw new Error("states were missing");
  return reads;
}

/** ns per call of a loop of `loopCalls`, at least three times and for about `seconds`; the first one warms up. */
async function medianNs(loop: () => void | Promise<void>, seconds: number): Promise<number> {
  await loop();
  const times: number[] = [];
  let totalMs = 0;
  while (times.length < 3 || totalMs < seconds * 1000) {
    const begun = performance.now();
    await loop();
    const elapsedMs = performance.now() - begun;
    times.push((elapsedMs * 1e6) / loopCalls);
    totalMs += elapsedMs;
  }
  times.sort((a, b) => a - b);
  return times[times.length >> 1] ?? 0;
}
