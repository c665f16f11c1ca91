/**
 * From one frame of a peer to a call of the engine.
 *
 * A frame that breaks the protocol throws, and the connection ends. A request that is merely wrong (a value that cannot
 * be read, an operation of a newer version) is answered with an error, and the connection goes on.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { WarpError } from "../../core/errors.ts";
import type { NewEvent } from "../../core/event.ts";
import { limits } from "../../core/limits.ts";
import { type Parsed, TableBytes } from "../../core/table.ts";
import type { EnginePort, GroupsPort } from "../engine-port.ts";
import type { FrameReader } from "../protocol/frame-reader.ts";
import { readEntity } from "../protocol/entity-number.ts";
import { GroupedAppends, groupedAppendsMax } from "../protocol/grouped/appends.ts";
import {
  optionsOf,
  readBackup,
  readDelete,
  readErasures,
  readExport,
  readHold,
  readKeys,
  writeExportPage,
  writeValueReply,
} from "../protocol/privacy.ts";
import { protocolError } from "../protocol/protocol-error.ts";
import {
  writeEntitiesPage,
  writeEventsPage,
  writeNothing,
  writeValue,
  writeWelcome,
} from "../protocol/replies.ts";
import {
  type AppendRequest,
  eventsOf,
  inputOf,
  readAppend,
  readEntities,
  readEvents,
  readHello,
  readSend,
  readState,
} from "../protocol/requests.ts";
import { type GroupRequest, readAnswer, readGroup, readJoin } from "../protocol/subscription/groups.ts";
import { readCredit, readSubscribe, readUnsubscribe } from "../protocol/subscription/requests.ts";
import { frameKind, operation, protocolVersion, tableForm } from "../protocol/words.ts";
import { ListedAnswer, OutcomeAnswer, SeqAnswer, StateAnswer } from "./answers.ts";
import type { Connection } from "./connection.ts";
import { answerLater, answerPage } from "./later.ts";
import { collectEntities, collectEvents } from "./pages.ts";
import { performProjection, performQuery, performRows } from "./queries.ts";

const idMax = 2 ** 32 - 1;

/** Performs the request that the reader has begun. Errors: those that end the connection. */
export function performRequest(connection: Connection, reader: FrameReader): void {
  const kind = reader.whole();
  if (kind === frameKind.credit && connection.phase === "open") {
    const { subscription, bytes } = readCredit(reader);
    connection.subscriptions.grant(subscription, bytes);
    return;
  }
  if (kind !== frameKind.request) throw protocolError(`a client does not send frames of kind ${kind}`);
  const id = reader.whole(idMax);
  if (id === 0) throw protocolError("the id of a request is at least 1");
  const op = reader.whole();
  connection.shared.counters.requests++;
  if (connection.phase === "hello") {
    if (op !== operation.hello) throw protocolError("the first frame is hello");
    welcome(connection, id, reader);
    return;
  }
  switch (op) {
    case operation.append: {
      const request = readAppend(reader);
      performAppend(connection, request, id, OutcomeAnswer);
      return;
    }
    case operation.appends:
      performAppends(connection, id, reader);
      return;
    case operation.send:
      performSend(connection, id, reader);
      return;
    case operation.state: {
      const { entity, aggregate, at } = readState(reader);
      const target = connection.entities.find(entity);
      connection.shared.port.state(target, aggregate, at, new StateAnswer(connection, id));
      return;
    }
    case operation.seq: {
      const entity = readEntity(reader);
      reader.finish();
      connection.shared.port.seq(connection.entities.find(entity), new SeqAnswer(connection, id));
      return;
    }
    case operation.events:
      performEvents(connection, id, reader);
      return;
    case operation.entities:
      performEntities(connection, id, reader);
      return;
    case operation.subscribe:
      connection.subscriptions.subscribe(id, readSubscribe(reader));
      return;
    case operation.join:
      connection.subscriptions.join(id, readJoin(reader));
      return;
    case operation.acknowledge:
      connection.subscriptions.answer(id, readAnswer(reader));
      return;
    case operation.groups:
      reader.finish();
      void answerValue(connection, id, async ({ groups }) => groups.status());
      return;
    case operation.group: {
      const request = readGroup(reader);
      void answerValue(connection, id, ({ groups }) => askGroup(groups, request));
      return;
    }
    case operation.unsubscribe:
      connection.subscriptions.unsubscribe(id, readUnsubscribe(reader));
      return;
    case operation.query:
      performQuery(connection, id, reader);
      return;
    case operation.rows:
      performRows(connection, id, reader);
      return;
    case operation.projection:
      performProjection(connection, id, reader);
      return;
    case operation.export: {
      const { entity, cursor } = readExport(reader);
      const { port } = connection.shared;
      answerPage(connection, id, () => port.exportPage(entity, cursor), writeExportPage);
      return;
    }
    case operation.delete: {
      const { entity, options } = readDelete(reader);
      const { port } = connection.shared;
      void answerLater(connection, id, () => port.delete(entity, optionsOf(options)), writeValueReply);
      return;
    }
    case operation.hold: {
      const { entity, action, options } = readHold(reader);
      const { port } = connection.shared;
      void answerLater(connection, id, () => port.hold(entity, action, optionsOf(options)), writeValueReply);
      return;
    }
    case operation.erasures: {
      const { shard, after } = readErasures(reader);
      const { port } = connection.shared;
      answerPage(connection, id, () => port.erasures(shard, after), writeValueReply);
      return;
    }
    case operation.backup: {
      const target = readBackup(reader);
      const { port } = connection.shared;
      void answerLater(connection, id, () => port.backup(target), writeValueReply);
      return;
    }
    case operation.keys: {
      const action = readKeys(reader);
      const { port } = connection.shared;
      void answerLater(connection, id, () => port.keys(action), writeValueReply);
      return;
    }
    case operation.ping: {
      reader.finish();
      const writer = connection.reply();
      if (writer !== undefined) writeNothing(writer, id);
      return;
    }
    case operation.hello:
      throw protocolError("hello is said once");
    default:
      reader.finish();
      connection.replyError(id, new WarpError("UNSUPPORTED", `this server has no operation ${op}`, { op }));
  }
}

function performAppend(
  connection: Connection,
  request: AppendRequest,
  id: number,
  answerOf: typeof OutcomeAnswer | typeof ListedAnswer,
): void {
  const entity = connection.entities.find(request.entity);
  let events: readonly NewEvent[];
  try {
    events = eventsOf(request);
  } catch (thrown) {
    connection.replyError(id, thrown);
    return;
  }
  const answer = new answerOf(connection, id);
  connection.shared.port.append(entity, events, request.options, answer, parsedOf(request.data));
}

function performAppends(connection: Connection, id: number, reader: FrameReader): void {
  const appends = new GroupedAppends(reader);
  const { count } = appends;
  if (id + count - 1 > idMax) throw protocolError("the ids of these appends go beyond 32 bits");
  connection.shared.counters.requests += count - 1;
  connection.entities.lookAt(count, (index) => appends.entityAt(index));
  connection.frameRequests = count;
  for (let i = 0; i < count; i++) performAppend(connection, appends.read(i), id + i, ListedAnswer);
  connection.frameRequests = 1;
}

/** What the engine may keep instead of encoding the data once more. */
function parsedOf(data: string | Uint8Array | TableBytes): Parsed | undefined {
  if (typeof data === "string") return data;
  return data instanceof TableBytes && data.isPlain ? data : undefined;
}

function performSend(connection: Connection, id: number, reader: FrameReader): void {
  const request = readSend(reader);
  const { command, options } = request;
  const entity = connection.entities.find(request.entity);
  let input: unknown;
  try {
    input = inputOf(request);
  } catch (thrown) {
    connection.replyError(id, thrown);
    return;
  }
  connection.shared.port.send(entity, command, input, options, new OutcomeAnswer(connection, id));
}

function performEvents(connection: Connection, id: number, reader: FrameReader): void {
  const request = readEvents(reader);
  const collect = () => collectEvents(connection.shared.port, request);
  answerPage(connection, id, collect, (writer, to, { events, data, next }) =>
    writeEventsPage(writer, to, events, data, next),
  );
}

function performEntities(connection: Connection, id: number, reader: FrameReader): void {
  const query = readEntities(reader);
  const collect = () => collectEntities(connection.shared.port, query);
  answerPage(connection, id, collect, (writer, to, { entities, next }) =>
    writeEntitiesPage(writer, to, entities, next),
  );
}

function welcome(connection: Connection, id: number, reader: FrameReader): void {
  const hello = readHello(reader);
  const { port, tokenDigest, limits: own } = connection.shared;
  if (hello.version < 1) throw new WarpError("UNSUPPORTED", `there is no protocol version ${hello.version}`);
  if (tokenDigest !== undefined && !timingSafeEqual(digestOf(hello.token ?? ""), tokenDigest)) {
    throw new WarpError("UNAUTHORIZED", "the token is missing or wrong");
  }
  if (hello.context !== undefined && hello.context !== port.context) {
    const message = `this server has context ${port.context}, not ${hello.context}`;
    throw new WarpError("CONFIG_MISMATCH", message, { context: port.context, asked: hello.context });
  }
  connection.open();
  const writer = connection.reply();
  if (writer === undefined) return;
  writeWelcome(writer, id, {
    version: Math.min(hello.version, protocolVersion),
    context: port.context,
    node: port.node,
    incarnation: port.incarnation,
    shards: port.shards,
    aggregates: port.aggregates,
    commands: port.commands,
    topology: [],
    limits: {
      frameBytes: limits.frameBytesMax,
      requests: own.requests,
      entityNumbers: connection.entities.limit,
      tables: tableForm,
      appends: groupedAppendsMax,
      idleMs: own.idleMs,
      deliveryWindow: limits.deliveryWindow,
      deliveryTtlMs: limits.deliveryTtlMs,
    },
    now: port.sessionTime(),
  });
}

/** What a token is compared by, so that the comparison takes as long for every token. */
export function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** Answers with a value that is asked of the engine. */
function answerValue(
  connection: Connection,
  id: number,
  ask: (port: EnginePort) => Promise<unknown>,
): Promise<void> {
  return answerLater(connection, id, () => ask(connection.shared.port), writeValue);
}

async function askGroup(groups: GroupsPort, { group, action, limit }: GroupRequest): Promise<unknown> {
  if (action === "parked") return groups.parked(group, limit);
  if (action === "replay") return groups.replay(group, limit);
  groups.remove(group);
  return 1;
}
