/**
 * Two admission machines on a channel in memory, with real keys and a driver that signs and verifies. A test changes what
 * each side is told (`options`) or what passes between them (`tamper`).
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { type PeerId, peerIdOf, publicKeyOf } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import {
  Admission,
  type AdmissionInput,
  type AdmissionOptions,
  type AdmissionOutput,
} from "../../../src/proto/session/admission.ts";
import type { TokenRefusal } from "../../../src/proto/session/refusal.ts";
import { admissionMacKey } from "../../../src/proto/session/transcript.ts";
import { type Statement, signedBytes, type TokenFacts } from "../../../src/proto/signed.ts";

export const CLUSTER_KEY = new Uint8Array(32).fill(7);
export const DIALER_CERTIFICATE = new Uint8Array(32).fill(0xd1);
export const ANSWERER_CERTIFICATE = new Uint8Array(32).fill(0xa2);

export interface Identity {
  readonly id: PeerId;
  readonly key: KeyObject;
  readonly token: string;
  readonly facts: TokenFacts;
}

export function identity(seed: number): Identity {
  const der = Buffer.concat([
    Buffer.from("302e020100300506032b657004220420", "hex"),
    Buffer.from(new Uint8Array(32).fill(seed)),
  ]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  const id = peerIdOf(new Uint8Array(spki.subarray(-32)));
  return {
    id,
    key,
    token: `token-of-${id}`,
    facts: { subject: id, expiresAt: 1_000_000, scopes: ["mesh"], place: new Uint8Array(16).fill(seed) },
  };
}

export const DIALER = identity(1);
export const ANSWERER = identity(2);

export function optionsOf(role: "dialer" | "answerer", change: Partial<AdmissionOptions> = {}): AdmissionOptions {
  const dialer = role === "dialer";
  const self = dialer ? DIALER : ANSWERER;
  return {
    role,
    self: self.id,
    expected: (dialer ? ANSWERER : DIALER).id,
    clusterId: "cluster",
    token: self.token,
    boxKey: new Uint8Array(32).fill(dialer ? 0x11 : 0x22),
    epoch: 3,
    macKey: (epoch) => (epoch === 3 ? admissionMacKey(CLUSTER_KEY, 3) : undefined),
    localFingerprint: dialer ? DIALER_CERTIFICATE : ANSWERER_CERTIFICATE,
    remoteFingerprint: dialer ? ANSWERER_CERTIFICATE : DIALER_CERTIFICATE,
    random: new SeededRandom(dialer ? 100 : 200),
    ...change,
  };
}

const SPKI = Buffer.from("302a300506032b6570032100", "hex");

export function holds(statement: Statement): boolean {
  const der = Buffer.concat([SPKI, Buffer.from(publicKeyOf(statement.signer))]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  return verify(null, signedBytes(statement.label, statement.body), key, statement.signature);
}

/** One machine with its driver. Frames that it sends pile up in `sent`. */
export class Side {
  readonly machine: Admission;
  readonly sent: Uint8Array[] = [];
  readonly outputs: AdmissionOutput[] = [];
  readonly #identity: Identity;
  /** Tokens that the driver's trust knows to be bad. */
  readonly bad = new Map<string, TokenRefusal>();
  readonly known = new Map<string, TokenFacts>(
    [DIALER, ANSWERER].map((each): [string, TokenFacts] => [each.token, each.facts]),
  );
  verifications = 0;

  constructor(options: AdmissionOptions, self: Identity = options.role === "dialer" ? DIALER : ANSWERER) {
    this.machine = new Admission(options);
    this.#identity = self;
  }

  input(input: AdmissionInput, now = 0): void {
    for (const output of this.machine.handle(input, now)) {
      this.outputs.push(output);
      if (output.type === "send") this.sent.push(output.frame);
      else if (output.type === "sign") {
        const signature = new Uint8Array(sign(null, signedBytes(output.label, output.body), this.#identity.key));
        this.input({ type: "signed", signature, resume: output.resume }, now);
      } else if (output.type === "verify") this.#verify(output, now);
    }
  }

  #verify(check: Extract<AdmissionOutput, { type: "verify" }>, now: number): void {
    this.verifications++;
    const token = check.token ?? "";
    const signer = check.statements[0]?.signer;
    const facts = this.known.get(token);
    const refusal = !check.statements.every(holds)
      ? "bad-signature"
      : (this.bad.get(token) ?? (facts === undefined ? "wrong-issuer" : facts.subject !== signer && "wrong-subject"));
    if (refusal) this.input({ type: "rejected", reason: refusal }, now);
    else if (facts) this.input({ type: "verified", resume: check.resume, token: facts }, now);
  }

  get end(): Extract<AdmissionOutput, { type: "admitted" | "refused" }> | undefined {
    const ends = this.outputs.filter((each) => each.type === "admitted" || each.type === "refused");
    if (ends.length > 1) throw new Error("a handshake ended twice");
    return ends[0];
  }

  /** `admitted`, or how it was refused, or that it is still open. */
  get verdict(): string {
    const end = this.end;
    if (end === undefined) return "open";
    return end.type === "admitted" ? "admitted" : `${end.by}: ${end.reason}`;
  }
}

export type Tamper = (from: "dialer" | "answerer", frame: Uint8Array, index: number) => readonly Uint8Array[];

/** Opens the channel between both and carries frames, one of each side in turn, until nothing moves. */
export function meet(dialer: Side, answerer: Side, tamper: Tamper = (_, frame) => [frame]): void {
  dialer.input({ type: "open" });
  answerer.input({ type: "open" });
  const carried = { dialer: 0, answerer: 0 };
  for (;;) {
    const fromDialer = dialer.sent[carried.dialer];
    const fromAnswerer = answerer.sent[carried.answerer];
    if (fromDialer === undefined && fromAnswerer === undefined) return;
    if (fromDialer) {
      for (const bytes of tamper("dialer", fromDialer, carried.dialer++)) answerer.input({ type: "frame", bytes });
    }
    if (fromAnswerer) {
      for (const bytes of tamper("answerer", fromAnswerer, carried.answerer++)) dialer.input({ type: "frame", bytes });
    }
  }
}

/** Runs one handshake and returns both verdicts. */
export function handshake(
  change: { readonly dialer?: Partial<AdmissionOptions>; readonly answerer?: Partial<AdmissionOptions> } = {},
  tamper?: Tamper,
): readonly [dialer: string, answerer: string] {
  const dialer = new Side(optionsOf("dialer", change.dialer));
  const answerer = new Side(optionsOf("answerer", change.answerer));
  meet(dialer, answerer, tamper);
  return [dialer.verdict, answerer.verdict];
}
