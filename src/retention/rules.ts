/**
 * When an event may go: what the aggregates of a context say, taken together.
 */
import type { Aggregate } from "../aggregate/aggregate.ts";
import type { FoldPlan } from "../aggregate/fold.ts";
import type { Retention } from "../aggregate/retention.ts";
import type { OldRun } from "../shard/messages.ts";

const dayMs = 24 * 60 * 60 * 1000;

export class RetentionRules {
  readonly #plan: FoldPlan;
  readonly #rules = new Map<string, readonly Retention[] | undefined>();
  readonly #all: readonly Retention[];

  constructor(plan: FoldPlan) {
    this.#plan = plan;
    this.#all = plan.aggregates.flatMap(({ retention }) => (retention === undefined ? [] : [retention]));
  }

  /** True when nothing ever goes. */
  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  /** Nothing newer than this may go, whatever it is: the loosest of all rules. */
  bounds(now: number): { readonly keepLast: number; readonly recordedTo: number } {
    const keepDays = Math.min(...this.#all.map((rule) => rule.keepDays ?? 0));
    return {
      keepLast: Math.min(...this.#all.map((rule) => rule.keepLast ?? 0)),
      recordedTo: now - keepDays * dayMs,
    };
  }

  /** Whether a run may go. `backedUpTo` is the position up to which its shard is in a backup. */
  letsGo(run: OldRun, now: number, backedUpTo: number): boolean {
    return run.types.every((type) => {
      const rules = this.#rulesOf(type);
      return rules?.every((rule) => isBeyond(rule, run, now, backedUpTo)) === true;
    });
  }

  /** The rules of everyone who folds a type; undefined when nobody does, or somebody keeps it for ever. */
  #rulesOf(type: string): readonly Retention[] | undefined {
    if (this.#rules.has(type)) return this.#rules.get(type);
    const folding = this.#plan.handlersOf(type).map(({ index }) => this.#plan.aggregates[index]);
    const rules = folding.flatMap((aggregate: Aggregate | undefined) => aggregate?.retention ?? []);
    const known = folding.length > 0 && rules.length === folding.length ? rules : undefined;
    this.#rules.set(type, known);
    return known;
  }
}

function isBeyond(rule: Retention, run: OldRun, now: number, backedUpTo: number): boolean {
  if (rule.beyond === "backup-only" && run.batch > backedUpTo) return false;
  if (rule.keepLast !== undefined && run.end > run.tip - rule.keepLast) return false;
  return rule.keepDays === undefined || run.recordedAt < now - rule.keepDays * dayMs;
}
