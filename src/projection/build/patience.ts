/**
 * Waiting of a build: for a sink that is away, or for an event that is tried again. It says that it waits and why, ends when
 * it is told to, and lets what is urgent be done meanwhile.
 */
import { toWarpError, type WarpError } from "../../core/errors.ts";
import type { FromBuild } from "../messages.ts";

/** It was told to end while it waited. */
export class Ended extends Error {}

export const waitMsMin = 50;
export const waitMsMax = 30_000;

export class Patience {
  /** Does what is urgent. */
  readonly #attend: () => Promise<void>;
  readonly #say: (message: FromBuild) => void;
  #wake: (() => void) | undefined;
  #isWaiting = false;
  #isEnding = false;

  constructor(parts: { readonly attend: () => Promise<void>; readonly say: (message: FromBuild) => void }) {
    this.#attend = parts.attend;
    this.#say = parts.say;
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Repeats what a sink that is away could not do. Other failures are thrown. */
  async with<Result>(work: () => Promise<Result>): Promise<Result> {
    for (let waitMs = waitMsMin; ; waitMs = Math.min(waitMs * 2, waitMsMax)) {
      try {
        const result = await work();
        if (waitMs > waitMsMin) this.goOn();
        return result;
      } catch (thrown) {
        const error = toWarpError(thrown, "SINK_UNAVAILABLE");
        if (error.code !== "SINK_UNAVAILABLE" && error.code !== "DISK_FULL") throw error;
        await this.wait("sink", error, waitMs);
      }
    }
  }

  /** Errors: {@link Ended}. */
  async wait(why: "retry" | "sink", error: WarpError, ms: number): Promise<void> {
    this.#isWaiting = true;
    this.#say({ type: "waiting", why, error: error.toWire() });
    if (this.#isEnding) throw new Ended();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
    if (this.#isEnding) throw new Ended();
    // A sink that is away can do nothing that is urgent either.
    if (why === "retry") await this.#attend();
  }

  /** Says that it does not wait any more. */
  goOn(): void {
    if (!this.#isWaiting) return;
    this.#isWaiting = false;
    this.#say({ type: "waiting", why: undefined, error: undefined });
  }

  wake(): void {
    this.#wake?.();
  }

  end(): void {
    this.#isEnding = true;
    this.wake();
  }
}
