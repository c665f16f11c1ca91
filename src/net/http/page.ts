/**
 * One page of a longer list, bounded by number and by size, as JSON text.
 */
import { toJson } from "./json.ts";

const pageChars = 4 * 1024 * 1024;

export interface Page<Item> {
  /** The items as a JSON array. */
  readonly text: string;
  readonly last: Item | undefined;
  /** The first item that is not in the page. */
  readonly next: Item | undefined;
}

/** Takes up to `size` items; at least one, however large. `items` gives at least one more if there is one. */
export async function takePage<Item>(items: AsyncIterable<Item>, size: number): Promise<Page<Item>> {
  const texts: string[] = [];
  let chars = 0;
  let last: Item | undefined;
  let next: Item | undefined;
  for await (const item of items) {
    if (texts.length === size || chars >= pageChars) {
      next = item;
      break;
    }
    const text = toJson(item);
    chars += text.length;
    texts.push(text);
    last = item;
  }
  return { text: `[${texts.join(",")}]`, last, next };
}
