/**
 * Drives child.ts: orders that were not answered when it was killed are given again to the next one, under their keys.
 */
import { join } from "node:path";
import type { Order } from "./child.ts";

export class Killable {
  readonly #command: readonly string[];
  #child: Bun.Subprocess<"pipe", "pipe", "inherit"> | undefined;
  readonly #waiting = new Map<
    number,
    { order: Order; resolve: (result: unknown) => void; reject: (error: Error) => void }
  >();
  #nextId = 1;

  constructor(dataDir: string, application: string) {
    this.#command = [process.execPath, join(import.meta.dir, "child.ts"), dataDir, application];
  }

  /** Starts it, and gives it what is unanswered. */
  async start(): Promise<void> {
    const child = Bun.spawn([...this.#command], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    const lines = linesOf(child.stdout);
    const first = await lines.next();
    if (first.done === true) throw new Error("the child ended before it was ready");
    this.#child = child;
    void this.#listen(lines);
    for (const [id, { order }] of this.#waiting) this.#write(id, order);
  }

  order<Result>(order: Order): Promise<Result> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { order, resolve: resolve as (result: unknown) => void, reject });
      this.#write(id, order);
    });
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#child = undefined;
  }

  async close(): Promise<void> {
    this.#write(0, { op: "close" });
    await this.#child?.exited;
  }

  #write(id: number, order: Order): void {
    this.#child?.stdin.write(`${JSON.stringify({ id, order })}\n`);
    this.#child?.stdin.flush();
  }

  async #listen(lines: AsyncGenerator<string>): Promise<void> {
    for await (const line of lines) {
      const { id, result, error } = JSON.parse(line) as { id: number; result: unknown; error?: string };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    }
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    // A killed process may leave half a line.
    text = lines.pop() ?? "";
    yield* lines;
  }
}
