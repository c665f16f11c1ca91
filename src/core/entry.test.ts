import { describe, expect, test } from "bun:test";
import { encodeData } from "../aggregate/json-data.ts";
import { seededRandom } from "../shard/sample.ts";
import { bytesOf, type EntryDraft, entryBytesBound, entryLength, readEntry, writeEntry } from "./entry.ts";
import { WarpError } from "./errors.ts";

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);

interface Sample {
  readonly draft: EntryDraft;
  readonly types: readonly { readonly name: string; readonly version: number }[];
  readonly values: readonly unknown[];
  readonly times: readonly number[];
}

function sampleOf(random: () => number): Sample {
  const whole = (max: number) => Math.floor(random() * max);
  const texts = ["", "plain", "ünïcode", "日本語", "🦊", '"\\', "\u2028"];
  const anyValue = (): unknown =>
    [
      whole(1e9),
      texts[whole(texts.length)],
      { a: [whole(9), null, true] },
      new Uint8Array([whole(256)]),
      -3n,
    ][whole(5)];
  const names = ["Opened", "é".repeat(100), "🦊"].slice(0, 1 + whole(3));
  const types = names.map((name, i) => ({ name, utf8: Buffer.from(name), version: 1 + i * 1000 }));
  const count = 1 + whole(20);
  const values = Array.from({ length: count }, anyValue);
  const indexes = Uint8Array.from({ length: count }, () => whole(types.length));
  const times = values.map(() => (random() < 0.5 ? Number.NaN : whole(2e12)));
  const data = encodeData(values);
  const draft: EntryDraft = {
    count,
    types,
    typeIndexes: types.length > 1 ? indexes : undefined,
    occurred: random() < 0.5 ? Float64Array.from(times) : undefined,
    data: typeof data === "string" && random() < 0.5 ? Buffer.from(data) : data,
    isMsgpack: typeof data !== "string",
  };
  const typeOf = (i: number) => types[types.length > 1 ? (indexes[i] ?? 0) : 0];
  return {
    draft,
    values,
    types: values.map((_, i) => ({ name: typeOf(i)?.name ?? "", version: typeOf(i)?.version ?? 0 })),
    times: draft.occurred === undefined ? values.map(() => Number.NaN) : times,
  };
}

describe("an entry", () => {
  test("comes back as it was written, within its bound, wherever it stands", () => {
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    const out = bytesOf(new SharedArrayBuffer(64 * 1024));
    for (let run = 0; run < 500; run++) {
      const { draft, types, values, times } = sampleOf(random);
      const at = Math.floor(random() * 1000);
      const end = writeEntry(out, at, draft, 1_700_000_000_123, 77);
      expect(end - at).toBe(entryLength(out, at));
      expect(end - at).toBeLessThanOrEqual(entryBytesBound(draft));
      const events = readEntry(out, at, "e", 5);
      expect(events.map(({ data }) => data)).toEqual([...values]);
      for (const [i, event] of events.entries()) {
        const { name: type, version } = types[i] ?? { name: "", version: 0 };
        expect(event).toMatchObject({
          entity: "e",
          seq: 5 + i,
          type,
          version,
          recordedAt: 1_700_000_000_123,
          position: 77,
        });
        expect(event.occurredAt ?? Number.NaN).toBe(times[i] ?? Number.NaN);
      }
    }
  });

  test("without events is empty", () => {
    const none = {
      count: 0,
      types: [],
      typeIndexes: undefined,
      occurred: undefined,
      data: "[]",
      isMsgpack: false,
    };
    const out = bytesOf(new ArrayBuffer(64));
    writeEntry(out, 0, none, 1, 1);
    expect(readEntry(out, 0, "e", 1)).toEqual([]);
  });

  test("whose lengths do not add up is CORRUPT", () => {
    const random = seededRandom(seed);
    const { draft } = sampleOf(random);
    const out = bytesOf(new ArrayBuffer(64 * 1024));
    const end = writeEntry(out, 0, draft, 1, 1);
    for (const [offset, value] of [
      [0, out.buffer.length + 1],
      [8, end + 1],
      [8, 0],
      [4, 9999],
    ] as const) {
      const copy = bytesOf(out.buffer.buffer.slice(0) as ArrayBuffer);
      copy.view.setUint32(offset, value, true);
      try {
        readEntry(copy, 0, "e", 1);
        throw new Error(`offset ${offset} was taken`);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(WarpError);
        expect(thrown).toMatchObject({ code: "CORRUPT", details: { entity: "e" } });
      }
    }
  });
});
