/**
 * A table from 64 bits, as two unsigned 32-bit numbers, to a row: open addressing over typed arrays, half full at most.
 *
 * A start takes in a million of them at once, and a Map makes an object of each.
 */
export class RowTable {
  #a = new Uint32Array(1024);
  #b = new Uint32Array(1024);
  /** Row + 1, 0 where free. */
  #row = new Int32Array(1024);
  #count = 0;

  /** The row under a key; -1 when there is none. */
  get(a: number, b: number): number {
    return (this.#row[this.#slotOf(a, b)] ?? 0) - 1;
  }

  /** Puts a row under a key that has none. */
  add(a: number, b: number, row: number): void {
    if (++this.#count * 2 > this.#row.length) this.#grow();
    this.#put(a, b, row + 1);
  }

  /** The slot of a key, or the free one where it belongs. */
  #slotOf(a: number, b: number): number {
    const mask = this.#row.length - 1;
    let slot = Math.imul(a ^ Math.imul(b, 0x85ebca6b), 0x9e3779b1);
    slot = (slot ^ (slot >>> 15)) & mask;
    while (this.#row[slot] !== 0 && (this.#a[slot] !== a || this.#b[slot] !== b)) slot = (slot + 1) & mask;
    return slot;
  }

  #put(a: number, b: number, value: number): void {
    const slot = this.#slotOf(a, b);
    this.#a[slot] = a;
    this.#b[slot] = b;
    this.#row[slot] = value;
  }

  #grow(): void {
    const [a, b, rows] = [this.#a, this.#b, this.#row];
    this.#a = new Uint32Array(rows.length * 2);
    this.#b = new Uint32Array(rows.length * 2);
    this.#row = new Int32Array(rows.length * 2);
    for (let slot = 0; slot < rows.length; slot++) {
      const value = rows[slot] ?? 0;
      if (value !== 0) this.#put(a[slot] ?? 0, b[slot] ?? 0, value);
    }
  }
}
