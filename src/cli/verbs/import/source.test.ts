import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { chooseFormat, createReader, withoutByteOrderMark } from "./format.ts";
import { openSource } from "./source.ts";

const folder = mkdtempSync(join(tmpdir(), "warp-source-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function read(path: string): Promise<{ text: string; name: string; bytesRead: number }> {
  const source = await openSource(path);
  try {
    const pieces: Buffer[] = [];
    for await (const piece of source.pieces()) pieces.push(piece);
    return { text: Buffer.concat(pieces).toString(), name: source.name, bytesRead: source.bytesRead };
  } finally {
    await source.close();
  }
}

async function identityOf(path: string): Promise<string | undefined> {
  const source = await openSource(path);
  await source.close();
  return source.identity;
}

describe("a file", () => {
  const text = "é line\n".repeat(100_000);

  test("is read to its end, also when it is empty", async () => {
    const path = write("plain.csv", text);
    expect(await read(path)).toEqual({ text, name: "plain.csv", bytesRead: Buffer.byteLength(text) });
    expect((await read(write("empty.csv", ""))).text).toBe("");
  });

  test("is unpacked when it is gzip, by its name or its first bytes, in one part or several", async () => {
    const packed = gzipSync(text);
    expect(await read(write("packed.csv.gz", packed))).toEqual({
      text,
      name: "packed.csv",
      bytesRead: packed.length,
    });
    expect((await read(write("packed.csv", packed))).text).toBe(text);
    expect((await read(write("parts.gz", Buffer.concat([packed, packed])))).text).toBe(text + text);
  });

  test("with gzip that is cut off, damaged or none is refused", async () => {
    const packed = gzipSync(text);
    const flipped = Buffer.from(packed);
    flipped.writeUInt8(packed.readUInt8(packed.length - 6) ^ 1, packed.length - 6);
    for (const [name, bytes] of [
      ["cut.gz", packed.subarray(0, packed.length - 20)],
      ["flipped.gz", flipped],
      ["none.gz", Buffer.from("a,b\n1,2\n")],
      ["nothing.gz", Buffer.alloc(0)],
    ] as const) {
      expect(read(write(name, bytes))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
  });

  test("that is not there, or a folder, is an error with its system code", async () => {
    expect(openSource(join(folder, "nowhere"))).rejects.toMatchObject({
      code: "IO_ERROR",
      details: { errno: "ENOENT" },
    });
    const source = await openSource(folder);
    expect(source.pieces().next()).rejects.toMatchObject({ code: "IO_ERROR" });
    await source.close();
  });
});

test("the identity of a file changes with its name, its size, its start and its end", async () => {
  const base = Buffer.alloc(300_000, "x");
  const identity = await identityOf(write("one.csv", base));
  expect(await identityOf(write("one.csv", Buffer.from(base)))).toBe(identity);
  const others = new Set([identity]);
  for (const at of [0, base.length - 1]) {
    const changed = Buffer.from(base);
    changed[at] = 121;
    others.add(await identityOf(write("one.csv", changed)));
  }
  others.add(await identityOf(write("one.csv", base.subarray(1))));
  others.add(await identityOf(write("two.csv", base)));
  expect(others.size).toBe(5);
});

describe("the format", () => {
  test("is that of the name, or else of the first character", () => {
    const cases: readonly [string, string, string][] = [
      ["a.csv", "[", "csv"],
      ["a.TSV", "{", "csv"],
      ["a.ndjson", "[", "ndjson"],
      ["a.jsonl", "", "ndjson"],
      ["a.json", " \n[", "json"],
      ["a.json", '{"a":1}\n', "ndjson"],
      ["a.json", "", "ndjson"],
      ["-", "[", "json"],
      ["-", "{", "ndjson"],
      ["-", "a,b", "csv"],
      ["a.txt", "", "csv"],
    ];
    for (const [name, head, format] of cases)
      expect(chooseFormat(name, Buffer.from(head))).toBe(format as "csv");
  });

  test("that is not CSV has no options of CSV", () => {
    const options = { format: undefined, delimiter: undefined, numbers: [], booleans: [] };
    expect(() => createReader("a.json", Buffer.from("["), { ...options, numbers: ["a"] })).toThrow(
      "are for CSV",
    );
    expect(() => createReader("a.csv", Buffer.from("a"), { ...options, numbers: ["a"] })).not.toThrow();
  });

  test("has no byte order mark, and is not UTF-16", () => {
    expect(withoutByteOrderMark(Buffer.from("\ufeffa")).toString()).toBe("a");
    expect(withoutByteOrderMark(Buffer.from("a")).toString()).toBe("a");
    expect(() => withoutByteOrderMark(Buffer.from("\ufeffa", "utf16le"))).toThrow("UTF-16");
  });
});
