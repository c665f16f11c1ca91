/**
 * From where a build's rows live to the sink that writes them.
 */
import type { SinkPlace } from "../messages.ts";
import type { Build, Sink } from "../sink.ts";
import { PostgresSink } from "./postgres.ts";
import { RqliteSink } from "./rqlite.ts";
import { SqliteSink } from "./sqlite.ts";

export function openSink(place: SinkPlace, build: Build): Sink {
  switch (place.kind) {
    case "sqlite":
      return new SqliteSink(place.path, build);
    case "rqlite":
      return new RqliteSink(place, build);
    case "postgres":
      return new PostgresSink(place, build);
  }
}
