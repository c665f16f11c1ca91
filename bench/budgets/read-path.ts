/** Reads of a state over TCP: the steps of the client's and of the server's main thread. */
import { ledger } from "../../src/cli/verbs/bench/payload.ts";
import type { FrameWriter } from "../../src/net/protocol/frame-writer.ts";
import { readStateAt, writeStateAt } from "../../src/net/protocol/replies.ts";
import { readState } from "../../src/net/protocol/requests.ts";
import { promise, turn } from "./append-path.ts";
import { sink } from "./clock.ts";
import type { Steps } from "./path.ts";
import { ids, openSample, order } from "./sample.ts";
import { findByNumber, framesOf, mainThreads, reading, sockets, writeStateOf, writing } from "./wire.ts";
import { wholeRun } from "./whole-run.ts";

const state = { seq: 12, state: { cents: 1_234_567, count: 12 } };
let next = 0;

const writeStateAtOf = (writer: FrameWriter, id: number): void => writeStateAt(writer, id, state);

export async function openRead(): Promise<Steps> {
  const sample = await openSample();
  const handles = ids.map((id) => sample.warp.entity(id));
  const wire = await sockets(framesOf(writeStateOf, turn), framesOf(writeStateAtOf, turn));
  return {
    steps: {
      "client: write the request": { run: writing(writeStateOf) },
      "both: sockets": { run: wire.run, per: turn },
      "server: read the request": { run: reading(framesOf(writeStateOf), 3, readState) },
      "server: find the actor": { run: findByNumber(sample) },
      "server: read its state": {
        run: (times) => {
          for (let i = 0; i < times; i++)
            sink.value = handles[order[next++ & 0xffff] ?? 0]?.residentSnapshot(ledger.name);
        },
      },
      "server: write the answer": { run: writing(writeStateAtOf) },
      "client: read the answer": { run: reading(framesOf(writeStateAtOf), 2, readStateAt) },
      "client: resolve a promise": { run: promise },
    },
    whole: () => wholeRun(mainThreads, "--read"),
    async close() {
      wire.close();
      await sample.close();
    },
  };
}
