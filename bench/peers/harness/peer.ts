/**
 * What a system must offer to be measured beside Warp.
 *
 * - `start` leaves it listening on 127.0.0.1 only, with all its data under `place.directory`.
 * - An append resolves when the system says that the events are durable, as far as it can (`notes.durability`).
 * - `count` tells how many events it holds in all, asked of the system itself; nothing is under way when it is called.
 */
import type { NewEvent } from "../../../src/index.ts";
import type { Processes } from "./processes.ts";

export interface Place {
  /** Empty, and readable by every user of the machine; removed afterwards. */
  readonly directory: string;
  readonly processes: Processes;
}

export interface Peer {
  /** What `--only` calls it. */
  readonly name: string;
  readonly title: string;
  /** The form of Warp that it is compared with: a server for servers, the library for libraries. */
  readonly partner: "warp-tcp" | "warp";
  /** One that a goal names: it is measured longer than those that are an order of magnitude away. */
  readonly isClose?: boolean;
  /** Driven for so long before anything is measured: its program is compiled while it runs. */
  readonly warmUpSeconds?: number;
  readonly notes: PeerNotes;
  /** Gets what is not there yet and throws with a sentence when it cannot be had. */
  install(): Promise<void>;
  start(place: Place): Promise<RunningPeer>;
}

export interface PeerNotes {
  readonly client: string;
  readonly durability: string;
  /** False when an acknowledged event can be lost with the power of the machine. */
  readonly isDurable: boolean;
  /** Who gives an event its place in its entity, and what refuses a wrong one. */
  readonly seq: string;
  /** What an append of many events is, and whether all or none of them are there. */
  readonly batch: string;
  /** What a read of the current state returns. */
  readonly state: string;
}

export interface RunningPeer {
  readonly version: string;
  /** Appends to one entity, all or none where the system can. `seq` is that of the first of these events, from 1. */
  append(entity: string, seq: number, events: readonly NewEvent[]): Promise<void>;
  /** Undefined or null for an entity without events. */
  read(entity: string): Promise<unknown>;
  count(): Promise<number>;
  stop(): Promise<void>;
}
