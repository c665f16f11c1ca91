/**
 * The load of bench/soak.ts, a process of its own: callers append to a server without a pause until this is told to end, and every
 * `--slice` seconds go on with entities of another name. Each slice ends with a line of JSON about it.
 *
 * `bun bench/soak-load.ts --addr=HOST:PORT --http=HOST:PORT --slice=60 --entities=10000`, until SIGTERM.
 *
 * What the entities of a slice were given is compared with what they have, a thousand of them, while the next slice runs.
 */
import { parseArgs } from "node:util";
import { DrivenEntities } from "../src/cli/verbs/bench/entities.ts";
import { Latencies } from "../src/cli/verbs/bench/latencies.ts";
import { openServer } from "../src/cli/verbs/bench/over-tcp.ts";
import { Payments } from "../src/cli/verbs/bench/payload.ts";
import { Random, uniformChoice } from "../src/cli/verbs/bench/random.ts";

const callers = 256;
const eventBytes = 100;
const warmupMs = 3000;

/** What a slice of the load was like; slices follow each other without a gap. */
export interface LoadSlice {
  /** Of its entities. */
  readonly prefix: string;
  readonly seconds: number;
  readonly events: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Of the server. */
  readonly rssBytes: number;
  /** Processors that were busy. */
  readonly serverBusy: number;
  readonly clientBusy: number;
}

interface Slice {
  readonly prefix: string;
  readonly driven: DrivenEntities;
  readonly latencies: Latencies;
  events: number;
  underWay: number;
  /** Nothing is under way to its entities, and nothing will be. */
  readonly idle: PromiseWithResolvers<void>;
}

if (import.meta.main) await run();

async function run(): Promise<void> {
  const { values } = parseArgs({
    options: {
      addr: { type: "string", default: "" },
      http: { type: "string", default: "" },
      slice: { type: "string", default: "60" },
      entities: { type: "string", default: "10000" },
    },
  });
  const entities = Number(values.entities);
  const subject = await openServer(values.addr, values.http, 1);
  const { source } = subject;
  const payments = new Payments(eventBytes, 1);
  const choose = uniformChoice(new Random(1), entities);
  let made = 0;
  const newSlice = (): Slice => {
    const prefix = `soak-${Date.now().toString(36)}-${++made}-`;
    const driven = new DrivenEntities({ source, prefix, entities, active: entities, lookup: false });
    const idle = Promise.withResolvers<void>();
    return { prefix, driven, latencies: new Latencies(), events: 0, underWay: 0, idle };
  };

  let slice = newSlice();
  let isOver = false;
  const caller = async () => {
    let begun = performance.now();
    while (!isOver) {
      const own = slice;
      const number = choose();
      own.underWay++;
      const result = await own.driven.entity(number).append(payments.event());
      own.underWay--;
      if (!result.ok) throw new Error("an append without expectations met a conflict");
      own.driven.note(number, 1);
      if (own !== slice && own.underWay === 0) own.idle.resolve();
      // It counts in the slice in which it ends.
      const ended = performance.now();
      slice.latencies.record(ended - begun);
      slice.events++;
      begun = ended;
    }
  };
  const { promise: failed, reject: fail } = Promise.withResolvers<never>();
  const running = Promise.all(Array.from({ length: callers }, caller));
  running.catch(fail);
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGTERM", () => {
      isStopped = true;
      resolve();
    });
  });
  let isStopped = false;
  let verifying: Promise<void> = Promise.resolve();
  /** Goes on with other entities, and compares those that were driven until now. */
  const turn = (): Slice => {
    const own = slice;
    slice = newSlice();
    verifying = Promise.all([verifying, own.idle.promise]).then(async () => {
      await own.driven.verify();
    });
    verifying.catch(fail);
    return own;
  };

  await Promise.race([Bun.sleep(warmupMs), failed]);
  turn();
  while (!isStopped) {
    const readings = await subject.measure();
    const begun = performance.now();
    const eventsBefore = slice.events;
    await Promise.race([Bun.sleep(Number(values.slice) * 1000), stopped, failed]);
    const { prefix, events, latencies } = turn();
    const seconds = (performance.now() - begun) / 1000;
    const { rssBytes = 0, processor } = await readings();
    const line: LoadSlice = {
      prefix,
      seconds,
      events: events - eventsBefore,
      p50Ms: latencies.quantileMs(0.5),
      p99Ms: latencies.quantileMs(0.99),
      maxMs: latencies.maxMs,
      rssBytes,
      serverBusy: processor.server?.busy ?? 0,
      clientBusy: processor.client?.busy ?? 0,
    };
    console.log(JSON.stringify(line));
  }
  isOver = true;
  await running;
  await verifying;
  await subject.close();
}
