import { expect, test } from "bun:test";
import { Command } from "commander";
import type { DeletePlan, Receipt } from "../../../core/receipt.ts";
import { Output } from "../../output.ts";
import type { Target } from "../../target.ts";
import { addVerb, type VerbContext } from "../../verb.ts";
import { deleteVerb, planText, receiptText } from "./delete.ts";

function plan(count: number): DeletePlan {
  return {
    ...{ entity: "alice", events: count, runs: count, snapshots: count, callerKeys: count, bytes: 500 },
    ...{ personal: { parts: count, hosts: count }, hold: undefined, followers: [] },
  };
}

function receipt(count: number, hosts: number | undefined): Receipt {
  const fingerprint = "ab".repeat(16);
  const keys = Array.from({ length: count }, (_, shard) => ({ shard, entry: 1, fingerprint }));
  return {
    ...{ status: "erased", entity: "alice", shard: 3, entry: 0, erasedAt: 0, fingerprint },
    removed: { events: count, runs: count, snapshots: count, callerKeys: count },
    ...{ personal: { parts: count, hosts, keys }, pending: [], backups: [] },
  };
}

test("a plan counts one and many", () => {
  expect(planText(plan(1))).toBe(
    "alice: 1 event (1 run, 1 snapshot, 1 key; 500 B) would be erased\n" +
      "1 part of events of 1 other entity would be unreadable",
  );
  expect(planText(plan(2000))).toBe(
    "alice: 2,000 events (2,000 runs, 2,000 snapshots, 2,000 keys; 500 B) would be erased\n" +
      "2,000 parts of events of 2,000 other entities would be unreadable",
  );
});

test("a reason of a hold stays on its line", () => {
  const held = { ...plan(1), hold: { reason: "a\nb\u009b", by: "", since: 0, until: undefined } };
  expect(planText(held)).toEndWith("it is held since 1970-01-01T00:00:00.000Z: a\\u000ab\\u009b");
});

test("a receipt counts one and many", () => {
  expect(receiptText(receipt(1, 1))).toBe(
    "alice: erased, 1 event\n1 part of events of 1 other entity, under 1 destroyed key",
  );
  expect(receiptText(receipt(2, undefined))).toBe(
    "alice: erased, 2 events\n2 parts of events of other entities, under 2 destroyed keys",
  );
});

/** The exit status of `warp delete alice` when this is what comes back; with a plan, of a dry run. */
async function statusOf(answer: Receipt, planned?: DeletePlan): Promise<number | undefined> {
  const { signal } = new AbortController();
  const write = (_text: string, done?: () => void) => {
    done?.();
    return true;
  };
  // Of a target nothing else is asked.
  const target = { delete: async () => answer, deletePlan: async () => planned } as unknown as Target;
  const context: VerbContext = {
    output: new Output({ write }, true, signal, {}),
    errors: { write },
    signal,
    endAtOnce: () => undefined,
    withTarget: (_settings, use) => use(target),
  };
  let status: number | undefined;
  const program = new Command("warp");
  addVerb(program, deleteVerb, context, (code) => {
    status = code;
  });
  const dryRun = planned === undefined ? [] : ["--dry-run"];
  await program.parseAsync(["delete", "alice", ...dryRun], { from: "user" });
  return status;
}

test("an erasure that is pending has a status of its own", async () => {
  expect(await statusOf(receipt(1, 1))).toBe(0);
  expect(await statusOf({ ...receipt(1, 1), status: "pending", pending: ["accounts is not past it"] })).toBe(
    6,
  );
});

test("a receipt tells targets of the directory from the one that it was restored from", () => {
  const known = { backedUpAt: 0, everyMs: undefined };
  const backups = [
    { ...known, target: "/new" },
    { ...known, target: "/old", restoredFrom: true as const },
  ];
  const [, , own, other] = receiptText({ ...receipt(1, 1), backups }).split("\n");
  expect(own).toBe("/new may hold the wrapped key until its next backup (made by hand; none was finished)");
  expect(other).toBe(
    "/old may hold the wrapped key for as long as it exists: this context was restored from it",
  );
});

test("a dry run finds an entity that has nothing but a rejection under a key", async () => {
  const rejected = { ...plan(0), callerKeys: 1 };
  expect(await statusOf(receipt(0, 0), rejected)).toBe(0);
  expect(planText(rejected)).toBe("alice: 0 events (0 runs, 0 snapshots, 1 key; 500 B) would be erased");
});
