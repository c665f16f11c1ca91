/**
 * Ids that are hosts and subjects of each other, written to and deleted by many callers at once: nobody waits for ever, what is
 * readable afterwards is what was said of who was not deleted since, and nothing else.
 */
import { afterEach, expect, test } from "bun:test";
import { checkDirectory, type Warp, WarpError } from "../../src/index.ts";
import { printedSeed, seededRandom } from "../crash/seeded.ts";
import { cleanUp, codeOf, collect, credited, freshDirectory, openSmall, settled } from "../engine/sample.ts";
import { order } from "./personal-sample.ts";

afterEach(cleanUp);

/** What was said, and when the call began and was answered, by a clock that counts calls. */
interface Said {
  readonly host: string;
  readonly subject: string;
  readonly text: string;
  readonly began: number;
  answered: number | undefined;
}

interface Deleted {
  readonly id: string;
  readonly began: number;
  answered: number;
}

const codeOfError = (thrown: unknown) => (thrown instanceof WarpError ? thrown.code : String(thrown));

async function readableTexts(warp: Warp, ids: readonly string[]): Promise<Set<string>> {
  const texts = new Set<string>();
  for (const id of ids) {
    if ((await codeOf(warp.entity(id).seq())) === "ERASED") continue;
    for (const { personal } of await collect(warp.entity(id).events()))
      if (personal !== null && personal !== undefined) texts.add(String(personal));
    const { address } = (await warp.entity(id).read(order)) as { address: unknown };
    if (typeof address === "string" && address !== "nowhere") texts.add(address);
  }
  return texts;
}

test("hosts and subjects of each other are written to and deleted at once", async () => {
  const random = seededRandom(printedSeed());
  const dataDir = freshDirectory();
  const warp = await openSmall(dataDir, { aggregates: [order], shards: 3 });
  const ids = Array.from({ length: 9 }, (_, i) => `id-${i}`);
  const pick = () => ids[Math.floor(random() * ids.length)] ?? "id-0";
  const said: Said[] = [];
  const deleted: Deleted[] = [];
  const unexpected: string[] = [];
  let clock = 0;

  const speak = async (worker: number, i: number) => {
    const one: Said = {
      host: pick(),
      subject: pick(),
      text: `said-${worker}-${i}`,
      began: ++clock,
      answered: undefined,
    };
    said.push(one);
    const event = { type: "Shipped", data: {}, personal: { subject: one.subject, data: one.text } };
    try {
      await warp.entity(one.host).append(event);
      one.answered = ++clock;
    } catch (thrown) {
      if (codeOfError(thrown) !== "ERASED") unexpected.push(codeOfError(thrown));
      const begun = warp
        .entity(random() < 0.5 ? one.host : one.subject)
        .append(credited(1), { expect: "none" });
      await begun.catch((again) => unexpected.push(codeOfError(again)));
    }
  };
  const erase = async () => {
    const one: Deleted = { id: pick(), began: ++clock, answered: Number.POSITIVE_INFINITY };
    const { status } = await warp.entity(one.id).delete();
    one.answered = ++clock;
    deleted.push(one);
    if (status === "pending") unexpected.push(`the erasure of ${one.id} is pending`);
  };
  const hold = async () => {
    const id = pick();
    await warp
      .entity(id)
      .hold({ reason: "claim", until: Date.now() + 5 })
      .catch((thrown) => {
        if (!["ERASED", "INVALID_ARGUMENT"].includes(codeOfError(thrown)))
          unexpected.push(codeOfError(thrown));
      });
  };
  const workers = Array.from({ length: 8 }, async (_, worker) => {
    for (let i = 0; i < 40; i++) {
      const kind = random();
      if (kind < 0.12)
        await erase().catch((thrown) => codeOfError(thrown) !== "HELD" && unexpected.push(String(thrown)));
      else if (kind < 0.16) await hold();
      else await speak(worker, i);
    }
  });
  await Promise.all(workers);
  expect(unexpected).toEqual([]);
  expect(deleted.length).toBeGreaterThan(5);

  const check = async (now: Warp) => {
    const texts = await readableTexts(now, ids);
    for (const { host, subject, text, began, answered } of said) {
      const about = deleted.filter(({ id }) => id === host || id === subject);
      const isGone = answered !== undefined && about.some((one) => one.began > answered);
      const isThere = answered !== undefined && about.every((one) => one.answered < began);
      if (isGone && texts.has(text))
        throw new Error(`${text} of ${subject} in ${host} was erased and is readable`);
      if (isThere && !texts.has(text)) throw new Error(`${text} of ${subject} in ${host} is lost`);
    }
  };
  await check(warp);
  await settled(warp);
  await check(warp);
  await warp.close();
  expect([...checkDirectory({ dataDir })]).toEqual([]);
  await check(await openSmall(dataDir, { aggregates: [order], shards: 3 }));
});
