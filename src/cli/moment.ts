/**
 * Points in time as people and files write them, turned into milliseconds since 1970.
 *
 * - A date without a zone is UTC, never the zone of the machine: the same file means the same everywhere.
 * - Only forms that can be read in one way: the year comes first, and a day that the month does not have is refused.
 * - A number is milliseconds if its size is 100,000,000,000 or more (1973 in ms, the year 5138 in s), else seconds,
 *   unless the caller says the unit.
 */

export type EpochUnit = "s" | "ms";

const date = /^(\d{4})([-/])(\d{2})\2(\d{2})/;
const clock = /^[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?/;
const zone = /^(?: ?(?:Z|z|([+-])(\d{2})(?::?(\d{2}))?))?$/;
const decimal = /^[+-]?\d+(?:\.\d+)?$/;

const millisecondsFrom = 100_000_000_000;
/** What a JavaScript `Date` can hold. */
const timeMax = 8.64e15;

/**
 * The time that `value` means, in ms, or undefined if it means none. Text may be a date with `-` or `/`
 * ("2001-01-13", "2001/01/13 14:56", "2001-01-13T14:56:07.5+01:00") or a number of seconds or milliseconds.
 */
export function toTime(value: unknown, unit?: EpochUnit): number | undefined {
  if (typeof value === "number") return fromEpoch(value, unit);
  if (typeof value !== "string") return undefined;
  const text = value.trim();
  return decimal.test(text) ? fromEpoch(Number(text), unit) : fromDate(text);
}

function fromEpoch(value: number, unit: EpochUnit | undefined): number | undefined {
  const isSeconds = unit === undefined ? Math.abs(value) < millisecondsFrom : unit === "s";
  // Adding 0 makes a negative zero a plain one.
  const time = Math.round(isSeconds ? value * 1000 : value) + 0;
  return Math.abs(time) <= timeMax ? time : undefined;
}

function fromDate(text: string): number | undefined {
  const day = date.exec(text);
  if (day === null) return undefined;
  const afterDay = text.slice(day[0].length);
  const hours = clock.exec(afterDay);
  const offset = zone.exec(hours === null ? afterDay : afterDay.slice(hours[0].length));
  // A zone behind a bare date has no accepted meaning.
  if (offset === null || (hours === null && offset[0] !== "")) return undefined;

  const month = Number(day[3]);
  const dayOfMonth = Number(day[4]);
  const hour = Number(hours?.[1] ?? 0);
  const minute = Number(hours?.[2] ?? 0);
  const second = Number(hours?.[3] ?? 0);
  const offsetHours = Number(offset[2] ?? 0);
  const offsetMinutes = Number(offset[3] ?? 0);
  if (hour > 23 || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return undefined;

  const whole = new Date(0);
  whole.setUTCFullYear(Number(day[1]), month - 1, dayOfMonth);
  if (whole.getUTCMonth() !== month - 1 || whole.getUTCDate() !== dayOfMonth) return undefined;
  const millisecond = Number((hours?.[4] ?? "").padEnd(3, "0").slice(0, 3));
  const sinceMidnight = ((hour * 60 + minute) * 60 + second) * 1000 + millisecond;
  const east = (offsetHours * 60 + offsetMinutes) * 60_000 * (offset[1] === "-" ? -1 : 1);
  return whole.getTime() + sinceMidnight - east;
}

/** "2001-01-13T14:56:00.000Z", for people; the number itself when no calendar has it, as programs may store any. */
export function formatTime(time: number): string {
  return Math.abs(time) <= timeMax ? new Date(time).toISOString() : String(time);
}
