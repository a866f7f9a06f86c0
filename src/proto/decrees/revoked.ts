import type { Instant } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { type Revocation, targetText } from "./revocation.ts";

/** What is revoked, for look-ups on each token: the earliest `since` for each target, whoever has signed it. */
export class Revoked {
  readonly #since = {
    member: new Map<string, Instant>(),
    token: new Map<string, Instant>(),
    issuer: new Map<string, Instant>(),
  };

  add({ target, since }: Revocation): void {
    const known = this.#since[target.of];
    const name = targetText(target);
    known.set(name, Math.min(since, known.get(name) ?? since));
  }

  /** Begins anew with these. */
  rebuild(revocations: Iterable<Revocation>): void {
    for (const known of Object.values(this.#since)) known.clear();
    for (const revocation of revocations) this.add(revocation);
  }

  /** Whether anything is revoked. */
  get isAny(): boolean {
    const { member, token, issuer } = this.#since;
    return member.size + token.size + issuer.size > 0;
  }

  /** Since when this member is out. */
  member(peer: PeerId): Instant | undefined {
    return this.#since.member.get(peer);
  }

  /** Whether this issuing key is void. */
  issuer(kid: string): boolean {
    return this.#since.issuer.has(kid);
  }

  /**
   * Whether a token is void. What is presented here and now is judged by the revocation alone, since clocks differ; what was signed at
   * an instant (`at`) counts if that lies before `since`.
   */
  voids({ subject, id, kid, lineage }: TokenNames, at?: Instant): boolean {
    const isVoid = (since: Instant | undefined): boolean => since !== undefined && (at === undefined || at >= since);
    const { member, token, issuer } = this.#since;
    if (subject !== undefined && isVoid(member.get(subject))) return true;
    if (id !== undefined && isVoid(token.get(id))) return true;
    // Who revokes the first token of a line revokes all that was renewed from it.
    if (lineage !== undefined && isVoid(token.get(lineage.family))) return true;
    return kid !== undefined && isVoid(issuer.get(kid));
  }
}

/** What a revocation may name of a token. */
export interface TokenNames {
  readonly subject?: PeerId;
  readonly id?: string;
  readonly kid?: string;
  readonly lineage?: { readonly family: string };
}
