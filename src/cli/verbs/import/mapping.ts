/**
 * How a row becomes an event of an entity: which fields say whose it is, of what type, and when it happened.
 *
 * - A field is named as it stands in the row; if there is no such field, "a.b" is the field `b` inside the field `a`.
 * - What the engine would refuse (an id, a type or data that cannot be stored) is found here, row by row, so that one
 *   bad row is not the end of its whole chunk.
 */
import { eventTypeProblem } from "../../../aggregate/event-type.ts";
import { encodeData, isJsonData, validateData } from "../../../aggregate/json-data.ts";
import { entityIdFault } from "../../../core/entity-id.ts";
import { WarpError } from "../../../core/errors.ts";
import type { NewEvent } from "../../../core/event.ts";
import { limits } from "../../../core/limits.ts";
import { type EpochUnit, toTime } from "../../moment.ts";
import type { Row } from "./row.ts";

export interface MappingOptions {
  /** The name of a field, or a template such as "order-{id}". */
  readonly entity: string;
  /** Either the field that holds the type, or one type for all rows. */
  readonly type: { readonly field: string } | { readonly name: string };
  /** The field that says when it happened. */
  readonly occurred: string | undefined;
  readonly occurredUnit: EpochUnit | undefined;
  /** The fields to keep as the event's data; all when undefined, but for those that are personal or name the subject. */
  readonly fields: readonly string[] | undefined;
  /** What a row says of somebody else than its entity; undefined when it says nothing. */
  readonly personal: PersonalFields | undefined;
}

export interface PersonalFields {
  /** Of whom: the name of a field, or a template. */
  readonly subject: string;
  /** What is said of her. It is in no event's data. */
  readonly fields: readonly string[];
}

/** The event of a row, or what is wrong with the row. */
export type Mapped =
  | { readonly entity: string; readonly event: NewEvent; readonly problem?: undefined }
  | { readonly problem: string };

type Fields = Readonly<Record<string, unknown>>;
type Read = (row: Fields) => unknown;
type Said = Pick<NewEvent, "personal"> | { readonly problem: string };

/** JSON may need up to six bytes for one byte of a row (a control character as \u0001), so smaller rows always fit. */
const measuredFrom = Math.floor(limits.eventBytesMax / 6);

/** A function from rows to events. Errors: INVALID_ARGUMENT when a template cannot be read. */
export function compileMapping(options: MappingOptions): (row: Row) => Mapped {
  const readEntity = compileId(options.entity, "entity");
  const readType = "name" in options.type ? undefined : textField(options.type.field, "type");
  const typeName = "name" in options.type ? options.type.name : "";
  const readOccurred = options.occurred === undefined ? undefined : compileField(options.occurred);
  const readPersonal = options.personal === undefined ? undefined : compilePersonal(options.personal);
  const pick = compileData(options);

  return (row) => {
    if (row.problem !== undefined) return { problem: row.problem };
    const { value } = row;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return { problem: "is not an object with fields" };
    }
    const fields = value as Fields;

    const entity = readEntity(fields);
    if (typeof entity !== "string") return entity;
    const idFault = entityIdFault(entity);
    if (idFault !== undefined) return { problem: `cannot name its entity: ${idFault}` };

    const type = readType === undefined ? typeName : readType(fields);
    if (typeof type !== "string") return type;
    const typeProblem = faultOfType(type);
    if (typeProblem !== undefined) return { problem: typeProblem };

    const said = readPersonal?.(fields) ?? {};
    if ("problem" in said) return said;

    const data = pick(fields);
    const dataProblem =
      faultOfData(data, row.bytes) ?? (said.personal && faultOfData(said.personal.data, row.bytes));
    if (dataProblem !== undefined) return { problem: dataProblem };

    if (readOccurred === undefined) return { entity, event: { type, data, ...said } };
    const occurred = readOccurred(fields);
    const occurredAt = toTime(occurred, options.occurredUnit);
    if (occurredAt === undefined) {
      return { problem: `has ${inspect(occurred)} as "${options.occurred}", which is not a time` };
    }
    return { entity, event: { type, data, occurredAt, ...said } };
  };
}

/** Why text cannot be the type of an event. */
function faultOfType(type: string): string | undefined {
  const problem = eventTypeProblem(type);
  return problem === undefined ? undefined : `has ${inspect(type)} as its type, which ${problem}`;
}

function faultOfData(data: unknown, rowBytes: number): string | undefined {
  try {
    if (!isJsonData(data)) validateData(data);
    if (rowBytes > measuredFrom) encodeData([data]);
    return undefined;
  } catch (error) {
    if (error instanceof WarpError) return `cannot be stored: ${error.message}`;
    throw error;
  }
}

function compileField(name: string): Read {
  const path = name.split(".");
  return (row) => {
    if (Object.hasOwn(row, name)) return row[name];
    if (path.length === 1) return undefined;
    let inner: unknown = row;
    for (const key of path) {
      if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, key)) return undefined;
      inner = (inner as Fields)[key];
    }
    return inner;
  };
}

/** A field whose value becomes text: text itself, or an integer. */
function textField(name: string, use: string): (row: Fields) => string | { problem: string } {
  const read = compileField(name);
  return (row) => {
    const value = read(row);
    if (typeof value === "string" && value !== "") return value;
    if (Number.isSafeInteger(value)) return String(value);
    if (value === undefined) return { problem: `has no field "${name}" for its ${use}` };
    return { problem: `has ${inspect(value)} as "${name}", which cannot be its ${use}` };
  };
}

/** A field, or a template when it has braces. */
function compileId(text: string, use: string): (row: Fields) => string | { problem: string } {
  return /[{}]/.test(text) ? compileTemplate(text, use) : textField(text, use);
}

/** "order-{id}"; "{{" and "}}" stand for the braces themselves. */
function compileTemplate(template: string, use: string): (row: Fields) => string | { problem: string } {
  const pieces: (string | ReturnType<typeof textField>)[] = [];
  const token = /\{\{|\}\}|\{([^{}]+)\}|[^{}]+/y;
  while (token.lastIndex < template.length) {
    const at = token.lastIndex;
    const match = token.exec(template);
    if (match === null) {
      const message = `the template ${inspect(template)} has a lone brace at character ${at + 1}; write {{ or }} for a brace`;
      throw new WarpError("INVALID_ARGUMENT", message, { template });
    }
    const [text, field] = match;
    if (field !== undefined) pieces.push(textField(field, use));
    else pieces.push(text === "{{" ? "{" : text === "}}" ? "}" : text);
  }
  return (row) => {
    let id = "";
    for (const piece of pieces) {
      const text = typeof piece === "string" ? piece : piece(row);
      if (typeof text !== "string") return text;
      id += text;
    }
    return id;
  };
}

/** A row that has none of these fields, or nothing in them, says nothing of anybody. */
function compilePersonal({ subject, fields }: PersonalFields): (row: Fields) => Said {
  const readSubject = compileId(subject, "subject");
  const pick = compilePick(fields);
  return (row) => {
    const data = pick(row);
    if (Object.values(data).every((value) => value === null || value === "")) return {};
    const of = readSubject(row);
    if (typeof of !== "string") return of;
    const fault = entityIdFault(of);
    return fault === undefined
      ? { personal: { subject: of, data } }
      : { problem: `cannot name its subject: ${fault}` };
  };
}

function compileData({ fields, personal }: MappingOptions): (row: Fields) => Fields {
  if (fields !== undefined) return compilePick(fields);
  if (personal === undefined) return (row) => row;
  const left = [...personal.fields, ...fieldsOfId(personal.subject)];
  return (row) => left.reduce(without, row);
}

/** The fields that an id is made of. */
function fieldsOfId(text: string): string[] {
  if (!/[{}]/.test(text)) return [text];
  return [...text.replaceAll(/\{\{|\}\}/g, "").matchAll(/\{([^{}]+)\}/g)].map(([, field = ""]) => field);
}

/** A copy without a field, which is found as {@link compileField} finds it. */
function without(row: Fields, name: string): Fields {
  if (!Object.hasOwn(row, name)) return withoutPath(row, name.split(".")) as Fields;
  const { [name]: _, ...others } = row;
  return others;
}

/** A field goes; an element of a list becomes null, so that the others keep their places. */
function withoutPath(value: unknown, [key = "", ...rest]: readonly string[]): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return value;
  if (Array.isArray(value)) {
    const index = Number(key);
    if (!Number.isInteger(index)) return value;
    return value.with(index, rest.length === 0 ? null : withoutPath(value[index], rest));
  }
  const { [key]: inner, ...others } = value as Fields;
  return rest.length === 0 ? others : { ...value, [key]: withoutPath(inner, rest) };
}

function compilePick(names: readonly string[]): (row: Fields) => Fields {
  const reads = names.map((name) => [name, compileField(name)] as const);
  return (row) => {
    const kept: Record<string, unknown> = {};
    for (const [name, read] of reads) {
      const value = read(row);
      if (value !== undefined) kept[name] = value;
    }
    return kept;
  };
}

function inspect(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
