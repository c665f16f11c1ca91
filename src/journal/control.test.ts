import { expect, test } from "bun:test";
import { JournalControl } from "./control.ts";

test("a failure ends the wait for a turn, whether it comes before or after the look", async () => {
  for (const isBefore of [true, false]) {
    const main = new JournalControl();
    const worker = new JournalControl(main.memory);
    const seen = main.doneCount;
    if (isBefore) worker.fail('{"code":"IO_ERROR"}');
    const done = main.done(seen);
    if (!isBefore) worker.fail('{"code":"IO_ERROR"}');
    await done;
    expect(main.failed).toBe(true);
    expect(main.error).toBe('{"code":"IO_ERROR"}');
    expect(main.doneCount).not.toBe(seen);
  }
});
