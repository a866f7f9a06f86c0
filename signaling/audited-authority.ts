import type { AuditLog } from "../src/audit.ts";
import type { Authority } from "./authority.ts";

/** `authority`, with every login that it allows or refuses written down. Who has not proved its key counts by its address. */
export function auditedAuthority(authority: Authority, audit: AuditLog): Authority {
  return {
    get desks() {
      return authority.desks;
    },
    exchange: (request) => authority.exchange(request),
    checkDesk: (claim) => authority.checkDesk(claim),
    decree: (notice) => authority.decree(notice),
    renew: (request) => authority.renew(request),
    sealTicket: (request) => authority.sealTicket(request),
    resume(request) {
      const verdict = authority.resume(request);
      const { peer, address } = request;
      // A ticket that is not taken is no denial: a login follows.
      if (verdict !== undefined)
        audit.record({ action: "signaling.login", actor: peer, target: address, outcome: "ok", reason: "ticket" });
      return verdict;
    },
    async authenticate(request) {
      const verdict = await authority.authenticate(request);
      const { peer, address } = request;
      if (verdict.ok) audit.record({ action: "signaling.login", actor: peer, target: address, outcome: "ok" });
      else
        audit.record({
          action: "signaling.login",
          actor: address,
          target: peer,
          outcome: "denied",
          reason: verdict.code,
        });
      return verdict;
    },
  };
}
