import { afterEach, expect, jest, test } from "bun:test";
import { silentLogger } from "../../core/logger.ts";
import { SessionTime } from "./session-time.ts";

afterEach(() => {
  jest.useRealTimers();
});

test("the time of sessions is that of the newest record, and goes on with the clock", () => {
  jest.useFakeTimers();
  const start = new Date(2026, 0, 1).getTime();
  const hour = 3_600_000;
  jest.setSystemTime(start);
  const shards = [{ lastRecordedAt: start - hour }, { lastRecordedAt: start - 1 }];
  const time = new SessionTime(shards, silentLogger);
  expect(time.now()).toBe(start);
  shards[1] = { lastRecordedAt: start + 72 * hour };
  expect(time.now()).toBe(start + 72 * hour);
  jest.setSystemTime(start + hour);
  expect(time.now()).toBe(start + 73 * hour);
});
