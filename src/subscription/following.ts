/**
 * What follows what is appended: the feed, subscriptions, and groups, as one part of a context.
 */
import type { Folding } from "../actor/folding.ts";
import { Feed, type FeedParts } from "../actor/storage/feed.ts";
import type { ErasureFollowers } from "../core/erasure.ts";
import type { WarpError } from "../core/errors.ts";
import { Groups } from "./groups/groups.ts";
import { Hub } from "./hub.ts";

export class Following {
  readonly feed: Feed;
  readonly hub: Hub;
  readonly groups: Groups;

  constructor(sources: FeedParts, folding: Folding, dataDir: string, followers: ErasureFollowers) {
    this.feed = new Feed(sources);
    this.hub = new Hub(this.feed, folding);
    this.groups = new Groups({ hub: this.hub, folding, dataDir, followers });
  }

  /** Wipes what is kept of entities that are erased. */
  forget(shard: number, numbers: readonly number[]): void {
    this.feed.forget(shard, numbers);
    this.hub.recent.forget();
  }

  /** These are erased, and what is read from now on is without them: so is what was read before and waits. */
  withdraw(shard: number, numbers: readonly number[]): void {
    this.hub.withdraw(shard, new Set(numbers));
  }

  /** Nobody follows any more, and is told why. */
  end(error: WarpError): void {
    this.groups.close(error);
    this.hub.end(error);
  }
}
