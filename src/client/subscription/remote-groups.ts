/**
 * The groups of a context on a server, for operators.
 */
import type { GroupStatus, ParkedEvent } from "../../net/protocol/outcomes.ts";
import { type GroupRequest, writeGroup, writeGroups } from "../../net/protocol/subscription/groups.ts";
import { operation } from "../../net/protocol/words.ts";
import { requireWhole } from "../encoding.ts";
import type { Link } from "../link.ts";
import type { WriteRequest } from "../sending/requests.ts";

export class RemoteGroups {
  readonly #link: Link;

  /** Use `client.groups`. */
  constructor(link: Link) {
    this.#link = link;
  }

  status(): Promise<GroupStatus[]> {
    return this.#link.request(operation.groups, "", undefined, writeGroups);
  }

  /** What a group parked, oldest first. */
  parked(group: string, limit?: number): Promise<ParkedEvent[]> {
    return this.#ask({ group, action: "parked", limit });
  }

  /** Delivers parked events again; returns how many. Not repeated, as {@link RemoteEntity.delete}. Errors: INVALID_ARGUMENT when the group has no members. */
  replay(group: string, limit?: number): Promise<number> {
    return this.#ask({ group, action: "replay", limit });
  }

  /** Forgets a group without members. Not repeated, as {@link RemoteEntity.delete}. */
  async remove(group: string): Promise<void> {
    await this.#ask({ group, action: "remove", limit: undefined });
  }

  #ask<Result>(request: GroupRequest): Promise<Result> {
    const write: WriteRequest = (writer, id) => {
      requireWhole("limit", request.limit);
      writeGroup(writer, id, request);
    };
    const effect = request.action === "parked" ? "none" : "once";
    return this.#link.request(operation.group, "", undefined, write, 0, effect);
  }
}
