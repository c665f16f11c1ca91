/**
 * The states that a disk could be left in by a power failure, worked out from a recording.
 *
 * - What was written and then synced is there. What was not synced is each kept, lost, or torn at sectors of 512 bytes,
 *   in any order; so are changes of a file's size.
 * - Names made, changed or removed in a directory that was not synced since are there up to some point, in order. A file
 *   may have its name and none of its content.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { TracedCall } from "./trace.ts";

const sectorBytes = 512;

interface Change {
  readonly end: number;
  /** Bytes at an offset, or a new size. */
  readonly offset: number;
  readonly bytes: Buffer | undefined;
}

interface Node {
  readonly isDirectory: boolean;
  synced: Buffer;
  pending: Change[];
}

interface NameChange {
  readonly end: number;
  readonly removes: string | undefined;
  readonly adds: readonly [path: string, node: Node] | undefined;
}

export class Disk {
  readonly #root: string;
  readonly #names = new Map<string, Node>();
  readonly #syncedNames = new Map<string, Node>();
  readonly #pendingNames = new Map<string, NameChange[]>();

  /** Begins with what is under `root` now, all of it synced. */
  constructor(root: string) {
    this.#root = root;
    this.#take(root);
  }

  #take(directory: string): void {
    this.#addSynced(directory, { isDirectory: true, synced: Buffer.alloc(0), pending: [] });
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) this.#take(path);
      else this.#addSynced(path, { isDirectory: false, synced: readFileSync(path), pending: [] });
    }
  }

  #addSynced(path: string, node: Node): void {
    this.#names.set(path, node);
    this.#syncedNames.set(path, node);
  }

  /** Takes in a call that had begun when the power failed at line `until`. */
  apply(call: TracedCall, until: number): void {
    const { end } = call;
    if (call.kind === "said") return;
    const node = this.#names.get(call.path);
    switch (call.kind) {
      case "open":
        if (node === undefined) this.#add(call.path, end, false);
        else if (call.truncates) node.pending.push({ end, offset: 0, bytes: undefined });
        return;
      case "mkdir":
        if (node === undefined) this.#add(call.path, end, true);
        return;
      case "write":
        node?.pending.push({ end, offset: call.offset, bytes: call.bytes });
        return;
      case "truncate":
        node?.pending.push({ end, offset: call.size, bytes: undefined });
        return;
      case "unlink":
        this.#names.delete(call.path);
        this.#note(call.path, { end, removes: call.path, adds: undefined });
        return;
      case "rename":
        if (node === undefined) return;
        this.#names.delete(call.path);
        this.#names.set(call.to, node);
        this.#note(call.path, { end, removes: call.path, adds: [call.to, node] });
        return;
      case "sync":
        if (node !== undefined && end <= until) this.#sync(call.path, node, call.start);
        return;
    }
  }

  #add(path: string, end: number, isDirectory: boolean): void {
    const node = { isDirectory, synced: Buffer.alloc(0), pending: [] };
    this.#names.set(path, node);
    this.#note(path, { end, removes: undefined, adds: [path, node] });
  }

  #note(path: string, change: NameChange): void {
    const directory = dirname(path);
    const pending = this.#pendingNames.get(directory) ?? [];
    pending.push(change);
    this.#pendingNames.set(directory, pending);
  }

  #sync(path: string, node: Node, start: number): void {
    if (!node.isDirectory) {
      for (const change of node.pending) if (change.end < start) node.synced = changed(node.synced, change);
      node.pending = node.pending.filter((change) => change.end >= start);
      return;
    }
    const pending = this.#pendingNames.get(path) ?? [];
    for (const change of pending) if (change.end < start) rename(this.#syncedNames, change);
    this.#pendingNames.set(
      path,
      pending.filter((change) => change.end >= start),
    );
  }

  /** Writes what a process leaves that is killed: everything that it had written, as the kernel has it. */
  writeAll(target: string): void {
    this.#write(target, this.#names, (node) => node.pending.reduce(changed, node.synced));
  }

  /** Writes what is certain to be left of a power failure: nothing but what was synced. */
  writeSynced(target: string): void {
    this.#write(target, this.#syncedNames, (node) => node.synced);
  }

  /** Writes one of the possible states to `target`. */
  write(target: string, random: () => number): void {
    const names = new Map(this.#syncedNames);
    const manner = random();
    for (const pending of this.#pendingNames.values()) {
      const kept = manner < 0.2 ? pending.length : Math.floor(random() * (pending.length + 1));
      for (const change of pending.slice(0, kept)) rename(names, change);
    }
    this.#write(target, names, (node) => contentOf(node, random, manner));
  }

  #write(target: string, names: ReadonlyMap<string, Node>, contentOf: (node: Node) => Buffer): void {
    mkdirSync(target, { recursive: true });
    const paths = [...names.keys()].sort();
    for (const path of paths) {
      const node = names.get(path);
      if (node === undefined || path === this.#root || !hasAncestors(names, path, this.#root)) continue;
      // SQLite makes the index of a WAL anew, and the lock file never holds anything.
      if (path.endsWith("-shm") || path.includes("/lock.db")) continue;
      const to = join(target, path.slice(this.#root.length));
      if (node.isDirectory) mkdirSync(to, { recursive: true });
      else writeFileSync(to, contentOf(node));
    }
  }
}

function hasAncestors(names: ReadonlyMap<string, Node>, path: string, root: string): boolean {
  for (let up = dirname(path); up.length >= root.length; up = dirname(up)) if (!names.has(up)) return false;
  return true;
}

function rename(names: Map<string, Node>, { removes, adds }: NameChange): void {
  if (removes !== undefined) names.delete(removes);
  if (adds !== undefined) names.set(adds[0], adds[1]);
}

/** What is left of a file: all that was synced, and of the rest what chance leaves. */
function contentOf(node: Node, random: () => number, manner: number): Buffer {
  const fate = manner < 0.2 ? 1 : manner < 0.4 ? 0 : random();
  const prefix = manner < 0.6 ? Math.floor(random() * (node.pending.length + 1)) : undefined;
  let content = node.synced;
  for (const [index, change] of node.pending.entries()) {
    const isKept = manner >= 0.4 && prefix !== undefined ? index < prefix : random() < fate;
    const isTorn = random() < (isKept ? 0.1 : 0.2) && manner >= 0.4;
    if (change.bytes !== undefined && isTorn) content = torn(content, change.offset, change.bytes, random);
    else if (isKept) content = changed(content, change);
  }
  return content;
}

function torn(content: Buffer, offset: number, bytes: Buffer, random: () => number): Buffer {
  let left = content;
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(sectorBytes - ((offset + at) % sectorBytes), bytes.length - at);
    const piece = { end: 0, offset: offset + at, bytes: bytes.subarray(at, at + length) };
    if (random() < 0.5) left = changed(left, piece);
    at += length;
  }
  return left;
}

function changed(content: Buffer, { offset, bytes }: Change): Buffer {
  if (bytes === undefined) return resized(content, offset);
  const whole = resized(content, Math.max(content.length, offset + bytes.length));
  whole.set(bytes, offset);
  return whole;
}

/** A copy of the given length, zeros behind the old end. */
function resized(content: Buffer, length: number): Buffer {
  const copy = Buffer.alloc(length);
  copy.set(content.subarray(0, length));
  return copy;
}
