import { heapStats } from "bun:jsc";
import { describe, expect, test } from "bun:test";
import { WarpError } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import type { AppendOutcome } from "../../target.ts";
import { type ImportOptions, importRows, type Progress } from "./import-rows.ts";
import type { Source } from "./source.ts";

/** The far end of the interface: remembers what came, by entity and key, and adds nothing twice. */
class RememberingTarget {
  readonly events = new Map<string, NewEvent[]>();
  private readonly keys = new Map<string, { readonly contents: string; readonly outcome: AppendOutcome }>();

  async append(entity: string, events: readonly NewEvent[], { key = "" } = {}): Promise<AppendOutcome> {
    const contents = JSON.stringify(events);
    const known = this.keys.get(`${key} ${entity}`);
    if (known !== undefined) {
      if (known.contents !== contents) throw new WarpError("KEY_REUSED", "it was used for something else");
      return { ...known.outcome, duplicate: true } as AppendOutcome;
    }
    const all = this.events.get(entity) ?? [];
    this.events.set(entity, all);
    const firstSeq = all.length + 1;
    all.push(...events);
    const outcome = { ok: true as const, seq: all.length, firstSeq, count: events.length, duplicate: false };
    this.keys.set(`${key} ${entity}`, { contents, outcome });
    return outcome;
  }
}

function sourceOf(pieces: () => AsyncGenerator<Buffer>, name = "-"): Source {
  return {
    name,
    identity: undefined,
    bytesTotal: undefined,
    bytesRead: 0,
    pieces,
    close: async () => undefined,
  };
}

async function* inPieces(text: string): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

function optionsFor(
  source: Source,
  target: ImportOptions["target"],
  more: Partial<ImportOptions> = {},
): ImportOptions {
  return {
    source,
    target,
    name: "test",
    format: { format: undefined, delimiter: undefined, numbers: [], booleans: [] },
    mapping: {
      entity: "id",
      type: { name: "T" },
      occurred: undefined,
      occurredUnit: undefined,
      fields: undefined,
      personal: undefined,
    },
    skipInvalid: false,
    signal: new AbortController().signal,
    onSkipped: () => undefined,
    onErased: () => undefined,
    onProgress: () => undefined,
    ...more,
  };
}

const linesOf = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** What the target has of each entity, as the `n` of the rows. */
function numbersIn(target: RememberingTarget): Record<string, number[]> {
  const numbers = ({ data }: NewEvent) => (data as { n: number }).n;
  return Object.fromEntries([...target.events].map(([entity, events]) => [entity, events.map(numbers)]));
}

const rowsOf = (count: number) => Array.from({ length: count }, (_, n) => ({ id: `e${n % 7}`, n }));

describe("an import", () => {
  test("brings the same events from an array and from lines, with a byte order mark or without", async () => {
    const rows = rowsOf(5000);
    const texts = [
      JSON.stringify(rows),
      `\ufeff${JSON.stringify(rows, undefined, 2)}`,
      rows.map((row) => JSON.stringify(row)).join("\n"),
      `\ufeff${rows.map((row) => `${JSON.stringify(row)}\r\n`).join("")}`,
    ];
    for (const text of texts) {
      const target = new RememberingTarget();
      const summary = await importRows(
        optionsFor(
          sourceOf(() => inPieces(text)),
          target,
        ),
      );
      expect(summary).toEqual({
        rows: 5000,
        events: 5000,
        alreadyThere: 0,
        entitiesNew: 7,
        skipped: 0,
        interrupted: false,
      });
      for (const [entity, events] of target.events) {
        expect(events.map(({ data }) => data)).toEqual(rows.filter(({ id }) => id === entity));
      }
    }
  });

  test("takes what rows say of others from CSV, JSON and lines alike", async () => {
    const rows = [
      { id: "p1", customer: "c1", street: "Elm 1", grams: "5" },
      { id: "p1", customer: "", street: "", grams: "6" },
    ];
    const csv = ["id,customer,street,grams", "p1,c1,Elm 1,5", "p1,,,6"].join("\n");
    for (const text of [JSON.stringify(rows), rows.map((row) => JSON.stringify(row)).join("\n"), csv]) {
      const target = new RememberingTarget();
      const options = optionsFor(
        sourceOf(() => inPieces(text)),
        target,
      );
      const personal = { subject: "customer", fields: ["street"] };
      const format = { ...options.format, format: text === csv ? ("csv" as const) : undefined };
      await importRows({ ...options, format, mapping: { ...options.mapping, personal } });
      expect(target.events.get("p1")).toEqual([
        {
          ...{ type: "T", data: { id: "p1", grams: "5" } },
          personal: { subject: "c1", data: { street: "Elm 1" } },
        },
        { type: "T", data: { id: "p1", grams: "6" } },
      ]);
    }
  });

  test("of the whole chunks before damage is kept, and the rest is added when the damage is mended", async () => {
    const whole = JSON.stringify(rowsOf(5000));
    const target = new RememberingTarget();
    const cut = importRows(
      optionsFor(
        sourceOf(() => inPieces(whole.slice(0, -10))),
        target,
      ),
    );
    expect(cut).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { imported: 4000, alreadyThere: 0 },
    });
    await cut.catch(() => undefined);
    const mended = await importRows(
      optionsFor(
        sourceOf(() => inPieces(whole)),
        target,
      ),
    );
    expect(mended).toMatchObject({ events: 1000, alreadyThere: 4000 });
  });

  test("that was stopped says the name that goes on", async () => {
    const stopped = importRows(
      optionsFor(
        sourceOf(() => inPieces("{"), "a.ndjson"),
        new RememberingTarget(),
        { name: "a.ndjson:0123" },
      ),
    );
    expect(stopped).rejects.toMatchObject({ code: "INVALID_EVENT", details: { name: "a.ndjson:0123" } });
    await stopped.catch(() => undefined);
  });

  test("of nothing has no rows", async () => {
    const summary = await importRows(
      optionsFor(
        sourceOf(() => inPieces("  "), "a.ndjson"),
        new RememberingTarget(),
      ),
    );
    expect(summary).toMatchObject({ rows: 0, events: 0 });
  });

  test("ends when it is interrupted while it waits for input, after what it has begun", async () => {
    const interrupt = new AbortController();
    const target = new RememberingTarget();
    const text = rowsOf(5000).map((row) => `${JSON.stringify(row)}\n`);
    async function* endless(): AsyncGenerator<Buffer> {
      yield Buffer.from(text.join(""));
      await new Promise(() => undefined);
    }
    const onProgress = ({ rows }: Progress) => {
      if (rows === 5000) interrupt.abort();
    };
    const summary = await importRows(
      optionsFor(sourceOf(endless), target, { signal: interrupt.signal, onProgress }),
    );
    expect(summary).toMatchObject({ rows: 5000, events: 4000, interrupted: true });
  });

  test("needs no more memory for a long input than for a short one", async () => {
    const block = Buffer.from(`${JSON.stringify({ id: "a", text: "x".repeat(8000) })}\n`.repeat(32));
    const blocks = 2000;
    const held: number[] = [];
    async function* long(): AsyncGenerator<Buffer> {
      for (let i = 0; i < blocks; i++) {
        if (i % 400 === 399) {
          Bun.gc(true);
          // What the process has of the system is given back later, when there is time.
          const { heapSize, extraMemorySize } = heapStats();
          held.push(heapSize + extraMemorySize);
        }
        yield Buffer.from(block);
      }
    }
    const target: ImportOptions["target"] = {
      append: async (_entity, events) => ({
        ok: true,
        seq: events.length,
        firstSeq: 1,
        count: events.length,
        duplicate: false,
      }),
    };
    const summary = await importRows(optionsFor(sourceOf(long), target));
    expect(summary.events).toBe(blocks * 32);
    const [early = 0] = held;
    expect((held.at(-1) ?? 0) - early).toBeLessThan((blocks * block.length) / 4);
  });
});

describe("another input under the same name", () => {
  const run = (target: RememberingTarget, rows: readonly object[]) =>
    importRows(
      optionsFor(
        sourceOf(() => inPieces(linesOf(rows)), "rows.ndjson"),
        target,
      ),
    );
  const eachItsOwn = (count: number, from = 0) =>
    Array.from({ length: count }, (_, i) => ({ id: `e${from + i}`, n: from + i }));
  const numbersOf = (rows: readonly { id: string; n: number }[]) =>
    Object.fromEntries(rows.map(({ id, n }) => [id, [n]]));

  test("adds nothing twice when rows have moved over the ends of chunks", async () => {
    const target = new RememberingTarget();
    const rows = [...eachItsOwn(4999), { id: "e1999", n: 4999 }];
    await run(target, rows);
    const added = await run(target, [{ id: "new", n: -1 }, ...rows]);
    expect(added).toMatchObject({ events: 1, alreadyThere: 5000 });
    const removed = await run(target, rows.slice(3));
    expect(removed).toMatchObject({ events: 0, alreadyThere: 4997 });
    expect(numbersIn(target)).toEqual({ ...numbersOf(eachItsOwn(4999)), e1999: [1999, 4999], new: [-1] });
  });

  test("is refused when it has other rows of an entity, or they are cut otherwise", async () => {
    const rows = rowsOf(5000);
    for (const other of [
      [{ id: "e0", n: -1 }, ...rows],
      [{ id: "new", n: -1 }, ...rows],
      rows.slice(1),
      rows.filter(({ n }) => n !== 3000),
      rows.map((row) => (row.n === 4999 ? { ...row, n: -1 } : row)),
    ]) {
      const target = new RememberingTarget();
      await run(target, rows);
      const before = numbersIn(target);
      const second = run(target, other);
      expect(second).rejects.toMatchObject({ code: "KEY_REUSED", details: { name: "test" } });
      await second.catch(() => undefined);
      const { new: _, ...after } = numbersIn(target);
      expect(after).toEqual(before);
    }
  });

  test("goes on with rows that follow behind those that are there", async () => {
    const target = new RememberingTarget();
    await run(target, eachItsOwn(3000));
    expect(await run(target, eachItsOwn(5000))).toMatchObject({ events: 2000, alreadyThere: 3000 });
  });
});
