/**
 * The numbers of the peers as they are recorded in bench/results/peers.json, raw.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeSection } from "../../sections.ts";
import type { DiskSpeed } from "./disk.ts";
import type { Measured } from "./load.ts";
import { peersSection } from "./page.ts";
import type { PeerNotes } from "./peer.ts";

export interface Run extends Measured {
  readonly round: number;
  readonly workload: string;
  readonly side: "peer" | "warp";
}

export interface Count {
  readonly round: number;
  readonly side: "peer" | "warp";
  readonly entities: number;
  readonly acknowledged: number;
  readonly counted: number;
}

export interface RecordedPeer {
  readonly name: string;
  readonly title: string;
  readonly partner: "warp-tcp" | "warp";
  readonly notes: PeerNotes;
  version: string;
  readonly date: string;
  /** Its processors; absent in older records. */
  readonly machine?: string;
  /** The measured window of each run. */
  readonly seconds: number;
  /** Before each round; absent in older records. */
  readonly disk?: DiskSpeed[];
  /** Load average before each round. */
  readonly loads: number[];
  readonly runs: Run[];
  readonly counts: Count[];
  failure?: string;
}

export interface Record {
  readonly processors: number;
  readonly peers: RecordedPeer[];
}

const path = join(import.meta.dir, "../../results/peers.json");

export function readRecord(): Record | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Record) : undefined;
}

/** Writes the numbers, and the section of bench/RESULTS.md that shows them. */
export function writeRecord(record: Record): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(record, undefined, 1)}\n`);
  writeSection("peers", peersSection(record));
}
