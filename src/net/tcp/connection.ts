/**
 * One connection of the TCP server: what it has sent, what is under way for it and what it has not read yet.
 *
 * - All whole frames of an arrival go to the engine before anything is awaited; replies that are there together are one
 *   write. What becomes durable while a long arrival is read is answered in between.
 * - It is not read while it has too many requests, or bytes of them, under way or too many replies unread: the peer is slowed down
 *   by TCP. Requests for pages wait in line beside the others, which are read on meanwhile (page-queue.ts).
 * - Memory: frames as they arrive, up to one, which is short before the peer is let in; requests that wait in line, up to `connectionQueueBytes` and one frame; large
 *   requests under way, up to `connectionRequestBytes` and one frame; replies, up to `outputBytes` and what is under way; nothing while idle.
 * - An error about the connection as a whole is its last frame.
 */
import type { Socket } from "bun";
import { toWarpError, WarpError } from "../../core/errors.ts";
import { limits } from "../../core/limits.ts";
import { FrameInput } from "../protocol/frame-input.ts";
import type { FrameWriter } from "../protocol/frame-writer.ts";
import { OutcomesWriter } from "../protocol/grouped/outcomes.ts";
import type { Appended } from "../protocol/outcomes.ts";
import { writeError } from "../protocol/replies.ts";
import { performRequest } from "./dispatch.ts";
import { EntityNumbers } from "./entity-numbers.ts";
import { HeldRows } from "./held-rows.ts";
import { PageQueue } from "./page-queue.ts";
import type { Shared } from "./shared.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Requests that are performed, or bytes of them, before answers are looked after. */
const requestsPerStep = 32;
const bytesPerStep = 64 * 1024;

export type Phase = "hello" | "open" | "closing" | "gone";

export class Connection {
  readonly shared: Shared;
  readonly #socket: Socket<Connection>;
  readonly #input = new FrameInput(limits.helloBytesMax);
  #writer: FrameWriter | undefined;
  #outcomes: OutcomesWriter | undefined;
  /** What of the writer has been handed to the socket. */
  #sent = 0;
  phase: Phase = "hello";
  #subscriptions: Subscriptions | undefined;
  #heldRows: HeldRows | undefined;
  #pages: PageQueue | undefined;
  readonly entities: EntityNumbers;
  /** Requests that are not answered yet. */
  #requests = 0;
  /** The frames of the large ones among them. */
  #requestBytes = 0;
  /** Requests that the frame which is being read stands for; each takes its share of the bytes. */
  frameRequests = 1;
  #isDirty = false;
  #isPaused = false;
  #accounted = 0;
  readonly #openedAt: number;
  #receivedAt: number;
  /** When the frame began that is not whole yet; 0 without one. */
  #partialSince = 0;
  /** Since when replies wait without any progress; 0 without. */
  #stalledSince = 0;

  constructor(socket: Socket<Connection>, shared: Shared) {
    this.#socket = socket;
    this.shared = shared;
    this.entities = new EntityNumbers(shared.port);
    this.#openedAt = performance.now();
    this.#receivedAt = this.#openedAt;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Bytes of replies that the socket has not taken. */
  get unsentBytes(): number {
    return this.#writer === undefined ? 0 : this.#writer.at - this.#sent;
  }

  get #isBusy(): boolean {
    const { limits: own, isDraining } = this.shared;
    return (
      isDraining ||
      this.#requests >= own.requests ||
      this.#hasLarge ||
      this.#pages?.isFull === true ||
      this.#isUnread
    );
  }

  /** What it has sent takes too much until it is answered. Who has nothing large under way is read, whatever others have. */
  get #hasLarge(): boolean {
    const bytes = this.#requestBytes;
    return bytes > 0 && (bytes > limits.connectionRequestBytes || this.shared.isCrowded);
  }

  /** The peer has to read before it is served more. */
  get #isUnread(): boolean {
    return this.unsentBytes > this.shared.limits.outputBytes;
  }

  get subscriptions(): Subscriptions {
    this.#subscriptions ??= new Subscriptions(this);
    return this.#subscriptions;
  }

  /** Undefined when nobody would ask for what is held. */
  get heldRows(): HeldRows | undefined {
    if (this.phase === "closing" || this.phase === "gone") return undefined;
    this.#heldRows ??= new HeldRows(this.shared.heldSpace);
    return this.#heldRows;
  }

  receive(chunk: Buffer): void {
    this.#receivedAt = performance.now();
    this.shared.counters.receivedBytes += chunk.length;
    if (this.phase === "closing" || this.phase === "gone") return;
    this.#input.push(chunk);
    this.#read();
  }

  /** The peer has said a hello that is right. */
  open(): void {
    this.phase = "open";
    this.#input.frameBytesMax = limits.frameBytesMax;
    this.entities.limit = this.shared.grantNumbers();
  }

  /** The request that is being read is under way; {@link endRequest} follows, with the bytes that are returned. */
  beginRequest(): number {
    this.#requests++;
    const bytes = this.#input.frameEnd - this.#input.frameStart;
    if (bytes < limits.largeRequestBytes) return 0;
    const share = Math.ceil(bytes / this.frameRequests);
    this.#requestBytes += share;
    this.shared.addRequest(share);
    return share;
  }

  endRequest(bytes: number): void {
    this.#requests--;
    if (bytes > 0) {
      this.#requestBytes -= bytes;
      this.shared.endRequest(bytes);
    }
    if (!this.#isDirty && this.#isWaiting) this.#markDirty();
  }

  /** Answers the request that is being read, which collects a page, when its turn comes. `answer` must not reject. */
  answerInTurn(answer: () => Promise<void>): void {
    const held = this.beginRequest();
    this.#pages ??= new PageQueue((bytes) => this.endRequest(bytes));
    this.#pages.add(this.#input.frameEnd - this.#input.frameStart, held, answer);
    this.#beginPages();
  }

  /** Where a reply is written now; undefined when nobody would read it. */
  reply(): FrameWriter | undefined {
    if (this.phase === "closing" || this.phase === "gone") return undefined;
    if (this.#writer === undefined) {
      this.#writer = this.shared.takeWriter();
      this.shared.noteReplies(this);
    }
    if (!this.#isDirty) this.#markDirty();
    return this.#writer;
  }

  /** Answers an append of one event together with others. */
  replyAppended(id: number, outcome: Appended): void {
    const writer = this.reply();
    if (writer === undefined) return;
    this.#outcomes ??= new OutcomesWriter();
    this.#outcomes.add(writer, id, outcome);
  }

  replyError(id: number, thrown: unknown): void {
    const error = toWarpError(thrown, "ENGINE_FAILED");
    this.shared.counters.errors++;
    const writer = this.reply();
    if (writer !== undefined) writeError(writer, id, error);
  }

  /** Tells the peer what is wrong and closes. */
  fail(thrown: unknown): void {
    const error = toWarpError(thrown, "ENGINE_FAILED");
    if (error.code === "PROTOCOL_ERROR") this.shared.counters.protocolErrors++;
    this.replyError(0, error);
    this.close();
  }

  /** Closes once what was replied is sent. */
  close(): void {
    if (this.phase === "gone") return;
    this.phase = "closing";
    this.#input.drop();
    this.#heldRows?.clear();
    this.#pages?.drop();
    this.#markDirty();
  }

  /** Closes at once. */
  terminate(): void {
    this.#socket.terminate();
    this.gone();
  }

  /** The socket has closed, or must count as closed. */
  gone(): void {
    if (this.phase === "gone") return;
    this.phase = "gone";
    this.#subscriptions?.close();
    this.#heldRows?.clear();
    this.#pages?.drop();
    if (this.#writer !== undefined) this.shared.returnWriter(this.#writer);
    this.#writer = undefined;
    this.#input.drop();
    this.shared.bufferBytes -= this.#accounted;
    this.#accounted = 0;
    this.shared.returnNumbers(this.entities.limit);
    this.shared.forget(this);
  }

  /** Called once per turn after something was replied or ended. */
  endTurn(): void {
    if (this.shared.isDraining) this.#subscriptions?.end(new WarpError("CLOSED", "this server is stopping"));
    this.#isDirty = false;
    this.flush();
    if (this.phase === "gone" || this.phase === "closing") return;
    this.#subscriptions?.wake();
    this.#beginPages();
    if (this.#isPaused) {
      if (!this.#isBusy) this.#read();
      else if (this.shared.isCrowded) this.shared.awaitSpace(this);
    }
    if (this.shared.isDraining && this.#requests === 0 && this.unsentBytes === 0) this.close();
  }

  /** Sends what the socket takes; called again when it takes more. */
  flush(): void {
    const writer = this.#writer;
    if (writer !== undefined && this.phase !== "gone") {
      this.#outcomes?.close();
      const waiting = writer.at - this.#sent;
      const taken = waiting === 0 ? 0 : this.#socket.write(writer.buffer, this.#sent, waiting);
      if (taken < 0) {
        this.terminate();
        return;
      }
      this.shared.counters.sentBytes += taken;
      this.#sent += taken;
      if (taken < waiting) {
        if (taken > 0 || this.#stalledSince === 0) this.#stalledSince = performance.now();
        if (this.#sent > writer.capacity / 2) {
          writer.compact(this.#sent);
          this.#sent = 0;
        }
      } else {
        this.#writer = undefined;
        this.#sent = 0;
        this.#stalledSince = 0;
        this.shared.returnWriter(writer);
      }
      this.#account();
    }
    if (this.phase === "closing" && this.unsentBytes === 0) {
      this.#socket.end();
      this.gone();
    }
  }

  /** The socket takes more. */
  drained(): void {
    this.flush();
    this.#subscriptions?.wake();
    if (this.#isWaiting) this.#markDirty();
  }

  /** Closes a peer that is too slow in anything. */
  checkDeadlines(now: number): void {
    const { handshakeMs, stallMs, idleMs } = this.shared.limits;
    if (this.#stalledSince > 0 && now - this.#stalledSince > stallMs) {
      if (this.phase === "closing") this.terminate();
      this.#stalledSince = now;
      // A peer that reads again later finds the reason behind what it had not read.
      this.fail(
        new WarpError("TIMEOUT", `nothing was read for ${stallMs} ms while replies or pushes waited`),
      );
    } else if (this.phase === "hello" && now - this.#openedAt > handshakeMs) {
      this.fail(new WarpError("TIMEOUT", `there was no hello within ${handshakeMs} ms`));
    } else if (this.#partialSince > 0 && now - this.#partialSince > stallMs) {
      this.fail(new WarpError("TIMEOUT", `the rest of a frame did not come within ${stallMs} ms`));
    } else if (now - this.#receivedAt > idleMs && this.#requests === 0 && !this.#isPaused) {
      this.fail(new WarpError("TIMEOUT", `nothing was received for ${idleMs} ms; send pings`));
    }
  }

  /** Performs the whole frames that are there, until the connection has enough under way. */
  #read(): void {
    const input = this.#input;
    const { reader, counters } = this.shared;
    let hasPerformed = false;
    let stepFrom = counters.requests;
    let stepBytes = 0;
    try {
      while (!this.#isBusy && this.phase !== "closing" && input.next()) {
        if (counters.requests === stepFrom) this.entities.lookAhead(input, requestsPerStep);
        reader.begin(input.bytes, input.frameStart, input.frameEnd);
        performRequest(this, reader);
        hasPerformed = true;
        stepBytes += input.frameEnd - input.frameStart;
        if (counters.requests - stepFrom >= requestsPerStep || stepBytes >= bytesPerStep) {
          stepFrom = counters.requests;
          stepBytes = 0;
          this.shared.advance();
        }
      }
    } catch (thrown) {
      this.fail(thrown);
    }
    reader.release();
    if (this.phase === "closing" || this.phase === "gone") return;
    input.keep();
    const isBusy = this.#isBusy;
    if (isBusy && this.shared.isCrowded) this.shared.awaitSpace(this);
    if (isBusy !== this.#isPaused) {
      this.#isPaused = isBusy;
      if (isBusy) {
        this.#socket.pause();
      } else {
        // The peer could not be heard meanwhile, so its time begins now.
        this.#receivedAt = performance.now();
        this.#socket.resume();
      }
    }
    // What a paused connection has sent waits for the server, not for the peer.
    if (isBusy || input.waiting === 0) this.#partialSince = 0;
    else if (hasPerformed || this.#partialSince === 0) this.#partialSince = this.#receivedAt;
    this.#account();
  }

  /** Whether something goes on when requests end or replies are read. */
  get #isWaiting(): boolean {
    return this.#isPaused || this.shared.isDraining || this.#pages?.isEmpty === false;
  }

  #beginPages(): void {
    if (!this.#isUnread) this.#pages?.begin();
  }

  #markDirty(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    this.shared.markDirty(this);
  }

  #account(): void {
    const { shared } = this;
    const held = this.#input.keptBytes + (this.#pages?.bytes ?? 0) + (this.#writer?.capacity ?? 0);
    shared.bufferBytes += held - this.#accounted;
    this.#accounted = held;
    if (shared.bufferBytes <= shared.limits.networkBytes) return;
    shared.logger.warn("a connection was closed because all connections together hold too much", {
      bytes: held,
      limit: shared.limits.networkBytes,
    });
    this.terminate();
  }
}
