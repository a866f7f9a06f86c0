import { earlier } from "./deadlines.ts";
import { Broadcast, type BroadcastInput, type BroadcastOutput } from "./gossip/broadcast.ts";
import { type MessageId, Topic } from "./gossip/messages.ts";
import type { Instant, Machine } from "./machine.ts";
import type { PeerId } from "./peer-id.ts";
import type { Random } from "./random.ts";
import type { BroadcastSeal } from "./rule.ts";
import type { Sign, Verify } from "./signed.ts";
import {
  Topics,
  type TopicsInput,
  type TopicsOutput,
  type TopicsSignResume,
  type TopicsVerifyResume,
} from "./topics/topics.ts";

/**
 * What everybody is told: broadcast, sealed under the keyring of the members, and the topics of applications on top.
 *
 * A payload is sealed before it is published and opened before anybody judges it, so that what is stored for others on the way, or
 * reaches somebody who is no member any more, says nothing. One that nobody sealed who has a key is refused, and blamed on
 * whoever passed it on, who should have seen it. One under a key that we do not have is not passed on: the key may be on its way
 * to us, and what was lost meanwhile comes by anti-entropy. Decrees travel open: they are to be read by those, too, who
 * lack the newest key, and prove themselves.
 */
export class Dissemination implements Machine<DisseminationInput, DisseminationOutput> {
  readonly #broadcast: Broadcast;
  readonly #topics: Topics;
  readonly #seal: BroadcastSeal | undefined;
  #out: DisseminationOutput[] = [];

  /** @param scopesOf what the token of a member grants; undefined: it is none. */
  constructor(
    self: PeerId,
    scopesOf: (peer: PeerId) => readonly string[] | undefined,
    seal: BroadcastSeal | undefined,
    random: Random,
  ) {
    this.#broadcast = new Broadcast(self);
    this.#topics = new Topics(self, scopesOf, random);
    this.#seal = seal;
  }

  deadline(): Instant | undefined {
    return earlier(this.#broadcast.deadline(), this.#topics.deadline());
  }

  handle(input: DisseminationInput, now: Instant): readonly DisseminationOutput[] {
    if ("of" in input) this.#toTopics(input.input, now);
    else if (input.type === "publish") this.#publish(input.topic, input.payload, now);
    else this.#toBroadcast(input, now);
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #publish(topic: Topic, payload: Uint8Array, now: Instant): void {
    const open = this.#seal === undefined || topic === Topic.decrees;
    const sealed = open ? payload : this.#seal.seal(topic, payload, now);
    this.#toBroadcast({ type: "publish", topic, payload: sealed }, now);
  }

  #toBroadcast(input: BroadcastInput, now: Instant): void {
    for (const output of this.#broadcast.handle(input, now)) {
      if (output.type === "deliver") this.#deliver(output, now);
      else this.#out.push(output);
    }
  }

  #deliver(delivery: Delivery, now: Instant): void {
    const { topic, id, from } = delivery;
    const sealed = this.#seal !== undefined && topic !== Topic.decrees;
    const payload = sealed ? this.#seal.open(topic, delivery.payload) : delivery.payload;
    if (payload === "unknown-key") {
      this.#verdict(id, "ignore", now);
      this.#out.push({ type: "fault", fault: "broadcast-unknown-key" });
    } else if (payload === "forged") this.#verdict(id, "reject", now);
    else if (topic === Topic.application) this.#toTopics({ type: "delivered", from, id, payload }, now);
    else this.#out.push({ ...delivery, payload });
  }

  #toTopics(input: TopicsInput, now: Instant): void {
    for (const output of this.#topics.handle(input, now)) {
      if (output.type === "broadcast") this.#publish(Topic.application, output.payload, now);
      else if (output.type === "verdict") this.#verdict(output.id, output.verdict, now);
      else if (output.type === "sign") this.#out.push({ ...output, resume: { of: "topics", resume: output.resume } });
      else if (output.type === "verify") this.#out.push({ ...output, resume: { of: "topics", resume: output.resume } });
      else this.#out.push(output);
    }
  }

  #verdict(id: MessageId, verdict: "ignore" | "reject" | "accept", now: Instant): void {
    this.#toBroadcast({ type: "verdict", id, verdict }, now);
  }
}

type Delivery = Extract<BroadcastOutput, { type: "deliver" }>;

export type DisseminationInput = BroadcastInput | { readonly of: "topics"; readonly input: TopicsInput };

export type DisseminationOutput =
  /** Opened. For all topics but those of applications; awaits a verdict. */
  | BroadcastOutput
  | Sign<{ readonly of: "topics"; readonly resume: TopicsSignResume }>
  | Verify<{ readonly of: "topics"; readonly resume: TopicsVerifyResume }>
  | Exclude<TopicsOutput, { type: "broadcast" | "verdict" | "sign" | "verify" }>
  | { readonly type: "fault"; readonly fault: "broadcast-unknown-key" };
