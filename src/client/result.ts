/**
 * Reads the result of a request from its reply, as the operation says.
 */
import { assert } from "../core/errors.ts";
import type { FrameReader } from "../net/protocol/frame-reader.ts";
import { readExportPage, readValueReply } from "../net/protocol/privacy.ts";
import { readProjectionResult, readQueryResult, readRowsPage } from "../net/protocol/querying.ts";
import {
  readEntitiesPage,
  readEventsPage,
  readOutcome,
  readStateAt,
  readValue,
} from "../net/protocol/replies.ts";
import { operation } from "../net/protocol/words.ts";
import type { Request } from "./sending/requests.ts";

export function readResult(request: Request, reader: FrameReader): unknown {
  switch (request.operation) {
    case operation.append:
    case operation.send:
      return readOutcome(reader);
    case operation.state:
      return readStateAt(reader);
    case operation.seq:
      return reader.whole();
    case operation.events:
      return readEventsPage(reader, request.entity);
    case operation.groups:
    case operation.group:
      return readValue(reader);
    case operation.entities:
      return readEntitiesPage(reader);
    case operation.query:
      return readQueryResult(reader);
    case operation.rows:
      return readRowsPage(reader);
    case operation.projection:
      return readProjectionResult(reader);
    case operation.export:
      return readExportPage(reader);
    case operation.delete:
    case operation.hold:
    case operation.erasures:
    case operation.backup:
    case operation.keys:
      return readValueReply(reader);
    case operation.ping:
    case operation.subscribe:
    case operation.unsubscribe:
    case operation.join:
    case operation.acknowledge:
      return undefined;
    default:
      assert(false, `operation ${request.operation} has no result`);
  }
}
