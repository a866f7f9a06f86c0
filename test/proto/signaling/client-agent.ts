import { SeededRandom } from "../../../src/proto/random.ts";
import { SignalingClient } from "../../../src/proto/signaling/client.ts";
import type { HeldCredential, SignalingInput, SignalingOutput } from "../../../src/proto/signaling/client-events.ts";
import { decodeClientMessage } from "../../../src/proto/signaling/client-messages.ts";
import type { ClientMessage, Malformed, ServerMessage } from "../../../src/proto/signaling/messages.ts";
import { instanceOf as runOf } from "../../../src/proto/signaling/resumption.ts";
import { encodeServerMessage } from "../../../src/proto/signaling/server-messages.ts";
import { CLUSTER, DAY, instanceOf, SERVER, START, testPeer } from "./rooms-harness.ts";

export const alice = testPeer(1);
export const bob = testPeer(2);
export const nonce = new Uint8Array(32).fill(7);
export const signature = new Uint8Array(64).fill(8);
export const desk = new Uint8Array([4, 4]);
export const sealed = new Uint8Array([5, 5]);
export const member: HeldCredential = { kind: "member", token: "held", expiresAt: START + DAY };

export type Seen =
  | { readonly say: ClientMessage | Malformed }
  | { readonly type: "connect"; readonly attempt: number }
  | Exclude<SignalingOutput, { type: "transmit" | "connect" }>;

/** A client under a clock of its own, whose server is the test. */
export class Agent {
  readonly client: SignalingClient;
  now = START;
  attempt = 0;
  /** What the latest request brought along. */
  hello: ClientMessage | Malformed | undefined;

  /** And what besides, to come back with. */
  resumption: Uint8Array | undefined;

  constructor(credential: HeldCredential = member, seed = 1, share?: Uint8Array) {
    this.client = new SignalingClient({
      peer: alice,
      cluster: CLUSTER,
      serverName: SERVER,
      run: {
        instance: share ? runOf(share) : instanceOf(1),
        startedAt: START,
        ...(share && { share: { publicKey: share, agree: () => undefined } }),
      },
      credential,
      random: new SeededRandom(seed),
    });
  }

  handle(input: SignalingInput): Seen[] {
    return this.client.handle(input, this.now).map((output) => {
      if (output.type === "connect") {
        const { type, attempt, hello } = output;
        this.resumption = output.resumption;
        [this.attempt, this.hello] = [attempt, decodeClientMessage(hello)];
        return { type, attempt };
      }
      return output.type === "transmit" ? { say: decodeClientMessage(output.bytes) } : output;
    });
  }

  /** Lets the deadlines of the next `ms` pass, each at its time. */
  pass(ms: number): Seen[] {
    const end = this.now + ms;
    const seen: Seen[] = [];
    for (let due = this.client.deadline(); due !== undefined && due <= end; due = this.client.deadline()) {
      this.now = Math.max(this.now, due);
      seen.push(...this.handle({ type: "timeout" }));
    }
    this.now = end;
    return seen;
  }

  hear(message: ServerMessage): Seen[] {
    return this.handle({ type: "received", attempt: this.attempt, bytes: encodeServerMessage(message) });
  }

  challenge(serverTime = this.now, serverName = SERVER): Seen[] {
    return this.hear({ type: "challenge", version: 1, nonce, serverName, serverTime, desks: [desk] });
  }

  /** From nothing to where the challenge is signed. */
  challenged(serverTime?: number): Seen[] {
    this.pass(0);
    this.handle({ type: "opened", attempt: this.attempt });
    return this.challenge(serverTime);
  }

  signed(): Seen[] {
    return this.handle({ type: "signed", signature, resume: { attempt: this.attempt, at: this.now } });
  }

  welcome(): Seen[] {
    return this.hear({
      type: "welcome",
      expiresAt: this.now + DAY,
      issuers: new Uint8Array([9]),
      introductions: [new Uint8Array([1])],
      iceServers: [],
    });
  }

  ready(): this {
    this.challenged();
    this.signed();
    this.welcome();
    return this;
  }
}
