/**
 * What a server says of itself at `/metrics`, as far as a run wants to know.
 */
import { WarpError } from "../../../core/errors.ts";

export interface ServerMetrics {
  readonly unsettledBytes: number;
  readonly residentEntities: number;
  readonly rssBytes: number;
  /** Processor time since its start, all threads. */
  readonly cpuSeconds: number;
}

/** `url` is where HTTP is answered. Errors: DISCONNECTED, also when it is no server of Warp. */
export async function readServerMetrics(url: string): Promise<ServerMetrics> {
  let text: string;
  try {
    const response = await fetch(new URL("/metrics", url));
    text = await response.text();
  } catch (thrown) {
    throw new WarpError("DISCONNECTED", "the server's metrics cannot be read", { url }, thrown);
  }
  const value = (name: string): number => {
    const found = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
    if (found === undefined) throw new WarpError("DISCONNECTED", "there are no metrics", { url, name });
    return Number(found);
  };
  return {
    unsettledBytes: value("warp_unsettled_bytes"),
    residentEntities: value("warp_resident_entities"),
    rssBytes: value("process_resident_memory_bytes"),
    cpuSeconds: value("process_cpu_seconds_total"),
  };
}
