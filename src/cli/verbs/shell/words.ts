/**
 * A line of the shell as words.
 *
 * - Words are apart by spaces; 'single' and "double" quotes keep them together, with \" and \\ in the double ones.
 * - A word that starts with { or [ is JSON up to where its brackets close, spaces and quotes included.
 */
import { UsageError } from "../../exit.ts";

export function wordsOf(line: string): string[] {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (line[at] === " " || line[at] === "\t") at++;
    if (at >= line.length) return words;
    const end = line[at] === "{" || line[at] === "[" ? endOfJson(line, at) : undefined;
    if (end !== undefined) {
      words.push(line.slice(at, end));
      at = end;
    } else {
      const word = readWord(line, at);
      words.push(word.text);
      at = word.end;
    }
  }
}

/** A word as it has to be typed to be that word. */
export function quoted(word: string): string {
  return /^[^\s'"\\{[][^\s'"\\]*$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
}

function readWord(line: string, from: number): { text: string; end: number } {
  let text = "";
  let at = from;
  for (; at < line.length && line[at] !== " " && line[at] !== "\t"; at++) {
    const character = line[at] ?? "";
    if (character !== "'" && character !== '"') {
      text += character;
      continue;
    }
    const close = endOfQuotes(line, at);
    const inside = line.slice(at + 1, close);
    text += character === "'" ? inside : inside.replace(/\\(["\\])/g, "$1");
    at = close;
  }
  return { text, end: at };
}

function endOfQuotes(line: string, open: number): number {
  const quote = line[open];
  for (let at = open + 1; at < line.length; at++) {
    if (quote === '"' && line[at] === "\\") at++;
    else if (line[at] === quote) return at;
  }
  throw new UsageError(`a quote is not closed: ${line.slice(open)}`);
}

/** Where JSON that starts here ends; undefined when its brackets do not close. */
function endOfJson(line: string, from: number): number | undefined {
  let depth = 0;
  for (let at = from; at < line.length; at++) {
    const character = line[at];
    if (character === '"') {
      at = endOfQuotes(line, at);
    } else if (character === "{" || character === "[") {
      depth++;
    } else if (character === "}" || character === "]") {
      depth--;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}
