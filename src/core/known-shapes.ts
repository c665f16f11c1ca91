/**
 * JSON texts of data whose keys are known, read faster than JSON.parse reads them: events of one type nearly always have
 * the same keys in the same order. The shape of a type, its keys as they stand in the text, is learned from what
 * JSON.parse made of one text. The next ones are compared with it character by character, and only values are read.
 *
 * - Whatever differs from the shape (order, spaces, escapes, nesting, exponents, errors) goes to JSON.parse as a whole, so the
 *   result is its result for every text.
 * - Strings are slices: JSON.parse looks every short one up in the runtime's table of atoms, which costs most of its time.
 *   A slice keeps the whole text in memory as long as it lives, so only short texts are read here.
 * - Types come from clients: memory is bounded, and a type whose shape varies is soon left to JSON.parse.
 */

const textLengthMax = 256;
const keysMax = 32;
/** Types that are remembered. The texts of others are left to JSON.parse; after so many of them all types are forgotten. */
const typesMax = 256;
const strangersMax = 4096;

/** What a text of the shape adds to its credit, and what a text of another takes; without credit it is forgotten. */
const creditOfMatch = 1;
const creditOfMiss = 4;
const creditAtFirst = 8;
const creditMax = 64;
/** Texts that JSON.parse reads before a shape is learned: twice as many each time, until one has proved itself. */
const waitMin = 16;
const waitMax = 1024;

interface Shape {
  readonly keys: readonly string[];
  /** For each key the length of what stands before its value, and its UTF-16 units: `[{"key":`, then `,"key":`. */
  readonly units: Uint16Array;
}

interface KnownType {
  shape: Shape | undefined;
  credit: number;
  wait: number;
  /** Texts until a shape is learned. */
  left: number;
}

export class KnownShapes {
  readonly #types = new Map<string, KnownType>();
  /** Texts of types for which there was no room. */
  #strangers = 0;

  /** How many types are remembered. */
  get size(): number {
    return this.#types.size;
  }

  /** What JSON.parse makes of `text`, the data of an event of this type in a list. Throws what it throws. */
  parse(type: string, text: string): unknown {
    if (text.length > textLengthMax) return JSON.parse(text);
    const known = this.#types.get(type) ?? this.#add(type);
    if (known === undefined) return JSON.parse(text);
    const { shape } = known;
    if (shape === undefined) return parseOrLearn(known, text);
    const value = read(shape, text);
    if (value === undefined) return missed(known, text);
    if (known.credit < creditMax) known.credit += creditOfMatch;
    return value;
  }

  #add(type: string): KnownType | undefined {
    if (this.#types.size === typesMax) {
      if (++this.#strangers < strangersMax) return undefined;
      this.#types.clear();
      this.#strangers = 0;
    }
    const known = { shape: undefined, credit: 0, wait: waitMin, left: waitMin };
    this.#types.set(type, known);
    return known;
  }
}

function parseOrLearn(known: KnownType, text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (known.left-- > 0) return value;
  known.shape = shapeOf(value);
  known.credit = creditAtFirst;
  if (known.shape === undefined) wait(known);
  return value;
}

function missed(known: KnownType, text: string): unknown {
  if (known.credit === creditMax) known.wait = waitMin;
  known.credit -= creditOfMiss;
  if (known.credit < 0) wait(known);
  return JSON.parse(text);
}

function wait(known: KnownType): void {
  known.shape = undefined;
  known.left = known.wait;
  known.wait = Math.min(known.wait * 2, waitMax);
}

/** The shape of a list of one flat object; undefined for what is none, or has keys that do not stay where they are set. */
function shapeOf(value: unknown): Shape | undefined {
  if (!Array.isArray(value) || value.length !== 1 || !isFlat(value[0])) return undefined;
  const keys = Object.keys(value[0]);
  if (keys.length === 0 || keys.length > keysMax || !keys.every(staysInPlace)) return undefined;
  const units: number[] = [];
  for (const [i, key] of keys.entries()) {
    const text = `${i === 0 ? "[{" : ","}${JSON.stringify(key)}:`;
    units.push(text.length);
    for (let at = 0; at < text.length; at++) units.push(text.charCodeAt(at));
  }
  return { keys, units: Uint16Array.from(units) };
}

function isFlat(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((one) => typeof one !== "object" || one === null);
}

/** Setting a key that every object inherits may set something else, as with `__proto__`; whole numbers come before other keys. */
function staysInPlace(key: string): boolean {
  return !(key in Object.prototype) && !/^\d+$/.test(key);
}

const space = 0x20;
const quote = 0x22;
const minus = 0x2d;
const dot = 0x2e;
const zero = 0x30;
const nine = 0x39;
const backslash = 0x5c;
const closeList = 0x5d;
const closeObject = 0x7d;

/**
 * The value of a text of this shape; undefined for any other text. No unit behind the end is asked for: the answer would be
 * NaN, and make the compiler give up whole numbers for good.
 */
function read(shape: Shape, text: string): unknown {
  const { keys, units } = shape;
  const { length } = text;
  const object: Record<string, unknown> = {};
  let unit = 0;
  let at = 0;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] ?? "";
    const valueAt = unit + 1 + (units[unit] ?? 0);
    if (at + valueAt - unit > length) return undefined;
    for (unit++; unit < valueAt; unit++, at++) if (text.charCodeAt(at) !== units[unit]) return undefined;
    const first = text.charCodeAt(at);
    if (first === quote) {
      const end = endOfString(text, at + 1);
      if (end < 0) return undefined;
      object[key] = text.slice(at + 1, end);
      at = end + 1;
    } else {
      const value = first <= nine ? readNumber(text, at) : readWord(text, at);
      if (value === undefined) return undefined;
      object[key] = value;
      at = behind;
    }
  }
  const isAll =
    at + 2 === length && text.charCodeAt(at) === closeObject && text.charCodeAt(at + 1) === closeList;
  return isAll ? [object] : undefined;
}

/** Strings that are longer are searched for their end, which costs more at first and less for each unit. A UUID is shorter. */
const shortString = 40;
const escapeOrControl = /[\\\p{Cc}]/u;

/** Where the quote is that ends the string that begins at `from`; -1 when there is none, or something between is no plain text. */
function endOfString(text: string, from: number): number {
  const stop = Math.min(text.length, from + shortString);
  for (let at = from; at < stop; at++) {
    const unit = text.charCodeAt(at);
    if (unit === quote) return at;
    if (unit < space || unit === backslash) return -1;
  }
  return escapeOrControl.test(text) ? -1 : text.indexOf('"', stop);
}

/** Where the text goes on behind the number or word that was read last. */
let behind = 0;

/** Up to 15 digits and these powers of ten are exact, so that dividing the ones by the other rounds once, and correctly. */
const digitsMax = 15;
const powersOfTen = Array.from({ length: digitsMax + 1 }, (_, power) => 10 ** power);

/** Undefined for what is none, for an exponent, more digits, and -0. */
function readNumber(text: string, from: number): number | undefined {
  const { length } = text;
  const isNegative = text.charCodeAt(from) === minus;
  const digitsAt = isNegative ? from + 1 : from;
  let value = 0;
  let unit = 0;
  let at = digitsAt;
  for (; at < length; at++) {
    unit = text.charCodeAt(at);
    if (unit < zero || unit > nine) break;
    value = value * 10 + unit - zero;
  }
  let digits = at - digitsAt;
  if (digits === 0 || (digits > 1 && text.charCodeAt(digitsAt) === zero)) return undefined;
  if (unit === dot) {
    const fractionAt = ++at;
    for (; at < length; at++) {
      unit = text.charCodeAt(at);
      if (unit < zero || unit > nine) break;
      value = value * 10 + unit - zero;
    }
    const fraction = at - fractionAt;
    digits += fraction;
    if (fraction === 0) return undefined;
    value /= powersOfTen[fraction] ?? 1;
  }
  if (digits > digitsMax || (isNegative && value === 0)) return undefined;
  behind = at;
  return isNegative ? -value : value;
}

function readWord(text: string, at: number): boolean | null | undefined {
  behind = at + 4;
  if (text.startsWith("true", at)) return true;
  if (text.startsWith("null", at)) return null;
  behind = at + 5;
  return text.startsWith("false", at) ? false : undefined;
}
