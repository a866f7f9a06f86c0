import { MAX_SDP_LENGTH } from "../limits.ts";

/**
 * The gate before the stack: reads the one thing of a session description (RFC 8866) that Starling relies on, the
 * certificate fingerprint (RFC 8122), and refuses every description that two parsers could read differently.
 *
 * Admission binds both identities to the fingerprints found here. That is only worth something if the stack enforces the
 * same one. So there is exactly one SHA-256 fingerprint (it may be repeated, as some stacks do per media section), no other
 * hash beside it (a stack is satisfied when *any* listed hash fits), one line ending throughout, printable ASCII only, and
 * any line that so much as mentions a fingerprint must be a well-formed one. There is one media section: our channel.
 *
 * It does not judge ICE credentials or candidates; they are the stack's business.
 */

/** Why a description was refused. */
export type SdpFault =
  | "too-long"
  | "malformed"
  | "no-fingerprint"
  | "foreign-hash"
  | "two-fingerprints"
  | "foreign-media"
  | "no-channel";

export type ParsedSdp =
  | { readonly ok: true /** SHA-256 of the certificate, 32 bytes. */; readonly fingerprint: Uint8Array }
  | { readonly ok: false; readonly fault: SdpFault };

const FINGERPRINT = /^a=fingerprint:sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})$/i;
const OTHER_HASH = /^a=fingerprint:(?!sha-256 )[a-z0-9-]{1,16} [0-9a-f:]+$/i;
const CHANNEL = /^m=application \d{1,5} (?:(?:UDP|TCP)\/)?DTLS\/SCTP \S+$/;
const LINE = /^[a-z]=[\x20-\x7e]*$/;

/** Reads the fingerprint of `sdp`, or says why the description must not reach a stack. */
export function parseSdp(sdp: string): ParsedSdp {
  if (sdp.length > MAX_SDP_LENGTH) return refused("too-long");
  const lines = sdp.split(sdp.includes("\r\n") ? "\r\n" : "\n");
  if (lines.at(-1) === "") lines.pop();
  if (lines[0] !== "v=0") return refused("malformed");
  let fingerprint: string | undefined;
  let channels = 0;
  for (const line of lines) {
    if (!LINE.test(line)) return refused("malformed");
    if (line.startsWith("m=")) {
      if (!CHANNEL.test(line) || ++channels > 1) return refused("foreign-media");
    } else if (/fingerprint/i.test(line)) {
      const value = FINGERPRINT.exec(line)?.[1]?.toUpperCase();
      if (value === undefined) return refused(OTHER_HASH.test(line) ? "foreign-hash" : "malformed");
      if (fingerprint !== undefined && fingerprint !== value) return refused("two-fingerprints");
      fingerprint = value;
    }
  }
  if (fingerprint === undefined) return refused("no-fingerprint");
  if (channels === 0) return refused("no-channel");
  return { ok: true, fingerprint: Uint8Array.from(fingerprint.split(":"), (pair) => Number.parseInt(pair, 16)) };
}

function refused(fault: SdpFault): ParsedSdp {
  return { ok: false, fault };
}

/** A candidate as it travels: one line, printable, bounded. */
export interface Candidate {
  /** `candidate:…` without `a=`; 1,024 characters at most. */
  readonly candidate: string;
  /** The media section that it belongs to; 16 characters at most. */
  readonly mid: string;
}

const CANDIDATE = /^candidate:[\x20-\x7e]{1,1014}$/;
const MID = /^[\x21-\x7e]{0,16}$/;

/** Whether `candidate` is one printable line of bounded length, so that it cannot smuggle further lines into a stack. */
export function isCandidate(candidate: string, mid: string): boolean {
  return CANDIDATE.test(candidate) && MID.test(mid);
}

/** `kind address:port` of a candidate line, as far as it can be read (RFC 8839, section 5.1). */
export function describeCandidate(candidate: string): string {
  const [, , , , address = "?", port = "?", , kind = "?"] = candidate.split(" ", 8);
  return `${kind} ${address.includes(":") ? `[${address}]` : address}:${port}`;
}
