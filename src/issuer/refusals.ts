import type { Instant } from "../proto/machine.ts";
import type { RefusalCode } from "../proto/signaling/messages.ts";
import { CLOCK_LEEWAY_MS } from "../proto/trust/times.ts";
import type { IssueFault } from "./mint.ts";

/** Faults of tokens in the words of signaling. Times are the usual trouble, so the clock of whoever refuses goes along. */
export function refusalOf(fault: IssueFault, at: Instant): { readonly code: RefusalCode; readonly detail: string } {
  const code = CODES[fault] ?? "token-invalid";
  const own = OWN_ADVICE[fault];
  if (own !== undefined) return { code, detail: own };
  const late = code === "token-expired" || code === "token-not-yet-valid";
  const clock = `its clock says ${new Date(at).toISOString()}, and ${CLOCK_LEEWAY_MS / 1_000} s are forgiven`;
  return { code, detail: late ? `${ADVICE[code]}; ${clock}` : (ADVICE[code] ?? fault) };
}

const CODES: Partial<Record<IssueFault, RefusalCode>> = {
  expired: "token-expired",
  "issuer-expired": "token-expired",
  "not-yet-valid": "token-not-yet-valid",
  "wrong-cluster": "cluster-unknown",
  "wrong-subject": "token-mismatch",
  "missing-scope": "not-permitted",
  "scope-above-ceiling": "not-permitted",
  revoked: "token-revoked",
  "bad-credential": "token-invalid",
  "used-up": "token-used",
  "journal-full": "unavailable",
  "other-issuer": "unavailable",
  "refresh-stale": "unavailable",
  "refresh-reused": "token-revoked",
};

/** What needs other words than its code. */
const OWN_ADVICE: Partial<Record<IssueFault, string>> = {
  "bad-credential": "the API key or login is not accepted here; ask who runs the issuer for another",
  "refresh-invalid":
    "the renewal is not signed by the refresh key that the token names; join again with a new invite, for the state directory has lost it",
  "refresh-stale": "a later renewal of this member has been answered; it goes on with that one",
  "refresh-reused":
    "two agents have renewed with this node's state, so it was copied: both are out; join again with a new node key and a new invite",
};

const ADVICE: Partial<Record<RefusalCode, string>> = {
  "token-expired": "the token has expired; ask for a new invite",
  "token-not-yet-valid": "the token is not valid yet; check this machine's clock",
  "cluster-unknown": "the token is for another cluster; check which invite was used",
  "token-mismatch": "the token was made for another node key; ask for an invite of your own",
  "not-permitted": "the token does not allow joining; ask for an invite with the scope mesh:join",
  "token-revoked": "this member was revoked",
  "token-used": "the invite was used as often as it may be; ask for a new one",
  unavailable: "this issuer cannot issue the token; the issuer whose key made the invite can",
};
