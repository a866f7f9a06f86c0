import { compareBytes } from "../bytes.ts";
import { decodeIssuers } from "../trust/issuers.ts";
import type { Decree, SignedDecree } from "./decree.ts";
import { decodeRevocation, targetText } from "./revocation.ts";
import { decodeRotation } from "./rotation.ts";
import { decodeSuccession } from "./succession.ts";

/** The registers of the set of decrees, and the order within each: which of two decrees about one thing holds. */

/** What the body of a decree says; undefined when it says nothing. Never throws. */
export function readDecree({ kind, body }: SignedDecree): Decree | undefined {
  switch (kind) {
    case "succession": {
      const succession = decodeSuccession(body);
      return succession && { kind, ...succession };
    }
    case "issuers": {
      const list = decodeIssuers(body);
      return list && { kind, list };
    }
    case "revocation": {
      const revocation = decodeRevocation(body);
      return revocation && { kind, ...revocation };
    }
    case "rotation": {
      const rotation = decodeRotation(body);
      return rotation && { kind, ...rotation };
    }
  }
}

/** The register that a decree of `signer` stands in. Each signer has its own, so that no key can hide what another has said. */
export function slotOf(decree: Decree | { readonly kind: "issuers" }, signer: string): string {
  switch (decree.kind) {
    case "succession":
      return `succession ${decree.generation}`;
    case "issuers":
      return `issuers ${signer}`;
    case "rotation":
      return `rotation ${signer}`;
    case "revocation":
      return `revocation ${signer} ${decree.target.of} ${targetText(decree.target)}`;
  }
}

/** Whether `a` takes the place of `b`, which stands in the same register. A total order. */
export function outranks(a: Ranked, b: Ranked): boolean {
  const [left, right] = [a.decree, b.decree];
  if (left.kind === "issuers" && right.kind === "issuers" && left.list.version !== right.list.version) {
    return left.list.version > right.list.version;
  }
  if (left.kind === "revocation" && right.kind === "revocation" && left.since !== right.since) {
    return left.since < right.since;
  }
  if (left.kind === "rotation" && right.kind === "rotation" && left.epoch !== right.epoch) {
    return left.epoch > right.epoch;
  }
  return left.kind === "issuers" ? compareBytes(a.signed.body, b.signed.body) < 0 : a.id < b.id;
}

interface Ranked {
  readonly decree: Decree;
  readonly signed: SignedDecree;
  readonly id: string;
}
