/**
 * The front ends that a program holds as an object: the library, and the client of the wire protocol.
 */
import { connect } from "../../src/client/index.ts";
import { start } from "../../src/index.ts";
import { purse, tally } from "./application.ts";
import { type FrontEnd, linesOf, type Stored } from "./front-end.ts";

type Handle = Awaited<ReturnType<typeof start>> | Awaited<ReturnType<typeof connect>>;

export async function openLibrary(dataDir: string): Promise<FrontEnd> {
  const warp = await start({
    dataDir,
    aggregates: [purse, tally],
    shards: 2,
    journal: { segmentBytes: 256 * 1024, segmentsMax: 8 },
    memory: { tailBytes: 4 << 20 },
  });
  return overHandle("library", warp);
}

export async function openClient(address: string): Promise<FrontEnd> {
  return overHandle("tcp", await connect({ address }));
}

function overHandle(name: string, context: Handle): FrontEnd {
  return {
    name,
    unspeakable: new Set(),
    append: async (entity, events, guard) => {
      const handle = context.entity(entity);
      const [first] = events;
      const isOne = events.length === 1 && first !== undefined;
      return { ...(await (isOne ? handle.append(first, guard) : handle.appendBatch(events, guard))) };
    },
    send: async (entity, command, input, guard) => ({
      ...(await context.entity(entity).send(command, input, guard)),
    }),
    seq: async (entity) => await context.entity(entity).seq(),
    async state(entity, aggregate, at) {
      const handle = context.entity(entity);
      const state = await (at === undefined ? handle.read(aggregate) : handle.stateAt(at, aggregate));
      return (await handle.seq()) === 0 ? undefined : state;
    },
    events: async (entity, range) => await Array.fromAsync(context.entity(entity).events(range)),
    entities: async (query) => await Array.fromAsync(context.entities(query)),
    export: async (entity) => linesOf((await Array.fromAsync(context.entity(entity).export())).join("")),
    delete: async (entity, options) => ({ ...(await context.entity(entity).delete(options)) }),
    deletePlan: async (entity) => ({ ...(await context.entity(entity).deletePlan()) }),
    hold: (entity, reason) => context.entity(entity).hold({ reason }),
    releaseHold: (entity) => context.entity(entity).releaseHold(),
    async readAll(query, from) {
      const events: Stored[] = [];
      for await (const message of context.subscribe({ ...query, from })) {
        if (message.kind === "events") events.push(...message.events);
        if (message.kind === "caughtUp") return { events, cursor: message.cursor };
      }
      throw new Error("the subscription ended before it had caught up");
    },
    close: () => context.close(),
  };
}
