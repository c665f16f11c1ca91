import { expect, test } from "bun:test";
import type { StoredEvent } from "../../core/event.ts";
import { lineOf } from "./tail.ts";

test("an event is one line that cannot steer a terminal, whatever it holds", () => {
  const event: StoredEvent = {
    ...{
      entity: "a\u001b[2J",
      seq: 1,
      type: "Paid\n2001-01-13T14:56:00.000Z  bob  1  Forged\u009b",
      version: 1,
    },
    ...{ recordedAt: 0, data: "\u0085\n", position: 1 },
  };
  expect(lineOf(event)).toBe(
    '1970-01-01T00:00:00.000Z  a\\u001b[2J  1  Paid\\u000a2001-01-13T14:56:00.000Z  bob  1  Forged\\u009b  "\\u0085\\n"',
  );
});
