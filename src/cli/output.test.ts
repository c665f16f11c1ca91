import { describe, expect, test } from "bun:test";
import { WarpError } from "../core/errors.ts";
import { describeFailure, toLine, UsageError } from "./exit.ts";
import { type Column, Output, printOutcome, toJson } from "./output.ts";
import { formatBytes, formatCount, formatDuration, ProgressMeter } from "./progress.ts";

/** A stream that keeps what is written to it. */
class Collected {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 40;

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  write(text: string, done?: (error?: Error | null) => void): boolean {
    this.text += text;
    done?.();
    return true;
  }
}

interface Item {
  readonly name: string;
  readonly count: number;
}

const columns: readonly Column<Item>[] = [
  { title: "name", of: ({ name }) => name },
  { title: "count", of: ({ count }) => String(count), align: "right" },
];

async function* itemsOf(...items: Item[]): AsyncGenerator<Item> {
  yield* items;
}

async function tableOf(
  stream: Collected,
  json: boolean,
  environment = {},
  ...items: Item[]
): Promise<string> {
  const output = new Output(stream, json, new AbortController().signal, environment);
  expect(await output.table(itemsOf(...items), columns)).toBe(items.length);
  await output.flush();
  return stream.text;
}

describe("a table", () => {
  const items = [
    { name: "alice", count: 1 },
    { name: "日本", count: 1000 },
  ];

  test("has aligned columns, by the width that is seen", async () => {
    expect(await tableOf(new Collected(), false, {}, ...items)).toBe(
      "name   count\nalice      1\n日本    1000\n",
    );
  });

  test("is one JSON object a line with --json", async () => {
    expect(await tableOf(new Collected(true), true, {}, ...items)).toBe(
      '{"name":"alice","count":1}\n{"name":"日本","count":1000}\n',
    );
  });

  test("has nothing to say about nothing", async () => {
    expect(await tableOf(new Collected(), false)).toBe("");
    expect(await tableOf(new Collected(), true)).toBe("");
  });

  test("is coloured and cut to the width on a terminal only, and not coloured with NO_COLOR", async () => {
    const long = { name: "x".repeat(60), count: 1 };
    expect(await tableOf(new Collected(true), false, {}, long)).toContain("\u001b[1m");
    expect(await tableOf(new Collected(true), false, {}, long)).toContain(`${"x".repeat(39)}…\n`);
    expect(await tableOf(new Collected(true), false, { NO_COLOR: "1" }, long)).not.toContain("\u001b");
    expect(await tableOf(new Collected(), false, {}, long)).toContain(`${"x".repeat(60)}  `);
  });

  test("goes on after the rows that its widths are taken from", async () => {
    const many = Array.from({ length: 250 }, (_, i) => ({ name: `n${i}`, count: i }));
    const lines = (await tableOf(new Collected(), false, {}, ...many)).trimEnd().split("\n");
    expect(lines).toHaveLength(251);
    expect(lines[250]).toBe("n249    249");
  });

  test("cannot steer the terminal with what it prints", async () => {
    const text = await tableOf(new Collected(true), false, {}, { name: "a\u001b[2Jb\nc\u009bd", count: 1 });
    expect(text.split("\n")[1]).toContain("a\\u001b[2Jb\\u000ac\\u009bd");
    expect(toLine("é 日本 😀")).toBe("é 日本 😀");
  });

  test("cannot steer it with the outcome of a write either", async () => {
    const stream = new Collected(true);
    const output = new Output(stream, false, new AbortController().signal, {});
    const rejected = { ok: false, reason: "rejected", code: "no\u009bway", details: "\u0085" } as const;
    await printOutcome(output, "a\nb", { ...rejected, seq: 1, duplicate: false });
    expect(stream.text).toBe('a\\u000ab: rejected, no\\u009bway "\\u0085"\n');
  });

  test("ends when it is interrupted", async () => {
    const interrupt = new AbortController();
    const stream = new Collected();
    const output = new Output(stream, true, interrupt.signal, {});
    async function* endless(): AsyncGenerator<Item> {
      for (let count = 1; ; count++) {
        if (count === 3) interrupt.abort();
        yield { name: "n", count };
      }
    }
    expect(await output.table(endless(), columns)).toBe(2);
  });
});

test("JSON holds what JSON has no word for as text", () => {
  const value = { big: 2n ** 60n, bytes: new Uint8Array([1, 2, 255]), nan: Number.NaN, far: -1 / 0, n: 1 };
  expect(toJson(value)).toBe(
    '{"big":"1152921504606846976","bytes":"AQL/","nan":"NaN","far":"-Infinity","n":1}',
  );
  expect(toJson(undefined)).toBe("null");
});

describe("a failure", () => {
  const failure = new WarpError("CORRUPT", "two\n  lines", { file: "a b", offset: 12 });

  test("is one line with its code and details", () => {
    expect(describeFailure(failure, false)).toBe("warp: CORRUPT: two lines (file=a b, offset=12)\n");
    const steering = new WarpError("CORRUPT", "a\u001b[2Jb", { file: "c\u009bd" });
    expect(describeFailure(steering, false)).toBe("warp: CORRUPT: a\\u001b[2Jb (file=c\\u009bd)\n");
    expect(describeFailure(new UsageError("no such option"), false)).toBe("warp: USAGE: no such option\n");
  });

  test("is a JSON object with --json", () => {
    expect(JSON.parse(describeFailure(failure, true))).toEqual({
      code: "CORRUPT",
      message: "two\n  lines",
      details: { file: "a b", offset: 12 },
    });
  });

  test("that nobody expected says where it happened", () => {
    const described = JSON.parse(describeFailure(new TypeError("oops"), true));
    expect(described).toMatchObject({ code: "UNEXPECTED", message: "oops" });
    expect(described.details.at).toContain("output.test.ts");
    expect(describeFailure("text", false)).toBe("warp: UNEXPECTED: text\n");
  });
});

describe("progress", () => {
  test("is a line every few seconds where there is no terminal", () => {
    let now = 0;
    const stream = new Collected();
    const meter = new ProgressMeter(stream, false, () => now);
    for (now = 0; now <= 10_000; now += 100)
      meter.update({ rows: now * 10, bytes: now * 100, bytesTotal: 2_000_000 });
    meter.clear();
    expect(stream.text).toBe(
      "25 %, 50,000 rows, 10,000 rows/s, 500.0 kB of 2.0 MB, 15 s left\n" +
        "50 %, 100,000 rows, 10,000 rows/s, 1.0 MB of 2.0 MB, 10 s left\n",
    );
  });

  test("is nothing with --json where there is no terminal: programs read JSON lines there", () => {
    let now = 0;
    const stream = new Collected();
    const meter = new ProgressMeter(stream, true, () => now);
    now = 60_000;
    meter.update({ rows: 10, bytes: 50, bytesTotal: 100 });
    meter.clear();
    expect(stream.text).toBe("");
  });

  test.each([false, true])("is a bar that is drawn over itself and removed on a terminal", (json) => {
    let now = 0;
    const stream = new Collected(true);
    const meter = new ProgressMeter(stream, json, () => now);
    now = 1000;
    meter.update({ rows: 10, bytes: 50, bytesTotal: 100 });
    meter.update({ rows: 11, bytes: 60, bytesTotal: 100 });
    meter.clear();
    expect(stream.text).toBe(
      `\r\u001b[2K${"█".repeat(12)}${"░".repeat(12)} 50 %, 10 rows, 10 rows/s, 50 B of 100 B, 1 s left\r\u001b[2K`,
    );
  });

  test("has no end that can be known for standard input", () => {
    let now = 0;
    const stream = new Collected();
    const meter = new ProgressMeter(stream, false, () => now);
    now = 5000;
    meter.update({ rows: 5, bytes: 1500, bytesTotal: undefined });
    expect(stream.text).toBe("5 rows, 1 rows/s, 1.5 kB\n");
  });

  test("is in numbers that people read", () => {
    expect([0, 999, 1000, 1234567].map(formatCount)).toEqual(["0", "999", "1,000", "1,234,567"]);
    expect([0, 999, 1000, 999_999, 5e9].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "1.0 MB",
      "5.0 GB",
    ]);
    expect([0, 850, 1000, 59_600, 200_000, 7_500_000].map(formatDuration)).toEqual([
      "0 ms",
      "850 ms",
      "1 s",
      "1 min 0 s",
      "3 min 20 s",
      "2 h 5 min",
    ]);
  });
});
