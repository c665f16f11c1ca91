/**
 * A process that is killed while it backs up or restores: `bun tests/backup/crash-child.ts JSON`.
 */
import { mkdirSync } from "node:fs";
import { restoreBackup } from "../../src/index.ts";
import { credited, openSmall, seededRandom } from "../engine/sample.ts";

export interface CrashOrder {
  readonly role: "backup" | "restore";
  readonly dataDir: string;
  readonly target: string;
  readonly to: string;
  /** The directories that are restored into are there already. */
  readonly isMade: boolean;
  readonly rootKeyFile: string;
  readonly seed: number;
}

const order = JSON.parse(process.argv[2] ?? "{}") as CrashOrder;
if (order.role === "backup") await backUpForEver(order);
else await restoreForEver(order);

/** Appends and backs up until it is killed. */
async function backUpForEver({ dataDir, target, seed }: CrashOrder): Promise<void> {
  const random = seededRandom(seed);
  const warp = await openSmall(dataDir);
  console.log("begun");
  for (;;) {
    const appends = Array.from({ length: 1 + Math.floor(random() * 20) }, () =>
      warp.entity(`customer-${Math.floor(random() * 50)}`).append(credited(Math.floor(random() * 100))),
    );
    await Promise.all(appends);
    await warp.backup(target, { settle: random() < 0.7 });
  }
}

/** Restores into one new directory after the other until it is killed. */
async function restoreForEver({ target, to, isMade, rootKeyFile }: CrashOrder): Promise<void> {
  console.log("begun");
  for (let i = 0; ; i++) {
    if (isMade) mkdirSync(`${to}-${i}`);
    await restoreBackup({ target, to: `${to}-${i}`, rootKey: { file: rootKeyFile } });
  }
}
