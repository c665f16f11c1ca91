/**
 * What the tests of backups share: a context that is written to at random, a model of it, and directories of their own.
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkDirectory,
  type RestoreOptions,
  restoreBackup,
  type Settings,
  type StoredEvent,
  type Warp,
} from "../../src/index.ts";
import { collect, openSmall } from "../engine/sample.ts";

const directories: string[] = [];

/** A directory that `removeDirectories` removes. */
export function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "warp-backup-"));
  directories.push(directory);
  return directory;
}

export function removeDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** Where the root key of a directory lies by default. */
export function rootKeyOf(dataDir: string) {
  return { file: join(dataDir, "root.key") };
}

/** What is expected of each entity: its events by seq. */
export type Model = Map<string, StoredEvent[]>;

export async function modelOf(warp: Warp): Promise<Model> {
  const model: Model = new Map();
  for await (const { id } of warp.entities()) {
    model.set(
      id,
      (await collect(warp.entity(id).storedEvents())).map(
        ({ position: _, ...event }) => event as StoredEvent,
      ),
    );
  }
  return model;
}

/** Restores, checks what came out as `warp check` does, opens it and returns what is in it. */
export async function restoredModel(
  target: string,
  rootKeyFile: string,
  options: Partial<RestoreOptions> = {},
  settings: Partial<Settings> = {},
): Promise<Model> {
  const to = join(freshDirectory(), "restored");
  await restoreBackup({ target, to, rootKey: { file: rootKeyFile }, ...options });
  const findings = [...checkDirectory({ dataDir: to, rootKey: { file: rootKeyFile } })];
  if (findings.length > 0)
    throw new Error(`the restored directory has findings: ${JSON.stringify(findings[0])}`);
  const warp = await openSmall(to, {
    ...settings,
    shards: undefined,
    rootKey: { file: rootKeyFile },
    create: false,
  });
  try {
    return await modelOf(warp);
  } finally {
    await warp.close();
  }
}

/** A copy that a test may damage. */
export function copyOf(directory: string): string {
  const copy = join(freshDirectory(), "copy");
  cpSync(directory, copy, { recursive: true });
  return copy;
}

/** All files under a directory, relative to it, in order. */
export function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** The files in which these bytes stand. */
export function filesWith(directory: string, bytes: string): string[] {
  return filesUnder(directory).filter((file) => readFileSync(join(directory, file)).includes(bytes));
}
