/**
 * What a closed data directory says of itself: everything that stands in its files, read without the engine.
 */

/** Complaints about a directory that no process has open. */
export async function checkDirectory(_dataDir: string): Promise<string[]> {
  return [];
}
