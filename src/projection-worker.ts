/**
 * The thread of one build of a projection. It loads the application itself, since handlers are functions; what it does with
 * them is projection/builder.ts.
 */
import { compileAggregates } from "./aggregate/fold.ts";
import { loadApplication } from "./application.ts";
import { toWarpError, WarpError } from "./core/errors.ts";
import type { KnownErased } from "./core/feed.ts";
import { Builder } from "./projection/build/builder.ts";
import { schemaOf } from "./projection/definition.ts";
import type { BuildOrder, FromBuild, ToBuild } from "./projection/messages.ts";
import { stubOf } from "./projection/places.ts";
import { openSink } from "./projection/sinks/open.ts";
import { provideWarpModule } from "./warp-module.ts";

declare const self: Worker;

let opening: Promise<Builder> | undefined;

self.onmessage = (event: MessageEvent<ToBuild>) => {
  handle(event.data).catch((thrown: unknown) => {
    say({ type: "failed", error: toWarpError(thrown, "ENGINE_FAILED").toWire() });
  });
};

async function handle(message: ToBuild): Promise<void> {
  if (message.type === "open") {
    opening = start(message.order, message.erased);
    await (await opening).open(message.order.isLive);
    return;
  }
  if (message.type === "close") {
    const builder = await opening?.catch(() => undefined);
    // What it could not write the next one takes again.
    await builder?.close().catch(() => undefined);
    say({ type: "closed" });
    self.onmessage = null;
    process.exit(0);
  }
  const builder = await opening;
  switch (message.type) {
    case "pages":
      return await builder?.take(message.pages, message.erased);
    case "erase":
      return builder?.eraseNow(message.erasure);
    case "unpark":
      return await builder?.unpark(message.id, message.number, message.page);
    case "parked":
      return await builder?.listParked(message.id);
    case "about":
      return builder?.rowsAbout(message.id, message.entity);
    case "publish":
      return await builder?.publish(message.id);
  }
}

async function start(order: BuildOrder, erased: KnownErased): Promise<Builder> {
  const { build: number, tables, version } = order;
  if (order.application === undefined) {
    const build = {
      ...stubOf(order.projection, { number, version, tables }),
      incarnation: order.incarnation,
    };
    const sink = openSink(order.place, build);
    return new Builder({ build, plan: compileAggregates([]), sink, erased, say });
  }
  provideWarpModule();
  const { aggregates, projections } = await loadApplication(order.application);
  const projection = projections.find((one) => one.name === order.projection && one.version === version);
  if (projection === undefined || schemaOf(projection) !== order.schema) {
    const message = `${order.application} was changed while it ran: projection ${order.projection} is another one now`;
    throw new WarpError("APPLICATION_INVALID", message, { projection: order.projection });
  }
  const build = { number, projection, incarnation: order.incarnation };
  const sink = openSink(order.place, build);
  return new Builder({ build, plan: compileAggregates(aggregates), sink, erased, say });
}

function say(message: FromBuild): void {
  self.postMessage(message);
}
