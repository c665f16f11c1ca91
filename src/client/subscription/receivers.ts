/**
 * The subscriptions of a client: who is told of pushes, and of the end of the connection that they came on.
 */
import type { WarpError } from "../../core/errors.ts";
import type { FrameReader } from "../../net/protocol/frame-reader.ts";

export interface Receiver {
  push(reader: FrameReader, bytes: number): void;
  /** The connection was lost, and what was subscribed on it is gone. */
  lost(reason: WarpError): void;
  /** The client takes no more requests after this. */
  closing(): void;
  /** There will be no connection any more. */
  failed(error: WarpError): void;
}

export class Receivers {
  readonly #all = new Set<Receiver>();
  readonly #byNumber = new Map<number, Receiver>();
  #numbers = 0;

  add(receiver: Receiver): void {
    this.#all.add(receiver);
  }

  remove(receiver: Receiver): void {
    this.#all.delete(receiver);
  }

  /** A number that no other subscription of this client has or had; pushes with it go to this receiver. */
  number(receiver: Receiver): number {
    this.#byNumber.set(++this.#numbers, receiver);
    return this.#numbers;
  }

  forget(number: number): void {
    this.#byNumber.delete(number);
  }

  push(number: number, reader: FrameReader, bytes: number): void {
    this.#byNumber.get(number)?.push(reader, bytes);
  }

  lost(reason: WarpError): void {
    for (const receiver of [...this.#all]) receiver.lost(reason);
  }

  closing(): void {
    for (const receiver of [...this.#all]) receiver.closing();
  }

  failed(error: WarpError): void {
    for (const receiver of [...this.#all]) receiver.failed(error);
  }
}
