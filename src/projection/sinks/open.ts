/**
 * From where a build's rows live to the sink that writes them.
 */
import type { SinkPlace } from "../messages.ts";
import type { Build, Sink } from "../sink.ts";
import { SqliteSink } from "./sqlite.ts";

export function openSink(place: SinkPlace, build: Build): Sink {
  if (place.kind === "sqlite") return new SqliteSink(place.path, build);
  throw new RangeError(`no sink ${place.kind}`);
}
