import { afterAll, expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Names } from "../files/names.ts";
import { SampleTail, sampleDirectory, sampleOptions } from "../sample.ts";
import { shardDirectory } from "../shard.ts";
import { Writer } from "../writer.ts";

const directory = sampleDirectory();
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test("an erasure that is settled in runs.db is done again in names.db when a power failure took it there", () => {
  const options = sampleOptions(directory, { shards: [0] });
  const files = shardDirectory(options.dataDir, 0);
  const tail = new SampleTail(2 ** 20);
  const writer = new Writer(options, tail.memory);
  const [alice, bob] = [tail.entity(0, "alice"), tail.entity(0, "bob")];
  tail.append([alice], ["1"]);
  tail.append([bob], ["2"]);
  writer.settle(tail.settleMessage());
  writer.checkpointAll();
  copyFileSync(join(files, "names.db"), join(directory, "names.before"));
  tail.erase(alice);
  writer.settle(tail.settleMessage());
  writer.close();
  rmSync(join(files, "names.db-wal"), { force: true });
  copyFileSync(join(directory, "names.before"), join(files, "names.db"));

  const again = new Writer({ ...options, create: false }, tail.memory);
  again.settle(tail.replayMessage());
  again.close();
  const names = Names.open({
    directory: files,
    shard: 0,
    access: "read",
    durability: "fsync",
    cacheBytes: 1 << 20,
  });
  expect(names.find("alice")).toBeUndefined();
  expect(Buffer.from(names.erasing(alice.number) ?? []).toString()).toBe("alice");
  expect(names.find("bob")).toBe(bob.number);
  names.close();
});
