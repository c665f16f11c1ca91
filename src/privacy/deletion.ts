/**
 * The erasure of one id: of the entity, and of her numbers as a subject of others; and its receipt.
 */
import type { BackupTargetKnown, Receipt } from "../actor/privacy.ts";
import type { UnderWay } from "./tidying.ts";

interface SubjectUnderWay {
  readonly underWay: UnderWay;
  readonly hosts: number;
}

export class Deletion {
  readonly #entity: UnderWay;
  readonly #subjects: readonly SubjectUnderWay[];

  constructor(entity: UnderWay, subjects: readonly SubjectUnderWay[]) {
    this.#entity = entity;
    this.#subjects = subjects;
  }

  get all(): UnderWay[] {
    return [this.#entity, ...this.#subjects.map(({ underWay }) => underWay)];
  }

  /** Resolves when nothing is pending. */
  get complete(): Promise<void> {
    return Promise.all(this.all.map(({ complete }) => complete)).then(() => {});
  }

  /** What it waits for, each once, in words. */
  get pending(): string[] {
    return [...new Set(this.all.flatMap(({ pending }) => pending))];
  }

  receipt(entity: string, targets: readonly BackupTargetKnown[]): Receipt {
    const { pending } = this;
    const { actor, erased, swept } = this.#entity;
    const isNothing = this.all.every(({ erased }) => erased.number === 0);
    const { runs = 0, snapshots = 0, callerKeys = 0, entry = 0 } = swept ?? {};
    return {
      status: isNothing ? "nothing" : pending.length > 0 ? "pending" : "erased",
      entity,
      shard: actor.shard.index,
      entry,
      erasedAt: erased.erasedAt,
      fingerprint: hex(swept?.fingerprint),
      removed: { events: erased.events, runs, snapshots, callerKeys },
      personal: this.#personal(),
      pending,
      backups: isNothing ? [] : targets,
    };
  }

  #personal(): Receipt["personal"] {
    let parts = 0;
    let hosts = 0;
    const keys = this.#subjects.map((subject) => {
      const { actor, erased, swept } = subject.underWay;
      parts += erased.events;
      hosts += subject.hosts;
      const { entry = 0, fingerprint } = swept ?? {};
      return { shard: actor.shard.index, entry, fingerprint: hex(fingerprint) };
    });
    return { parts, hosts, keys };
  }
}

function hex(fingerprint: Uint8Array = new Uint8Array(16)): string {
  return Buffer.from(fingerprint).toString("hex");
}
