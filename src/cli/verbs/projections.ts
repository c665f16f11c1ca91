/**
 * `warp projections`: what they are doing, and what an operator can do with one.
 */
import { exitCode, UsageError } from "../exit.ts";
import type { Column } from "../output.ts";
import { addTargetOptions, targetSettings } from "../settings.ts";
import type { ProjectionAction } from "../target.ts";
import type { Verb } from "../verb.ts";

interface Status {
  readonly name: string;
  readonly version: number;
  readonly sink: string;
  readonly state: string;
  readonly lagEvents: number;
  readonly lagMs: number;
  readonly parked: number;
  readonly skipped: number;
  readonly gaps: number;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly building: { readonly version: number; readonly progress: number } | null;
}

interface Parked {
  readonly entity: string;
  readonly seq: number;
  readonly type: string;
  readonly parkedAt: number;
  readonly error: string;
}

const statusColumns: readonly Column<Status>[] = [
  { title: "projection", of: ({ name }) => name },
  { title: "version", of: ({ version }) => String(version), align: "right" },
  { title: "sink", of: ({ sink }) => sink },
  { title: "state", of: ({ state, building }) => state + buildingText(building) },
  { title: "lag events", of: ({ lagEvents }) => String(lagEvents), align: "right" },
  { title: "lag ms", of: ({ lagMs }) => lagMs.toFixed(0), align: "right" },
  { title: "parked", of: ({ parked }) => String(parked), align: "right" },
  { title: "skipped", of: ({ skipped }) => String(skipped), align: "right" },
  { title: "gaps", of: ({ gaps }) => String(gaps), align: "right" },
  { title: "error", of: ({ error }) => (error === null ? "" : `${error.code}: ${error.message}`) },
];

const parkedColumns: readonly Column<Parked>[] = [
  { title: "entity", of: ({ entity }) => entity },
  { title: "seq", of: ({ seq }) => String(seq), align: "right" },
  { title: "type", of: ({ type }) => type },
  { title: "since", of: ({ parkedAt }) => new Date(parkedAt).toISOString() },
  { title: "error", of: ({ error }) => error },
];

const actions: readonly ProjectionAction[] = ["list", "pause", "resume", "rebuild", "parked", "unpark"];

export const projectionsVerb: Verb = {
  name: "projections",
  summary: "list projections; pause, resume, rebuild one; show or take again what it holds back",
  examples: [
    ["warp projections", "all of them, with their lag"],
    ["warp projections pause accounts", "stand still until it is resumed"],
    ["warp projections rebuild accounts", "make all its rows again; the present ones stay until then"],
    ["warp projections parked accounts", "the entities that are held back, and why"],
    ["warp projections unpark accounts alice", "take the events of alice again"],
  ],

  define(command) {
    command
      .argument("[action]", actions.join(", "), "list")
      .argument("[projection]", "its name")
      .argument("[entity]", "with unpark, this entity only");
    addTargetOptions(command);
  },

  async run(command, { output, withTarget }) {
    const [action = "list", projection = "", entity] = command.args;
    const known = actions.find((one) => one === action);
    if (known === undefined) throw new UsageError(`${action} is none of ${actions.join(", ")}`);
    if (known !== "list" && projection === "") throw new UsageError(`which projection is it to ${action}?`);
    return await withTarget(targetSettings(command, false), async (target) => {
      const list = await target.projection(known, projection, entity);
      if (known === "parked" || known === "unpark") {
        await output.table(each(list as readonly Parked[]), parkedColumns);
      } else {
        await output.table(each(list as readonly Status[]), statusColumns);
      }
      return exitCode.ok;
    });
  },
};

function buildingText(building: Status["building"]): string {
  return building === null ? "" : `, ${building.version} at ${Math.floor(building.progress * 100)} %`;
}

async function* each<Item>(items: readonly Item[]): AsyncGenerator<Item> {
  yield* items;
}
