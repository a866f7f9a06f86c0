import { equalBytes } from "../bytes.ts";
import { Deadlines } from "../deadlines.ts";
import type { MessageId } from "../gossip/messages.ts";
import type { Instant, Machine } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import { Lane } from "../streams/lanes.ts";
import { commitmentTo, decodeSecrets, type Keychain } from "../trust/keychain.ts";
import { encodeDecree, type SignedDecree } from "./decree.ts";
import type { DecreeSet, Ruling } from "./decree-set.ts";
import type { DecreesFault, DecreesInput, DecreesOutput, SecretsBox } from "./effects.ts";
import { Entrance } from "./entrance.ts";
import { BUCKETS, TELL_BYTES } from "./limits.ts";
import { type DecreeMessage, decodeDecreeMessage, encodeDecreeMessage, FIRST_DECREE_KIND } from "./messages.ts";
import type { RevocationTarget } from "./revocation.ts";
import type { Rotation } from "./rotation.ts";

/**
 * How the cluster's decrees (`decree-set.ts`) and the secrets that rotations commit to reach everybody.
 *
 * Each fresh link is an *entrance*: before anything else counts on it, both sides compare a sum for each part of their sets, ask
 * for the parts that differ, and hand over the secrets that one of them lacks. Only then the link opens, and what the peer
 * has said meanwhile is heard. So whoever comes late, or from the other side of a partition, has applied every
 * revocation before it listens to anybody, and is judged by all of them before it is heard.
 *
 * A decree that is made spreads by broadcast, checked by everybody before it counts or is passed on. What came over a link by
 * comparison is made known to the other links by another comparison; this is also the backstop of the broadcast.
 *
 * Secrets travel over admitted links only, sealed to the key of the very peer, and for the asking: never in a broadcast, which
 * whoever was shut out by the rotation could still open. A member neither takes nor passes the secrets of a rotation before
 * it holds the revocations that the rotation names; so whom these name has no link by then.
 *
 * It trusts the keys that signed, and nobody who hands on.
 */
export class Decrees implements Machine<DecreesInput, DecreesOutput> {
  readonly #set: DecreeSet;
  readonly #keychain: Keychain;
  readonly #box: SecretsBox;
  readonly #entrances = new Map<PeerId, Entrance>();
  readonly #deadlines = new Deadlines<PeerId>();
  #out: DecreesOutput[] = [];

  constructor(set: DecreeSet, keychain: Keychain, box: SecretsBox) {
    this.#set = set;
    this.#keychain = keychain;
    this.#box = box;
  }

  /** Whether messages of this peer are for others too. */
  isOpen(peer: PeerId): boolean {
    return this.#entrances.get(peer)?.isOpen ?? false;
  }

  deadline(): Instant | undefined {
    return this.#deadlines.next();
  }

  handle(input: DecreesInput, now: Instant): readonly DecreesOutput[] {
    switch (input.type) {
      case "link-up":
        this.#linkUp(input.peer, input.rttMs, now);
        break;
      case "link-down":
        this.#entrances.delete(input.peer);
        this.#deadlines.clear(input.peer);
        break;
      case "message":
        this.#message(input.peer, input.lane, input.bytes, now);
        break;
      case "delivered":
        this.#delivered(input.from, input.id, input.payload, now);
        break;
      case "decree":
        this.#proclaim(input.decree, input.secrets, now);
        break;
      case "timeout":
        for (let peer = this.#deadlines.take(now); peer !== undefined; peer = this.#deadlines.take(now))
          this.#shut(peer);
        this.#set.tidy(now);
        break;
    }
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #linkUp(peer: PeerId, rttMs: number, now: Instant): void {
    const entrance = new Entrance(rttMs, now);
    this.#entrances.set(peer, entrance);
    // It was admitted while the news was on its way.
    if (this.#set.revokedSince(peer) !== undefined) {
      this.#shut(peer);
      return;
    }
    this.#deadlines.set(peer, entrance.openBy);
    this.#compare(peer, false);
  }

  #message(peer: PeerId, lane: Lane, bytes: Uint8Array, now: Instant): void {
    const entrance = this.#entrances.get(peer);
    if (entrance === undefined) return;
    if (lane !== Lane.gossip || (bytes[1] ?? 0) < FIRST_DECREE_KIND) {
      if (entrance.hold({ lane, bytes })) return;
      this.#fault(peer, "decree-flood");
      this.#shut(peer);
      return;
    }
    const message = decodeDecreeMessage(bytes);
    if (message === undefined) this.#fault(peer, "decree-malformed");
    else this.#heard(peer, entrance, message, now);
  }

  #heard(peer: PeerId, entrance: Entrance, message: DecreeMessage, now: Instant): void {
    if (message.type !== "tell" && message.type !== "pass" && !entrance.admits(now)) {
      this.#fault(peer, "decree-flood");
      return;
    }
    switch (message.type) {
      case "compare":
        this.#compared(peer, entrance, message);
        break;
      case "ask":
        this.#tell(peer, message.bucket, new Set<string>(message.ids));
        break;
      case "tell":
        this.#told(peer, entrance, message, now);
        break;
      case "want":
        this.#pass(peer);
        break;
      case "notice":
        if (this.#judge(peer, this.#set.offer(message.decree, now))) this.#compareWithAll(peer);
        break;
      case "pass":
        this.#passed(peer, entrance, message.sealed, now);
        break;
    }
    this.#settle(peer, entrance);
  }

  // Comparing

  #compare(peer: PeerId, reply: boolean): void {
    const { epoch, commitment } = this.#keychain;
    this.#send(peer, { type: "compare", sums: this.#set.sums(), epoch, commitment, reply });
  }

  #compareWithAll(except?: PeerId): void {
    for (const peer of this.#entrances.keys()) if (peer !== except) this.#compare(peer, false);
  }

  #compared(peer: PeerId, entrance: Entrance, { sums, epoch, commitment, reply }: Compare): void {
    const isFirst = entrance.stand === undefined;
    entrance.stand = { epoch, commitment };
    entrance.wanted = undefined;
    const ours = this.#set.sums();
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (equalBytes(partOf(ours, bucket), partOf(sums, bucket)) || entrance.asked.has(bucket)) continue;
      entrance.asked.add(bucket);
      this.#send(peer, { type: "ask", bucket, ids: this.#set.ids(bucket) });
    }
    // The peer may lack something too. At a fresh link both have sent theirs.
    if (entrance.asked.size > 0 && !reply && !isFirst) this.#compare(peer, true);
  }

  #tell(peer: PeerId, bucket: number, theirs: ReadonlySet<string>): void {
    let decrees: Uint8Array[] = [];
    let length = 0;
    for (const { id, bytes } of this.#set.encoded(bucket)) {
      if (theirs.has(id)) continue;
      if (length + bytes.length > TELL_BYTES && decrees.length > 0) {
        this.#send(peer, { type: "tell", bucket, last: false, decrees });
        decrees = [];
        length = 0;
      }
      decrees.push(bytes);
      length += bytes.length;
    }
    this.#send(peer, { type: "tell", bucket, last: true, decrees });
  }

  #told(peer: PeerId, entrance: Entrance, { bucket, last, decrees }: Tell, now: Instant): void {
    if (!entrance.asked.has(bucket)) {
      this.#fault(peer, "decree-unasked");
      return;
    }
    let news = 0;
    for (const decree of decrees) if (this.#judge(peer, this.#set.offer(decree, now))) news++;
    if (last) entrance.asked.delete(bucket);
    if (news > 0) this.#compareWithAll(peer);
  }

  // Spreading

  #delivered(from: PeerId, id: MessageId, payload: Uint8Array, now: Instant): void {
    const ruling = this.#set.offer(payload, now);
    const verdict = isFalse(ruling)
      ? "reject"
      : ruling.outcome === "news" || ruling.outcome === "known"
        ? "accept"
        : "ignore";
    this.#out.push({ type: "verdict", id, verdict });
    if (ruling.outcome === "news") this.#judge(from, ruling);
  }

  #proclaim(signed: SignedDecree, secrets: Uint8Array | undefined, now: Instant): void {
    const encoded = encodeDecree(signed);
    const ruling = this.#set.accept(signed, now);
    if (ruling.outcome !== "news") return;
    this.#out.push({ type: "broadcast", payload: encoded });
    this.#announce(ruling, signed);
    if (secrets !== undefined) this.#adopt(secrets, now);
  }

  /** Applies news from `peer`; true if it was. */
  #judge(peer: PeerId, ruling: Ruling): boolean {
    if (isFalse(ruling)) {
      this.#fault(peer, ruling.outcome === "forged" ? "decree-forged" : "decree-malformed");
      return false;
    }
    if (ruling.outcome !== "news") return false;
    const signed = this.#set.signed(ruling.id);
    if (signed !== undefined) this.#announce(ruling, signed);
    return true;
  }

  #announce({ decree }: Extract<Ruling, { outcome: "news" }>, signed: SignedDecree): void {
    this.#out.push({ type: "decreed", decree, signed });
    if (decree.kind === "revocation") this.#notify(decree.target, signed);
    // What it names may have been all that was lacking.
    for (const [peer, entrance] of this.#entrances) this.#settle(peer, entrance);
  }

  // Secrets

  /** The rotation whose secrets we lack and may take. */
  get #lacking(): Rotation | undefined {
    const { rotation } = this.#set;
    if (rotation === undefined || this.#isAsOf(rotation, this.#keychain)) return undefined;
    return rotation.behind.every((id) => this.#set.has(id)) ? rotation : undefined;
  }

  #isAsOf(rotation: Rotation, stand: { readonly epoch: number; readonly commitment: Uint8Array }): boolean {
    return stand.epoch > rotation.epoch || equalBytes(stand.commitment, rotation.commitment);
  }

  #pass(peer: PeerId): void {
    const { rotation } = this.#set;
    if (rotation === undefined || !equalBytes(rotation.commitment, this.#keychain.commitment)) return;
    if (this.#set.revokedSince(peer) !== undefined) return;
    const sealed = this.#box.seal(peer, this.#keychain.encoded);
    if (sealed !== undefined) this.#send(peer, { type: "pass", sealed });
  }

  #passed(peer: PeerId, entrance: Entrance, sealed: Uint8Array, now: Instant): void {
    const { wanted } = entrance;
    entrance.wanted = undefined;
    // A second answer to a question that was put again.
    if (wanted === undefined) return;
    const plain = this.#box.open(peer, sealed);
    if (plain === undefined || !equalBytes(commitmentTo(plain), wanted)) this.#fault(peer, "secrets-forged");
    else this.#adopt(plain, now);
  }

  #adopt(encoded: Uint8Array, now: Instant): void {
    const { rotation } = this.#set;
    const secrets = decodeSecrets(encoded);
    if (rotation === undefined || secrets === undefined || !equalBytes(commitmentTo(encoded), rotation.commitment))
      return;
    this.#keychain.adopt(secrets, now);
    this.#out.push({ type: "rekeyed", epoch: secrets.epoch });
    this.#compareWithAll();
    for (const [peer, entrance] of this.#entrances) this.#settle(peer, entrance);
  }

  // Opening

  /** Asks for secrets that this peer has and we lack; opens its link when nothing is missing on either side. */
  #settle(peer: PeerId, entrance: Entrance): void {
    const { stand } = entrance;
    if (stand === undefined || !this.#entrances.has(peer)) return;
    const lacking = this.#lacking;
    if (lacking !== undefined && equalBytes(stand.commitment, lacking.commitment) && entrance.wanted === undefined) {
      entrance.wanted = lacking.commitment;
      this.#send(peer, { type: "want" });
    }
    if (entrance.isOpen || entrance.asked.size > 0 || !this.#agrees(stand)) return;
    this.#deadlines.clear(peer);
    const held = entrance.open();
    this.#out.push({ type: "open", peer, rttMs: entrance.rttMs, held });
  }

  /** Whether secrets are no reason to wait: both sides have the same, or those of the rotation in force. */
  #agrees(stand: { readonly epoch: number; readonly commitment: Uint8Array }): boolean {
    if (equalBytes(stand.commitment, this.#keychain.commitment)) return true;
    const { rotation } = this.#set;
    return rotation === undefined || (this.#isAsOf(rotation, stand) && this.#isAsOf(rotation, this.#keychain));
  }

  /** Tells whom it concerns before their links end, so that an honest one knows; of a token nobody here knows whose it is. */
  #notify(target: RevocationTarget, signed: SignedDecree): void {
    const concerned = target.of === "member" ? [target.peer] : [...this.#entrances.keys()];
    const decree = encodeDecree(signed);
    for (const peer of concerned) if (this.#entrances.has(peer)) this.#send(peer, { type: "notice", decree });
    if (target.of === "member") this.#shut(target.peer);
  }

  #shut(peer: PeerId): void {
    const entrance = this.#entrances.get(peer);
    if (entrance === undefined) return;
    this.#entrances.delete(peer);
    this.#deadlines.clear(peer);
    const revoked = this.#set.revokedSince(peer) !== undefined;
    this.#out.push({ type: "shut", peer, wasOpen: entrance.isOpen, revoked });
  }

  #send(peer: PeerId, message: DecreeMessage): void {
    this.#out.push({ type: "send", peer, bytes: encodeDecreeMessage(message) });
  }

  #fault(peer: PeerId, fault: DecreesFault): void {
    this.#out.push({ type: "fault", peer, fault });
  }
}

type Compare = Extract<DecreeMessage, { type: "compare" }>;
type Tell = Extract<DecreeMessage, { type: "tell" }>;

function partOf(sums: Uint8Array, bucket: number): Uint8Array {
  return sums.subarray(bucket * 8, bucket * 8 + 8);
}

function isFalse(ruling: Ruling): ruling is Extract<Ruling, { outcome: "forged" | "malformed" }> {
  return ruling.outcome === "forged" || ruling.outcome === "malformed";
}
