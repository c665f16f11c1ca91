import { expect, test } from "bun:test";
import { limits } from "../../core/limits.ts";
import { Session } from "./session.ts";

const serverNow = 1_800_000_000_000;

test("a session starts at the server's time, lasts its time and is never that of another client", () => {
  const session = new Session();
  session.adjust(serverNow, 100);
  const first = { ...session.delivery(1, 1, 100) };
  expect(first).toMatchObject({ sessionStart: serverNow, counter: 1 });
  expect(Number.isSafeInteger(first.sessionNumber)).toBe(true);
  expect(session.delivery(2, 2, 99 + limits.clientSessionMs)).toEqual({ ...first, counter: 2 });
  const second = { ...session.delivery(3, 3, 100 + limits.clientSessionMs) };
  expect(second.sessionNumber).not.toBe(first.sessionNumber);
  expect(second.sessionStart).toBe(serverNow + limits.clientSessionMs);
  const other = new Session();
  other.adjust(serverNow, 100);
  expect(other.delivery(1, 1, 100).sessionNumber).not.toBe(first.sessionNumber);
});

test("a server's clock that jumped, or our own that stood still, begins a new session", () => {
  const session = new Session();
  session.adjust(serverNow, 0);
  const { sessionNumber } = session.delivery(1, 1, 10);
  session.adjust(serverNow - 5, 20);
  expect(session.delivery(2, 2, 30).sessionNumber).toBe(sessionNumber);
  session.adjust(serverNow + limits.clientSessionMs, 40);
  const later = session.delivery(3, 3, 50).sessionNumber;
  expect(later).not.toBe(sessionNumber);
  session.adjust(serverNow, 60);
  expect(session.delivery(4, 4, 70).sessionNumber).not.toBe(later);
});
