/**
 * What a client has to send: encodes requests when they are made, keeps them until they are answered, and hands those that
 * may be sent to the connection, in their order and in as few writes as they lie in pieces of memory.
 *
 * - Appends of one event that are made one behind the other go in one frame, if the server reads such.
 * - Unanswered writes lie within half the server's delivery window of each other; so no repeat can find its result forgotten.
 * - What is sent again on another connection is sent byte by byte as before, but for what the server cannot know there: its
 *   delivery id stays.
 */
import type { WarpError } from "../../core/errors.ts";
import { AppendsWriter, groupedAppendsMax, groupedFrameBytes } from "../../net/protocol/grouped/appends.ts";
import type { EntityName } from "../../net/protocol/entity-number.ts";
import type { Welcome } from "../../net/protocol/replies.ts";
import { writeAppend } from "../../net/protocol/requests.ts";
import { operation } from "../../net/protocol/words.ts";
import type { ClientSocket } from "../socket/client-socket.ts";
import { AppendGroup } from "./append-group.ts";
import { EntityNumbers, nameByIds, type Numberable } from "./entity-numbers.ts";
import { Request, Requests, type Waiting, type WriteRequest } from "./requests.ts";
import { Session } from "./session.ts";
import { type Slab, Slabs } from "./slabs.ts";

/** Requests with more data need no number for their entity; so there is room for the id when they are written once more. */
const numberedBytesMax = 64 * 1024;
/** Room for a request beside its data. */
const requestBytes = 1024;
/** UTF-16 units of data, and of its type, above which an append goes alone: it gains nothing from company. */
const groupedTextMax = 4096;
const groupedTypeMax = 256;

export class Outbox {
  readonly requests: Requests;
  readonly #session = new Session();
  readonly #slabs = new Slabs();
  readonly #numbers = new EntityNumbers();
  readonly #appends = new AppendsWriter();
  /** Appends that one frame may carry on the present connection. */
  #groupMax = 0;
  /** The group to which the next append may belong. */
  #group: AppendGroup | undefined;
  /** Of requests that were made since the last were sent. */
  unsentBytes = 0;

  constructor(requests = new Requests()) {
    this.requests = requests;
  }

  /** A connection begins, on which everything that is unanswered is sent again. `now` is ours, as for {@link add}. */
  begin({ limits: given, now: serverNow }: Welcome, now: number): void {
    this.#session.adjust(serverNow, now);
    this.requests.rewind();
    this.#numbers.begin(given.entityNumbers ?? 0);
    const atOnceMax = Math.min(given.requests, given.deliveryWindow / 2);
    this.#groupMax = Math.min(given.appends ?? 0, groupedAppendsMax, atOnceMax);
  }

  /** The connection is lost. */
  end(): void {
    this.#closeGroup();
    this.#groupMax = 0;
    this.#numbers.begin(0);
    nameByIds(this.requests, 0, this.#slabs);
  }

  /** Adds a request of about `dataBytes` of data and a little. The id of `entity` is what replies of pages leave out. */
  add(
    op: number,
    entity: string | Numberable,
    write: WriteRequest,
    dataBytes: number,
    answer: Waiting,
    now: number,
    deadline: number,
  ): Request {
    this.#closeGroup();
    const writer = this.#slabs.begin(requestBytes + dataBytes);
    const { next, oldestWrite } = this.requests;
    const from = writer.at;
    const id = typeof entity === "string" ? entity : entity.id;
    const isNumbered = typeof entity === "object" && dataBytes <= numberedBytesMax;
    const name: EntityName = isNumbered ? this.#numbers.nameOf(entity) : id;
    try {
      write(writer, next >>> 0, this.#session.delivery(next, oldestWrite, now), name);
    } catch (thrown) {
      writer.at = from;
      throw thrown;
    }
    const slab = this.#slabs.keep();
    this.unsentBytes += writer.at - from;
    const naming = typeof name === "string" ? "id" : typeof name === "number" ? "number" : "told";
    if (isNumbered && typeof name === "object") this.#numbers.keep(entity, name.number);
    const request = new Request(next, op, id, naming, undefined, slab, from, writer.at, deadline, answer);
    this.requests.add(request);
    return request;
  }

  /** Adds an append of one event, whose data is in `text` as JSON of a list. */
  addAppend(
    entity: Numberable,
    type: string,
    text: string,
    answer: Waiting,
    now: number,
    deadline: number,
  ): Request {
    const isShort = text.length <= groupedTextMax && type.length <= groupedTypeMax;
    // A type that cannot be written is refused where a request is taken back, and a group is not.
    const isGroupable = isShort && this.#groupMax > 0 && type.isWellFormed();
    const number = isGroupable ? this.#numbers.numberOf(entity) : -1;
    if (number < 0) {
      const draft = { types: type, data: text, occurred: undefined };
      const write: WriteRequest = (writer, id, delivery, name) =>
        writeAppend(writer, id, name, draft, undefined, delivery);
      return this.add(operation.append, entity, write, text.length, answer, now, deadline);
    }
    const { next, oldestWrite } = this.requests;
    const group = this.#groupFor(type, text, next, oldestWrite, now);
    const { writer } = this.#slabs;
    const from = writer.at;
    this.#appends.add(writer, number, text);
    group.count++;
    this.unsentBytes += writer.at - from;
    const slab = this.#slabs.keep();
    const { id } = entity;
    const request = new Request(
      next,
      operation.append,
      id,
      "group",
      group,
      slab,
      from,
      writer.at,
      deadline,
      answer,
    );
    this.requests.add(request);
    return request;
  }

  /** Hands over what may be sent; returns whether the socket takes more. */
  send(socket: ClientSocket, { limits: given }: Welcome): boolean {
    this.#closeGroup();
    this.unsentBytes = 0;
    const { requests } = this;
    const span = given.deliveryWindow / 2;
    let takesMore = true;
    let slab: Slab | undefined;
    let from = 0;
    let to = 0;
    while (takesMore) {
      const request = requests.unsent;
      if (request === undefined) break;
      const frame = request.group ?? request;
      const count = request.group?.count ?? 1;
      const { underWay } = requests;
      if (underWay + count > given.requests && underWay > 0) break;
      if (request.isWrite && request.number + count - 1 - requests.oldestWrite >= span) break;
      if (frame.slab !== slab || frame.from !== to) {
        if (slab !== undefined) takesMore = socket.write(slab.buffer, from, to);
        slab = frame.slab;
        from = frame.from;
      }
      to = frame.to;
      requests.noteSent(count);
    }
    if (slab !== undefined) takesMore = socket.write(slab.buffer, from, to) && takesMore;
    return takesMore;
  }

  /** The request was answered. */
  answered(request: Request): void {
    this.#slabs.answered(request.slab);
    this.requests.remove(request);
  }

  /** The request was answered with a failure. Of a session that is too old, or of the future, it names the server's time, which may have jumped. */
  refused(request: Request, error: WarpError, now: number): void {
    this.answered(request);
    const { now: serverNow, limit } = error.details;
    const isOfClock = error.code === "KEY_EXPIRED" || limit === "deliveryAheadMs";
    if (isOfClock && typeof serverNow === "number") this.#session.adjust(serverNow, now);
  }

  /** Nobody waits for the request any more. */
  giveUp(request: Request): void {
    const { requests } = this;
    requests.remove(request);
    if (request.number < requests.sent) return;
    const { group } = request;
    // What is written once more must not come in between.
    this.#closeGroup();
    if (group !== undefined) {
      group.dissolve(requests, this.#slabs);
    } else if (request.naming === "told") {
      // What is behind it may name its entity by a number that the server is not told now.
      this.#numbers.clear();
      nameByIds(requests, request.number, this.#slabs);
    }
  }

  /** The group that the next append belongs to. */
  #groupFor(type: string, text: string, next: number, oldestWrite: number, now: number): AppendGroup {
    const delivery = this.#session.delivery(next, oldestWrite, now);
    const bytes = groupedFrameBytes + text.length * 3;
    const open = this.#group;
    if (open?.continues(type, delivery) === true && open.count < this.#groupMax) {
      const { at, capacity } = this.#slabs.writer;
      if (at + bytes <= capacity) return open;
    }
    this.#closeGroup();
    const writer = this.#slabs.begin(bytes);
    const { at } = writer;
    const group = new AppendGroup(type, delivery, this.#slabs.current, at);
    this.#appends.begin(writer, next >>> 0, type, delivery);
    this.#group = group;
    return group;
  }

  #closeGroup(): void {
    const group = this.#group;
    if (group === undefined) return;
    this.#group = undefined;
    const { writer } = this.#slabs;
    this.#appends.end(writer);
    group.to = writer.at;
  }
}
