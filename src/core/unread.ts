/**
 * Deliveries of a group that wait until a member's program reads them, oldest first.
 *
 * An entity has one delivery under way at most. So what comes again stands for what came before, and takes its place.
 */

interface Delivered {
  readonly delivery: number;
  readonly event: { readonly entity: string };
}

export class Unread<Delivery extends Delivered> {
  readonly #byEntity = new Map<string, Delivery>();

  add(delivery: Delivery): void {
    this.#byEntity.set(delivery.event.entity, delivery);
  }

  /** The oldest, which is not unread any more. */
  shift(): Delivery | undefined {
    for (const [entity, delivery] of this.#byEntity) {
      this.#byEntity.delete(entity);
      return delivery;
    }
    return undefined;
  }

  /** Those that the group has withdrawn; what came again in their place stays. */
  withdraw(deliveries: readonly number[]): void {
    const gone = new Set(deliveries);
    for (const [entity, { delivery }] of this.#byEntity)
      if (gone.has(delivery)) this.#byEntity.delete(entity);
  }

  clear(): void {
    this.#byEntity.clear();
  }
}
