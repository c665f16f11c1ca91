import { describe, expect, test } from "bun:test";
import { formatTime, toTime } from "./moment.ts";

describe("a date", () => {
  test("without a zone is UTC", () => {
    expect(toTime("2001/01/13 14:56")).toBe(Date.UTC(2001, 0, 13, 14, 56));
    expect(toTime("2001-01-13T14:56:07")).toBe(Date.UTC(2001, 0, 13, 14, 56, 7));
    expect(toTime(" 2001-01-13 ")).toBe(Date.UTC(2001, 0, 13));
  });

  test("means what it means to Date when it is ISO 8601 with a zone", () => {
    for (const text of [
      "2001-01-13T14:56:07Z",
      "2001-01-13T14:56:07.250Z",
      "2001-01-13T14:56:07+01:00",
      "2001-01-13T00:10:00-05:30",
      "1969-12-31T23:59:59.999Z",
      "0099-03-01T00:00:00Z",
      "2024-02-29T00:00:00Z",
    ]) {
      expect(toTime(text)).toBe(Date.parse(text));
    }
    expect(toTime("2001-01-13 14:56:07 +0100")).toBe(Date.parse("2001-01-13T14:56:07+01:00"));
    expect(toTime("2001-01-13T14:56:07+01")).toBe(Date.parse("2001-01-13T14:56:07+01:00"));
  });

  test("is cut to milliseconds", () => {
    expect(toTime("2001-01-13T14:56:07.1239Z")).toBe(Date.UTC(2001, 0, 13, 14, 56, 7, 123));
    expect(toTime("2001-01-13T14:56:07.5Z")).toBe(Date.UTC(2001, 0, 13, 14, 56, 7, 500));
  });

  test("that no calendar has is refused", () => {
    for (const text of [
      "2001-02-29",
      "2001-13-01",
      "2001-00-10",
      "2001-01-32",
      "2001-01-13T24:00",
      "2001-01-13T14:60",
      "2001-01-13T14:56:60",
    ]) {
      expect(toTime(text)).toBeUndefined();
    }
  });

  test("that can be read in two ways, or is followed by something else, is refused", () => {
    for (const text of [
      "",
      "13/01/2001",
      "01/13/01",
      "2001-01/13",
      "2001-1-3",
      "2001-01-13Z",
      "2001-01-13T14",
      "2001-01-13T14:56 CET",
      "yesterday",
      "2001-01-13T14:56:07Zx",
    ]) {
      expect(toTime(text)).toBeUndefined();
    }
  });
});

describe("a number", () => {
  test("is seconds when small and milliseconds when large", () => {
    expect(toTime(979_397_760)).toBe(979_397_760_000);
    expect(toTime(979_397_760_123)).toBe(979_397_760_123);
    expect(toTime("979397760")).toBe(979_397_760_000);
    expect(toTime(979_397_760.25)).toBe(979_397_760_250);
    expect(toTime(-1)).toBe(-1000);
  });

  test("has the unit that the caller names", () => {
    expect(toTime(5, "ms")).toBe(5);
    expect(toTime(200_000_000_000, "s")).toBe(200_000_000_000_000);
  });

  test("beyond what a Date can hold, or no number, is refused", () => {
    for (const value of [9e15, Number.NaN, Number.POSITIVE_INFINITY, null, undefined, true, {}, "1e5"]) {
      expect(toTime(value)).toBeUndefined();
    }
  });
});

test("a time that no calendar has is printed as the number it is", () => {
  expect(formatTime(1_764_470_000_000_000_000)).toBe("1764470000000000000");
  expect(formatTime(-8.65e15)).toBe("-8650000000000000");
  expect(formatTime(8.64e15)).toBe("+275760-09-13T00:00:00.000Z");
});

test("what is printed is read as the same time", () => {
  expect(toTime(formatTime(979_397_760_123))).toBe(979_397_760_123);
});
