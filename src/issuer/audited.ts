import type { AuditLog } from "../audit.ts";
import type { AuditAction } from "../proto/audit/entry.ts";
import type { PeerId } from "../proto/peer-id.ts";
import { parseCompact } from "../proto/trust/compact-token.ts";
import { readShowing } from "../proto/trust/showing.ts";
import type { Issuer } from "./issuer.ts";
import type { IssuedMember } from "./mint.ts";

/** `issuer`, with every token that it gives or refuses written down: to whom, for which token, and why not. */
export function audited(issuer: Issuer, audit: AuditLog): Issuer {
  const note = (action: AuditAction, actor: PeerId, shown: string, issued: IssuedMember): IssuedMember => {
    const token = tokenId(shown);
    const subject = { action, actor, ...(token !== undefined && { token }) };
    if (issued.ok) audit.record({ ...subject, target: issued.claims.id, outcome: "ok" });
    else audit.record({ ...subject, outcome: "denied", reason: issued.fault });
    return issued;
  };
  return {
    get kid() {
      return issuer.kid;
    },
    get kids() {
      return issuer.kids;
    },
    issueJoinToken: (request, now) => issuer.issueJoinToken(request, now),
    issueMemberToken: (request, now) => issuer.issueMemberToken(request, now),
    signDesk: (desk) => issuer.signDesk(desk),
    decree: (kind, body) => issuer.decree(kind, body),
    revoke: (subject, now) => issuer.revoke(subject, now),
    exchange: async (token, subject, now) =>
      note("issuer.exchange", subject, token, await issuer.exchange(token, subject, now)),
    admit: async (credential, subject, now) =>
      note("issuer.admit", subject, credential, await issuer.admit(credential, subject, now)),
    renew: async (token, subject, now) => note("issuer.renew", subject, token, await issuer.renew(token, subject, now)),
    close: () => issuer.close(),
    [Symbol.asyncDispose]: () => issuer.close(),
  };
}

/** The id in a token that nobody has checked: what the asker claims, for the reader of the log. */
function tokenId(text: string): string | undefined {
  const parsed = parseCompact(readShowing(text)?.credential ?? "");
  const id = parsed.ok ? parsed.token.payload["jti"] : undefined;
  return typeof id === "string" ? id : undefined;
}
