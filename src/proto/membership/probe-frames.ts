import { concat } from "../bytes.ts";
import { type PeerId, peerIdOf, publicKeyOf } from "../peer-id.ts";

/**
 * The four frames of the probe lane, encoded by hand because an idle cluster sends nothing else:
 *
 *     1 | sequence 4              a probe
 *     2 | sequence 4              its answer
 *     3 | sequence 4 | key 32     probe this member for me
 *     4 | sequence 4 | verdict 1  what came of it
 *
 * Sequences are the sender's own, big-endian, and come back unchanged. The lane's link is authenticated, and so is the
 * envelope when a probe is routed: the frames carry no proof of their own.
 */
export type ProbeFrame =
  | { readonly type: "probe"; readonly sequence: number }
  | { readonly type: "answer"; readonly sequence: number }
  | { readonly type: "request"; readonly sequence: number; readonly target: PeerId }
  | { readonly type: "report"; readonly sequence: number; readonly verdict: Verdict };

/** What a helper found: an answer, silence on a link that it has, or that it has no link. */
export type Verdict = "reached" | "silent" | "no-link";

export function encodeProbe(type: "probe" | "answer", sequence: number): Uint8Array {
  return header(type === "probe" ? 1 : 2, sequence, 5);
}

export function encodeRequest(sequence: number, target: PeerId): Uint8Array {
  return concat(header(3, sequence, 5), publicKeyOf(target));
}

export function encodeReport(sequence: number, verdict: Verdict): Uint8Array {
  const frame = header(4, sequence, 6);
  frame[5] = VERDICTS.indexOf(verdict);
  return frame;
}

/** Decodes one frame; undefined when it is malformed. */
export function decodeProbeFrame(frame: Uint8Array): ProbeFrame | undefined {
  if (frame.length < 5) return undefined;
  const sequence =
    (((frame[1] as number) << 24) |
      ((frame[2] as number) << 16) |
      ((frame[3] as number) << 8) |
      (frame[4] as number)) >>>
    0;
  switch (frame[0]) {
    case 1:
      return frame.length === 5 ? { type: "probe", sequence } : undefined;
    case 2:
      return frame.length === 5 ? { type: "answer", sequence } : undefined;
    case 3:
      return frame.length === 37 ? { type: "request", sequence, target: peerIdOf(frame.subarray(5)) } : undefined;
    case 4: {
      const verdict = frame.length === 6 ? VERDICTS[frame[5] as number] : undefined;
      return verdict && { type: "report", sequence, verdict };
    }
    default:
      return undefined;
  }
}

function header(kind: number, sequence: number, length: number): Uint8Array {
  const frame = new Uint8Array(length);
  frame[0] = kind;
  frame[1] = sequence >>> 24;
  frame[2] = sequence >>> 16;
  frame[3] = sequence >>> 8;
  frame[4] = sequence;
  return frame;
}

const VERDICTS: readonly Verdict[] = ["silent", "reached", "no-link"];
