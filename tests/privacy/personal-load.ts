/**
 * A program that has hosts speak of subjects and deletes these, one after the other, until it is ended or has done enough.
 *
 *   bun tests/privacy/personal-load.ts '{"dataDir":…,"target":…,"seed":…,"run":…,"subjects":…}'
 *
 * It says what it is about to do and what was answered, a line each: `try`, `said`, `deleting`, `deleted`.
 */
import { writeSync } from "node:fs";
import { start } from "../../src/index.ts";
import { seededRandom } from "../crash/seeded.ts";
import { order, personalSettings } from "./personal-sample.ts";

export interface PersonalOrder {
  readonly dataDir: string;
  readonly target: string;
  readonly seed: number;
  readonly run: string;
  readonly subjects: number;
}

export interface Said {
  readonly line: "try" | "said" | "deleting" | "deleted";
  readonly subject: string;
  readonly text?: string;
}

function say(said: Said): void {
  writeSync(1, `${JSON.stringify(said)}\n`);
}

async function load({ dataDir, target, seed, run, subjects }: PersonalOrder): Promise<void> {
  const random = seededRandom(seed);
  const warp = await start({ ...personalSettings, aggregates: [order], dataDir });
  const append = async (subject: string) => {
    const text = `said-${run}-${Math.floor(random() * 2 ** 40).toString(36)}-of-${subject}`;
    const host = warp.entity(`host-${Math.floor(random() * 12)}`);
    say({ line: "try", subject, text });
    await host.append({ type: "Shipped", data: {}, personal: { subject, data: { address: text } } });
    say({ line: "said", subject, text });
  };
  for (let i = 0; i < subjects; i++) {
    const [gone, kept] = [`gone-${run}-${i}`, `kept-${run}`];
    await Promise.all(Array.from({ length: 10 }, () => append(gone)));
    await append(kept);
    if (random() < 0.5) await warp.entity(gone).append({ type: "Born", data: 1 });
    if (random() < 0.3) await warp.backup(target);
    say({ line: "deleting", subject: gone });
    const during = Array.from({ length: 4 }, () => append(kept));
    await warp.entity(gone).delete();
    say({ line: "deleted", subject: gone });
    await Promise.all(during);
  }
  await warp.close();
}

await load(JSON.parse(process.argv[2] ?? "{}") as PersonalOrder);
