/**
 * What the pieces of an append and of a read cost by themselves: `bun bench/pieces.ts`. Folding has fold.ts, settling
 * settle.ts, whole runs `warp bench`.
 */
import { join } from "node:path";
import { bench, do_not_optimize, group, run } from "mitata";
import { encodeData } from "../src/aggregate/json-data.ts";
import { idOf } from "../src/cli/verbs/bench/entities.ts";
import { ledger, Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random } from "../src/cli/verbs/bench/random.ts";
import { bytesOf, type EntryDraft, readEntry, writeEntry } from "../src/core/entry.ts";
import { start } from "../src/index.ts";
import { scratchDirectory } from "./scratch.ts";

const payments = new Payments(100, 1);
const data = Array.from({ length: 1024 }, () => payments.data());
const out = bytesOf(new SharedArrayBuffer(64 * 1024));
let next = 0;

function draftOf(values: readonly unknown[]): EntryDraft {
  return {
    count: values.length,
    types: [{ name: "Paid", utf8: Buffer.from("Paid"), version: 1 }],
    typeIndexes: undefined,
    occurred: undefined,
    data: encodeData(values),
    isMsgpack: false,
  };
}

group("an event of 100 bytes", () => {
  bench("JSON.stringify", () => do_not_optimize(JSON.stringify([data[next++ & 1023]])));
  bench("check and encode", () => do_not_optimize(encodeData([data[next++ & 1023]])));
  const draft = draftOf([data[0]]);
  bench("write its entry", () => do_not_optimize(writeEntry(out, 0, draft, 1e12, 1)));
  const read = bytesOf(new SharedArrayBuffer(4096));
  writeEntry(read, 0, draft, 1e12, 1);
  bench("read its entry", () => do_not_optimize(readEntry(read, 0, "alice", 1)));
});

const directory = scratchDirectory("pieces");
const open = (durability: "fsync" | "os") =>
  start({ context: "bench", aggregates: [ledger], dataDir: join(directory, durability), durability });
const synced = await open("fsync");
const unsynced = await open("os");

const residents = 10_000;
const handles = Array.from({ length: residents }, (_, i) => unsynced.entity(idOf(i)));
const ids = handles.map(({ id }) => id);
await Promise.all(handles.map((handle) => handle.append(payments.event())));
const random = new Random(1);
const order = Uint32Array.from({ length: 1 << 16 }, () => random.below(residents));
const chosen = () => order[next++ & 0xffff] ?? 0;
const alice = unsynced.entity("alice");
await alice.append(payments.event());

group("the state of a resident entity", () => {
  bench("by one handle", () => do_not_optimize(alice.state(ledger)));
  bench("by a random handle", () => do_not_optimize(handles[chosen()]?.state(ledger)));
  bench("by id", () => do_not_optimize(unsynced.entity(ids[chosen()] ?? "").state(ledger)));
  bench("awaited", async () => do_not_optimize(await alice.read(ledger)));
});

group("one append at a time, journal round trip included", () => {
  const durable = synced.entity("alice");
  bench("acknowledged by the disk", async () => do_not_optimize(await durable.append(payments.event())));
  bench("acknowledged by the operating system", async () =>
    do_not_optimize(await alice.append(payments.event())),
  );
});

await run();
await synced.close();
await unsynced.close();
