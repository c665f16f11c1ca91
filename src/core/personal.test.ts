import { expect, test } from "bun:test";
import { bytesOf, entryLength, entryTypes, readEntry, writeEntry } from "./entry.ts";
import { hasPersonal, type PersonalDraft, partForm, personalParts, withParts } from "./personal.ts";

const types = [
  { name: "Credited", utf8: Buffer.from("Credited"), version: 1 },
  { name: "Shipped", utf8: Buffer.from("Shipped"), version: 3 },
];

function part(index: number, data: unknown, number = 7): PersonalDraft {
  return {
    index,
    subject: "customer-2",
    data: Buffer.from(JSON.stringify([data])),
    isMsgpack: false,
    number,
  };
}

function written(personal: readonly PersonalDraft[] | undefined) {
  const out = bytesOf(new ArrayBuffer(4096));
  const typeIndexes = Uint8Array.of(0, 1, 1);
  const occurred = Float64Array.of(5, Number.NaN, 6);
  const draft = { count: 3, types, typeIndexes, occurred, data: '[1,{"a":2},"ü"]', isMsgpack: false };
  const end = writeEntry(out, 16, { ...draft, personal }, 1000, 9);
  expect(entryLength(out, 16)).toBe(end - 16);
  return out;
}

test("an entry gives each event what it says of somebody else, and nothing where it says nothing", () => {
  const out = written([part(0, { address: "Elm Street 1" }), part(2, "Oak Street 3", 8)]);
  const events = readEntry(out, 16, "order-1", 4);
  expect(events.map((event) => event.personal)).toEqual([
    { address: "Elm Street 1" },
    undefined,
    "Oak Street 3",
  ]);
  expect(events[1]).not.toHaveProperty("personal");
  expect(events.map(({ data, occurredAt }) => [data, occurredAt])).toEqual([
    [1, 5],
    [{ a: 2 }, undefined],
    ["ü", 6],
  ]);
  expect(entryTypes(out, 16)).toEqual(["Credited", "Shipped"]);
  expect(personalParts(out, 16)?.map(({ index, number }) => [index, number])).toEqual([
    [0, 7],
    [2, 8],
  ]);
});

test("an entry without parts is as it was before there were any", () => {
  const [without, none] = [written(undefined), written(undefined)];
  expect(hasPersonal(without, 16)).toBe(false);
  expect(without.buffer.equals(none.buffer)).toBe(true);
  expect(personalParts(without, 16)).toEqual([]);
});

test("an entry with other parts keeps everything else; an erased one is null", () => {
  const out = written([part(0, "a long text that goes"), part(1, "kept")]);
  const parts = personalParts(out, 16) ?? [];
  const copy = withParts(
    out,
    16,
    parts.map((one) => (one.index === 0 ? { ...one, form: partForm.erased, data: new Uint8Array(0) } : one)),
  );
  const again = { buffer: copy, view: new DataView(copy.buffer, copy.byteOffset, copy.length) };
  const events = readEntry(again, 0, "order-1", 4);
  expect(events.map(({ personal }) => personal)).toEqual([null, "kept", undefined]);
  const before = readEntry(out, 16, "order-1", 4);
  expect(events.map(({ personal: _, ...rest }) => rest)).toEqual(
    before.map(({ personal: _, ...rest }) => rest),
  );
});

test("a section whose lengths do not add up, or that is still sealed, is damage", () => {
  const damages: ((out: ReturnType<typeof written>) => void)[] = [
    ({ view }) => view.setUint32(48, 10_000, true),
    ({ view }) => view.setUint32(48, view.getUint32(48, true) - 1, true),
    ({ view }) => view.setUint32(52, 3, true),
    ({ view }) => view.setUint32(60, 4000, true),
    ({ buffer }) => buffer.writeUInt8(partForm.sealed, 72),
  ];
  for (const damage of damages) {
    const out = written([part(0, "Elm Street 1"), part(2, "Oak Street 3")]);
    damage(out);
    expect(() => readEntry(out, 16, "order-1", 4)).toThrow("order-1");
  }
});
