/**
 * Counts the groups of each entity, 1, 2, 3 …, in some 20 bytes per entity however long its id is.
 *
 * Entities are told apart by 64 bits of a hash. Two that share one (with a billion entities one time in forty) are counted
 * together, in the same way in every run over the same input, so their numbers still never repeat.
 */
const wordsPerSlot = 3;
const slotsAtFirst = 1024;

export class GroupNumbers {
  /** A table with open addressing; a slot is the two halves of the hash, and the count, 0 when it is free. */
  private words = new Uint32Array(slotsAtFirst * wordsPerSlot);
  private slots = slotsAtFirst;
  private used = 0;

  /** The number of the next group of this entity. */
  next(entity: string): number {
    const hash = Bun.hash.xxHash64(entity);
    const low = Number(hash & 0xffff_ffffn);
    const high = Number(hash >> 32n);
    const at = this.find(low, high);
    const number = (this.words[at + 2] ?? 0) + 1;
    this.words[at + 2] = number;
    if (number > 1) return number;
    this.words[at] = low;
    this.words[at + 1] = high;
    this.used++;
    if (this.used * 4 > this.slots * 3) this.grow();
    return number;
  }

  /** Where the slot of a hash begins, or the free one for it. */
  private find(low: number, high: number): number {
    const { words, slots } = this;
    for (let slot = low & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
      const at = slot * wordsPerSlot;
      if (words[at + 2] === 0 || (words[at] === low && words[at + 1] === high)) return at;
    }
  }

  private grow(): void {
    const old = this.words;
    this.slots *= 2;
    this.words = new Uint32Array(this.slots * wordsPerSlot);
    for (let from = 0; from < old.length; from += wordsPerSlot) {
      const low = old[from] ?? 0;
      const high = old[from + 1] ?? 0;
      const count = old[from + 2] ?? 0;
      if (count === 0) continue;
      const at = this.find(low, high);
      this.words[at] = low;
      this.words[at + 1] = high;
      this.words[at + 2] = count;
    }
  }
}
