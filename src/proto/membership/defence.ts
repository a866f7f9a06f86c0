import { RecentMap } from "../bounded.ts";
import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Accusations } from "./accusations.ts";
import type { Context } from "./context.ts";
import type { Source } from "./effects.ts";
import { MAX_ANSWERS } from "./limits.ts";
import { encodePayload, encodeTell } from "./messages.ts";
import { encodeRefutation, readRefutation, type Suspicion, suspicionStatement } from "./statements.ts";

/**
 * What a member does when it is suspected: it signs the suspicion's id, once, broadcasts the answer, and gives it to
 * whoever told it, over their link or in an envelope, since that is the way that has just been seen to work. It answers any accuser, observer or
 * not, known or not, for somebody's view may differ, and takes each accusation as a sign that it may be unwell itself.
 */
export class Defence {
  readonly #context: Context;
  readonly #accusations: Accusations;
  /** Ids answered, with the answer as it is broadcast; undefined while it is being signed. */
  readonly #answers = new RecentMap<string, Uint8Array | undefined>(MAX_ANSWERS);

  constructor(context: Context, accusations: Accusations) {
    this.#context = context;
    this.#accusations = accusations;
  }

  /** A suspicion of ourselves, not yet verified. `boot`: our own. */
  heard(suspicion: Suspicion, source: Source, boot: number, now: Instant): void {
    const { out, self } = this.#context;
    if (suspicion.boot !== boot) {
      out.fault("stale");
      out.verdict(source, "ignore");
      return;
    }
    const answer = this.#answers.get(suspicion.id);
    if (answer !== undefined && (source.via === "link" || source.via === "route")) {
      if (this.#accusations.mayCheck(source, now)) this.#reply(source.from, answer);
    } else if (this.#accusations.mayCheck(source, now)) {
      const from = source.via === "introduction" ? self : source.from;
      const resume = { of: "suspicion", suspicion, source } as const;
      out.push({ type: "verify", from, statements: [suspicionStatement(suspicion)], resume });
    }
  }

  /** A suspicion of ourselves whose signature is good. */
  verified({ id, idBytes, accuser }: Suspicion, source: Source, boot: number, incarnation: number): void {
    const { out, self, health, table } = this.#context;
    // An accuser whom we do not know yet may be known to others, but we cannot vouch for it.
    out.verdict(source, table.get(accuser) === undefined ? "ignore" : "accept");
    const askedBy: PeerId[] = this.#context.links.has(accuser) ? [accuser] : [];
    if (source.via === "route" || (source.via !== "introduction" && source.from !== accuser)) askedBy.push(source.from);
    if (this.#answers.has(id)) {
      const answer = this.#answers.get(id);
      if (answer !== undefined && (source.via === "link" || source.via === "route")) this.#reply(source.from, answer);
      return;
    }
    this.#answers.set(id, undefined);
    health.worse();
    const body = encodeRefutation(idBytes, self, boot, incarnation);
    out.push({
      type: "sign",
      label: "starling/refutation/1",
      body,
      resume: { of: "own-refutation", id, body, askedBy },
    });
  }

  /** Our answer, signed. */
  signed(id: string, body: Uint8Array, signature: Uint8Array, askedBy: readonly PeerId[]): void {
    const refutation = readRefutation(body, signature);
    if (refutation === undefined) return;
    const answer = encodePayload("refutation", refutation);
    this.#answers.set(id, answer);
    this.#context.out.broadcast(answer);
    for (const peer of askedBy) this.#reply(peer, answer);
  }

  #reply(peer: PeerId, answer: Uint8Array): void {
    const { links, out, routing } = this.#context;
    if (links.has(peer)) out.send(peer, encodeTell(answer));
    else if (routing) out.route(peer, encodeTell(answer));
  }
}
