/**
 * `warp import FILE`: appends the rows of a file as events, each to its entity. Safe to run again.
 *
 * What makes a second run add nothing twice is the import's name: by default that of the file's content, so the same
 * file under the same name is the same import, and with `--name` whatever the caller says. Other input under a used name
 * adds nothing twice either (`import/appender.ts`).
 */
import { InvalidArgumentError, Option } from "commander";
import { eventTypeProblem } from "../../aggregate/event-type.ts";
import { type ExitCode, exitCode, UsageError } from "../exit.ts";
import type { EpochUnit } from "../moment.ts";
import { formatBytes, formatCount, formatCounted, formatDuration, ProgressMeter } from "../progress.ts";
import { addCreateOptions, addTargetOptions, list, targetSettings } from "../settings.ts";
import type { Verb, VerbContext } from "../verb.ts";
import type { LeftOut } from "./import/appender.ts";
import { type Format, formats } from "./import/format.ts";
import { type ImportOptions, importRows, type Summary } from "./import/import-rows.ts";
import { compileMapping, type MappingOptions, type PersonalFields } from "./import/mapping.ts";
import { openSource, type Source } from "./import/source.ts";

interface ImportVerbOptions {
  readonly entity: string;
  readonly type?: string;
  readonly typeName?: string;
  readonly occurred?: string;
  readonly occurredUnit?: EpochUnit;
  readonly fields?: readonly string[];
  readonly subject?: string;
  readonly personal?: readonly string[];
  readonly format?: Format;
  readonly delimiter?: string;
  readonly numbers?: readonly string[];
  readonly booleans?: readonly string[];
  readonly skipInvalid?: true;
  readonly name?: string;
}

const nameBytesMax = 200;
const leftOutShownMax = 20;

export const importVerb: Verb = {
  name: "import",
  summary: "append the rows of an NDJSON, JSON or CSV file as events",
  examples: [
    [
      "warp import flights.json --entity origin --type-name Departed --occurred date",
      "each flight becomes an event of the airport it departed from",
    ],
    [
      'warp import orders.csv.gz --entity "order-{id}" --type status --numbers cents --skip-invalid',
      "ids from a template, the type from a column; a row that cannot be used is told and left out",
    ],
    [
      "warp import parcels.csv --entity parcel --type-name Sent --subject customer --personal name,street",
      "name and street are the customer's: whoever deletes her deletes them in every parcel",
    ],
    [
      "export-rows | warp import - --name rows-2026-11 --format ndjson --entity user.id --type type",
      "from standard input; the name is what makes it safe to run again",
    ],
  ],

  define(command) {
    command.argument("<file>", 'file to import, also with .gz; "-" is standard input');
    command
      .requiredOption("--entity <field>", 'field with the entity\'s id, or a template such as "order-{id}"')
      .option("--type <field>", "field with the event's type")
      .addOption(
        new Option("--type-name <type>", "one type for all events").conflicts("type").argParser(typeName),
      )
      .option(
        "--occurred <field>",
        "field with the time of the event: a date (UTC unless it has a zone), s or ms",
      )
      .addOption(
        new Option("--occurred-unit <unit>", "unit of times that are numbers (default: by size)").choices([
          "s",
          "ms",
        ]),
      )
      .option(
        "--fields <a,b,c>",
        "fields to keep as the event's data (default: all that are not personal)",
        list,
      )
      .option(
        "--subject <field>",
        "field with the id of somebody else of whom the row speaks, or a template; with --personal",
      )
      .option(
        "--personal <a,b,c>",
        "fields that are erased with the subject: they are in no event's data",
        list,
      )
      .addOption(
        new Option("--format <format>", "default: by the file's name and first character").choices(formats),
      )
      .option("--delimiter <character>", "CSV: between cells (default: comma; tab for .tsv)", delimiter)
      .option("--numbers <a,b,c>", "CSV: columns that are numbers; other cells are text", list)
      .option("--booleans <a,b,c>", "CSV: columns that are true or false", list)
      .option(
        "--skip-invalid",
        "leave out rows that cannot be used, and what was erased (default: stop at the first)",
      )
      .option("--name <name>", "name of this import (default: from the file's name and content)", importName);
    addCreateOptions(addTargetOptions(command));
  },

  async run(command, context) {
    const options = command.opts<ImportVerbOptions>();
    const [path = ""] = command.args;
    const mapping = mappingOf(options);
    // A template that cannot be read is found before anything is opened.
    compileMapping(mapping);
    const source = await openSource(path);
    try {
      const name = options.name ?? source.identity;
      if (name === undefined)
        throw new UsageError(`an import from "${path}" needs a --name to be safe to run again`);
      return await context.withTarget(targetSettings(command, true), async (target) => {
        const startedAt = performance.now();
        const summary = await runImport(context, {
          source,
          target,
          name,
          mapping,
          format: {
            format: options.format,
            delimiter: options.delimiter,
            numbers: options.numbers ?? [],
            booleans: options.booleans ?? [],
          },
          skipInvalid: options.skipInvalid === true,
        });
        await printSummary(context, name, source, summary, performance.now() - startedAt);
        return codeOf(summary);
      });
    } finally {
      await source.close();
    }
  },
};

function mappingOf(options: ImportVerbOptions): MappingOptions {
  const { type, typeName, occurred, occurredUnit } = options;
  if (occurredUnit !== undefined && occurred === undefined) {
    throw new UsageError("--occurred-unit goes with --occurred");
  }
  if (type === undefined && typeName === undefined)
    throw new UsageError("either --type or --type-name is needed");
  return {
    entity: options.entity,
    type: type === undefined ? { name: typeName ?? "" } : { field: type },
    occurred,
    occurredUnit,
    fields: options.fields,
    personal: personalOf(options),
  };
}

function personalOf({ subject, personal, fields = [] }: ImportVerbOptions): PersonalFields | undefined {
  if (subject === undefined && personal === undefined) return undefined;
  if (subject === undefined || personal === undefined || personal.length === 0)
    throw new UsageError("--subject goes with --personal");
  const isInside = (inner: string, outer: string) => inner === outer || inner.startsWith(`${outer}.`);
  const kept = personal.find((field) => fields.some((one) => isInside(one, field) || isInside(field, one)));
  if (kept === undefined) return { subject, fields: personal };
  throw new UsageError(`"${kept}" is in --personal and in --fields, where it would not be erased`);
}

type RunOptions = Omit<ImportOptions, "signal" | "onSkipped" | "onErased" | "onProgress">;

/** Runs the import with its progress, and its first warnings, on standard error. */
async function runImport({ output, errors, signal }: VerbContext, options: RunOptions): Promise<Summary> {
  const { source } = options;
  const meter = new ProgressMeter(errors, output.json);
  let told = 0;
  const warn = (text: string, details: object) => {
    meter.clear();
    errors.write(output.json ? `${JSON.stringify({ warning: text, ...details })}\n` : `warp: ${text}\n`);
  };
  const warnOfLeftOut = (text: string, details: object) => {
    told++;
    if (told <= leftOutShownMax) warn(text, details);
    if (told === leftOutShownMax) warn("more that is left out is only counted", {});
  };
  try {
    return await importRows({
      ...options,
      signal,
      onSkipped: (line, problem) => warnOfLeftOut(`line ${line} is left out: it ${problem}`, { line }),
      onErased: (leftOut) => warnOfLeftOut(erasedText(leftOut), leftOut),
      onProgress: ({ rows }) => {
        meter.update({ rows, bytes: source.bytesRead, bytesTotal: source.bytesTotal });
      },
    });
  } finally {
    meter.clear();
  }
}

function erasedText({ entity, subject, rows, firstLine, lastLine }: LeftOut): string {
  const lines = firstLine === lastLine ? `line ${firstLine}` : `lines ${firstLine} to ${lastLine}`;
  const of = `${formatCounted(rows, "row")} of entity ${JSON.stringify(entity)}`;
  return subject === undefined
    ? `${lines}: ${of} left out, which was erased`
    : `${lines}: of ${of}, what is said of ${JSON.stringify(subject)} is left out, who was erased`;
}

async function printSummary(
  { output }: VerbContext,
  name: string,
  source: Source,
  summary: Summary,
  elapsedMs: number,
): Promise<void> {
  const { rows, events, alreadyThere, skipped, entitiesNew, interrupted } = summary;
  const perSecond = elapsedMs > 0 ? Math.round((events / elapsedMs) * 1000) : 0;
  const lines = [
    `${formatCount(rows)} rows, ${formatBytes(source.bytesRead)} read in ${formatDuration(elapsedMs)}`,
    `${formatCount(events)} events added (${formatCount(perSecond)}/s), ${formatCount(entitiesNew)} new entities`,
  ];
  if (alreadyThere > 0) lines.push(`${formatCount(alreadyThere)} events were already there`);
  if (skipped > 0) lines.push(`${formatCount(skipped)} rows left out`);
  if (interrupted) lines.push("interrupted; run it again to go on");
  const item = {
    name,
    rows,
    events,
    alreadyThere,
    skipped,
    entitiesNew,
    interrupted,
    bytes: source.bytesRead,
    elapsedMs: Math.round(elapsedMs),
    eventsPerSecond: perSecond,
  };
  await output.item(item, lines.join("\n"));
}

function codeOf({ interrupted }: Summary): ExitCode {
  return interrupted ? exitCode.interrupted : exitCode.ok;
}

function typeName(text: string): string {
  const problem = eventTypeProblem(text);
  if (problem !== undefined) throw new InvalidArgumentError(`It ${problem}.`);
  return text;
}

function importName(text: string): string {
  if (text !== "" && Buffer.byteLength(text) <= nameBytesMax) return text;
  throw new InvalidArgumentError(`It must have 1 to ${nameBytesMax} bytes.`);
}

function delimiter(text: string): string {
  const character = text === "\\t" ? "\t" : text;
  if (character.length === 1 && !'"\r\n'.includes(character)) return character;
  throw new InvalidArgumentError("It must be one character, and no quote or line end.");
}
