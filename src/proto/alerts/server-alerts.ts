import type { Instant } from "../machine.ts";
import { KEY_NOTICE_MS } from "../trust/key-end.ts";
import type { AlertRule } from "./alert-rules.ts";

/** What the rules of a signaling server look at. */
export interface ServerView {
  /** When the certificate in use ends; undefined without one. */
  readonly certificateEndsAt: Instant | undefined;
  /** When the issuing key ends that matters here; undefined where all are revoked. */
  readonly issuingKeyEndsAt: Instant | undefined;
  /** Since the start: logins refused, and connections refused because the server was full. */
  readonly loginsRefused: number;
  readonly refusedFull: number;
}

const MINUTE = 60_000;
/** How long before its end a certificate is spoken of, ms: those of ninety days are renewed at sixty. */
const CERTIFICATE_NOTICE_MS = 14 * 24 * 60 * MINUTE;

/** What an operator is told of a signaling server. */
export const SERVER_ALERTS: readonly AlertRule<ServerView>[] = [
  {
    name: "StarlingSignalingRefusesLogins",
    count: ({ loginsRefused }) => loginsRefused,
    above: 50,
    forMs: 0,
    summary: "The signaling server refuses many logins: read `signaling.login` denials in its audit log.",
  },
  {
    name: "StarlingSignalingFull",
    count: ({ refusedFull }) => refusedFull,
    above: 0,
    forMs: 0,
    summary: "The signaling server is full and refuses connections: raise its limits, or look who holds them.",
  },
  {
    name: "StarlingCertificateExpiresSoon",
    holds: ({ certificateEndsAt }, now) =>
      certificateEndsAt !== undefined && certificateEndsAt - now < CERTIFICATE_NOTICE_MS,
    forMs: 10 * MINUTE,
    summary: "The server's certificate ends within two weeks: renew it and put the files in place.",
  },
  {
    name: "StarlingIssuingKeyExpiresSoon",
    holds: ({ issuingKeyEndsAt }, now) => issuingKeyEndsAt !== undefined && issuingKeyEndsAt - now < KEY_NOTICE_MS,
    forMs: 10 * MINUTE,
    summary: "An issuing key ends within a month, and tokens with it: `starling keys rotate --what issuing`.",
  },
];
