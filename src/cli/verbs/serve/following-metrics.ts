/**
 * What is measured of subscriptions and groups.
 */
import type { MetricSource } from "../../../net/http/metrics.ts";
import type { Warp } from "../../../warp.ts";

export function followingMetrics(warp: Warp): MetricSource[] {
  const sum = (of: "lag" | "parked" | "members") =>
    known(() => warp.groups.status().reduce((total, group) => total + group[of], 0));
  return [
    {
      name: "warp_subscriptions",
      help: "Subscriptions there are.",
      read: () => warp.subscriptions.followers,
    },
    {
      name: "warp_subscriptions_live",
      help: "Subscriptions that have caught up.",
      read: () => warp.subscriptions.live,
    },
    { name: "warp_group_members", help: "Members of all groups.", read: sum("members") },
    {
      name: "warp_group_lag_records",
      help: "Records between the groups' checkpoints and the newest ones.",
      read: sum("lag"),
    },
    { name: "warp_group_parked_events", help: "Events that groups have parked.", read: sum("parked") },
    {
      name: "warp_group_oldest_parked_seconds",
      help: "Age of the oldest parked event; 0 without one.",
      read: known(() => {
        const times = warp.groups.status().flatMap(({ oldestParkedAt }) => oldestParkedAt ?? []);
        return times.length === 0 ? 0 : (Date.now() - Math.min(...times)) / 1000;
      }),
    },
  ];
}

/** What cannot be read, because `groups.db` is damaged, is no number; all other figures are there. */
function known(read: () => number): () => number {
  return () => {
    try {
      return read();
    } catch {
      return Number.NaN;
    }
  };
}
