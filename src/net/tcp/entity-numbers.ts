/**
 * The numbers by which one connection calls its entities, as far as the server lets it (`entityNumbers` of the welcome).
 *
 * - A number keeps the handle of its entity, which is looked up again when the entity has left memory meanwhile.
 * - Before requests of an arrival are performed, what their entities hold is looked at together.
 */
import { entityIdFault } from "../../core/entity-id.ts";
import type { EnginePort, EntityHandle } from "../engine-port.ts";
import { type EntityName, peekNumber } from "../protocol/entity-number.ts";
import type { FrameInput } from "../protocol/frame-input.ts";
import { protocolError } from "../protocol/protocol-error.ts";
import { lengthBytes } from "../protocol/words.ts";

export class EntityNumbers {
  readonly #port: EnginePort;
  /** Numbers are below it. */
  limit = 0;
  readonly #ids: (string | undefined)[] = [];
  readonly #handles: (EntityHandle | undefined)[] = [];
  readonly #ahead: (EntityHandle | undefined)[] = [];

  constructor(port: EnginePort) {
    this.#port = port;
  }

  /** Whom the engine is to be called for. Errors: PROTOCOL_ERROR for a number that is none, or that stands for nothing. */
  find(name: EntityName): string | EntityHandle {
    if (typeof name === "string") return name;
    if (typeof name === "number") {
      const handle = this.#handles[name];
      return handle?.isCurrent === true ? handle : this.#look(name);
    }
    const { number, id } = name;
    if (number >= this.limit)
      throw protocolError(`entities of this connection have numbers below ${this.limit}`);
    // The call is refused for it, and so is the number.
    if (entityIdFault(id) !== undefined) return id;
    // No holes in the arrays, whatever the order of the numbers.
    while (this.#ids.length <= number) {
      this.#ids.push(undefined);
      this.#handles.push(undefined);
    }
    this.#ids[number] = id;
    this.#handles[number] = undefined;
    return id;
  }

  /** Looks at the entities of the next `count` frames of what has arrived. */
  lookAhead(input: FrameInput, count: number): void {
    const ahead = this.#ahead;
    let known = 0;
    let at = input.position;
    for (let i = 0; i < count; i++) {
      const end = input.endOf(at);
      if (end === 0) break;
      const handle = this.#handles[peekNumber(input.bytes, at + lengthBytes, end)];
      if (handle !== undefined) ahead[known++] = handle;
      at = end;
    }
    if (known > 1) this.#port.lookAhead(ahead, known);
  }

  /** Looks at the entities of `count` numbers. */
  lookAt(count: number, numberAt: (index: number) => number): void {
    const ahead = this.#ahead;
    let known = 0;
    for (let i = 0; i < count; i++) {
      const handle = this.#handles[numberAt(i)];
      if (handle !== undefined) ahead[known++] = handle;
    }
    if (known > 1) this.#port.lookAhead(ahead, known);
  }

  #look(number: number): string | EntityHandle {
    const id = this.#ids[number];
    if (id === undefined) throw protocolError(`${number} is not the number of an entity`);
    const handle = this.#port.handle(id);
    this.#handles[number] = handle;
    return handle;
  }
}
