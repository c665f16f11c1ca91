/**
 * What a closed data directory says of itself: everything that stands in its files, read without the engine.
 */
import { checkDirectory as findings } from "../../src/check.ts";

/** Complaints about a directory that no process has open: only damage, not what the engine repairs by itself. */
export function checkDirectory(dataDir: string): string[] {
  return [...findings({ dataDir })]
    .filter(({ severity }) => severity === "damage")
    .map(({ file, what }) => `check: ${file}: ${what}`);
}
