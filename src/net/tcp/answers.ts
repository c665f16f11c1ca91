/**
 * Where the results of one connection's requests go: encoded into its replies of this turn.
 *
 * - One object per request, no closure and no promise. What cannot be sent is answered with the error instead.
 * - The writers of replies leave nothing half-written behind when they throw.
 */
import { WarpError } from "../../core/errors.ts";
import type { Answer } from "../engine-port.ts";
import type { SendResult, StateAt } from "../protocol/outcomes.ts";
import { writeOutcome, writeStateAt, writeWhole } from "../protocol/replies.ts";
import type { Connection } from "./connection.ts";

class RequestAnswer {
  readonly connection: Connection;
  readonly id: number;
  /** What of its frame counts until it is answered. */
  readonly #bytes: number;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.id = id;
    this.#bytes = connection.beginRequest();
  }

  reject(error: unknown): void {
    this.connection.replyError(this.id, error);
    this.end();
  }

  protected end(): void {
    this.connection.endRequest(this.#bytes);
  }
}

export class OutcomeAnswer extends RequestAnswer implements Answer<SendResult> {
  resolve(outcome: SendResult): void {
    const writer = this.connection.reply();
    try {
      if (writer !== undefined) writeOutcome(writer, this.id, outcome);
    } catch (thrown) {
      this.connection.replyError(this.id, thrown);
    }
    this.end();
  }
}

/** Of an append that came with others in one frame: its outcome goes with those of others, too. */
export class ListedAnswer extends OutcomeAnswer {
  override resolve(outcome: SendResult): void {
    if (!outcome.ok || outcome.count !== 1 || outcome.duplicate) {
      super.resolve(outcome);
      return;
    }
    this.connection.replyAppended(this.id, outcome);
    this.end();
  }
}

/** Replies of states may be large: this many times `outputBytes` may pile up for a peer that does not read them. */
const outputFactor = 8;

export class StateAnswer extends RequestAnswer implements Answer<StateAt> {
  resolve(result: StateAt): void {
    const { connection, id } = this;
    try {
      if (connection.unsentBytes > connection.shared.limits.outputBytes * outputFactor) {
        throw new WarpError("OVERLOADED", "too many replies wait to be read", {
          limit: "connectionOutputBytes",
        });
      }
      const writer = connection.reply();
      if (writer !== undefined) writeStateAt(writer, id, result);
    } catch (thrown) {
      connection.replyError(id, thrown);
    }
    this.end();
  }
}

export class SeqAnswer extends RequestAnswer implements Answer<number> {
  resolve(seq: number): void {
    const writer = this.connection.reply();
    if (writer !== undefined) writeWhole(writer, this.id, seq);
    this.end();
  }
}
