/**
 * What a closed data directory says of itself: everything that stands in its files, read without the engine.
 */
import { checkDirectory as check } from "../../src/check.ts";

/** Complaints about a directory that no process has open. */
export async function checkDirectory(dataDir: string): Promise<string[]> {
  return [...check({ dataDir })]
    .filter(({ severity }) => severity === "damage")
    .map(({ file, what, details }) => `${file}: ${what} ${JSON.stringify(details)}`);
}
