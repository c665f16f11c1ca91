/**
 * All verbs, in the order in which help lists them.
 */
import type { Verb } from "./verb.ts";
import { appendVerb } from "./verbs/append.ts";
import { backupVerb } from "./verbs/backup.ts";
import { benchVerb } from "./verbs/bench.ts";
import { checkVerb } from "./verbs/check.ts";
import { entitiesVerb } from "./verbs/entities.ts";
import { eventsVerb } from "./verbs/events.ts";
import { getVerb } from "./verbs/get.ts";
import { groupsVerb } from "./verbs/groups.ts";
import { importVerb } from "./verbs/import.ts";
import { deleteVerb } from "./verbs/privacy/delete.ts";
import { erasuresVerb } from "./verbs/privacy/erasures.ts";
import { exportVerb } from "./verbs/privacy/export.ts";
import { holdVerb } from "./verbs/privacy/hold.ts";
import { keysVerb } from "./verbs/privacy/keys.ts";
import { projectionsVerb } from "./verbs/projections.ts";
import { queryVerb } from "./verbs/query.ts";
import { restoreVerb } from "./verbs/restore.ts";
import { sendVerb } from "./verbs/send.ts";
import { serveVerb } from "./verbs/serve.ts";
import { shellVerb } from "./verbs/shell.ts";
import { tailVerb } from "./verbs/tail.ts";
import { versionVerb } from "./verbs/version.ts";

export const verbs: readonly Verb[] = [
  serveVerb,
  shellVerb,
  importVerb,
  appendVerb,
  sendVerb,
  getVerb,
  eventsVerb,
  tailVerb,
  groupsVerb,
  entitiesVerb,
  queryVerb,
  projectionsVerb,
  backupVerb,
  restoreVerb,
  exportVerb,
  deleteVerb,
  holdVerb,
  erasuresVerb,
  keysVerb,
  checkVerb,
  benchVerb,
  versionVerb,
];
