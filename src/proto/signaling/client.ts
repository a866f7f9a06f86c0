import { assert } from "../assert.ts";
import { type Instant, type Machine, NOTHING } from "../machine.ts";
import type { PeerId } from "../peer-id.ts";
import type { Random } from "../random.ts";
import { TokenBucket } from "../token-bucket.ts";
import { CLOCK_LEEWAY_MS } from "../trust/times.ts";
import { backoffMs } from "./backoff.ts";
import {
  type AgentRun,
  type Attempt,
  type Challenge,
  type ClientStage,
  type HeldCredential,
  isForAgent,
  type LoginResume,
  type OfflineReason,
  type SignalingFault,
  type SignalingInput,
  type SignalingOutput,
} from "./client-events.ts";
import { signLogin } from "./client-login.ts";
import { encodeClientMessage } from "./client-messages.ts";
import { type Order, Orders, refuseOrder } from "./client-orders.ts";
import type { Skew } from "./clock-skew.ts";
import { judgeFence } from "./fence.ts";
import { clientLimits, signalingLimits } from "./limits.ts";
import {
  type ClientMessage,
  type LoginProof,
  type Malformed,
  REFUSALS,
  type RefusalCode,
  type ServerMessage,
  SIGNALING_VERSION,
} from "./messages.ts";
import { Outage } from "./outage.ts";
import { printable } from "./printable.ts";
import { ServerClock } from "./server-clock.ts";
import { decodeServerMessage } from "./server-messages.ts";
import { TicketHolder } from "./ticket-holder.ts";

interface ClientOptions {
  readonly peer: PeerId;
  readonly cluster: string;
  /** The host and port of the server's URL; what the challenge must name. */
  readonly serverName: string;
  readonly run: AgentRun;
  readonly credential: HeldCredential;
  /** For jitter only. */
  readonly random: Random;
}

/**
 * An agent's connection to one signaling server, kept up: connects, proves the agent's key, shows its member token, and
 * starts again with a growing, jittered wait whenever the connection is lost. It wants its first time-out at once.
 *
 * Without a token that is valid by the server's clock it first asks one of the desks that the challenge names for one, in
 * sealed letters that this machine does not read: join tokens and expired ones are shown to no server.
 *
 * What it decides: when to try again, whether a refusal is final, whether the server still lives (a question after 6 s of
 * silence, 6 s for the answer), how far the clocks differ. Signals are never queued: while there is no session the sender is told at
 * once, and takes another server or the mesh.
 *
 * What it trusts: nothing. Records, issuers and signals are handed up unchecked. A server cannot use our login at another
 * one, since we sign the name that *we* know it by. It cannot stop the agent by a made-up `fenced`: that counts only with
 * a login by our key from another run that is not older than our own start. What a server can do is refuse; `stopped`
 * with a refusal therefore concerns this server only.
 */
export class SignalingClient implements Machine<SignalingInput, SignalingOutput> {
  readonly #options: ClientOptions;
  #credential: HeldCredential;
  readonly #hello: Uint8Array;
  readonly #orders = new Orders();
  readonly #tickets: TicketHolder;
  readonly #outage: Outage;
  #stage: ClientStage = { at: "waiting", until: 0 };
  #attempt: Attempt = 0;
  #clock = new ServerClock();
  #inbound = new TokenBucket(clientLimits.inbound, 0);
  #out: SignalingOutput[] = [];

  constructor(options: ClientOptions) {
    const { instance, share } = options.run;
    assert(instance.length === signalingLimits.instanceBytes, "an instance is 16 bytes");
    this.#options = options;
    this.#credential = options.credential;
    this.#outage = new Outage(options.random);
    this.#hello = encodeClientMessage({ type: "hello", ...options, instance });
    this.#tickets = new TicketHolder({ ...options, instance }, share, options.random);
  }

  /** For people: `waiting` for the next attempt, `connecting` until logged in, `ready`, or `stopped`. */
  get state(): "waiting" | "connecting" | "ready" | "stopped" {
    const { at } = this.#stage;
    return at === "waiting" || at === "ready" || at === "stopped" ? at : "connecting";
  }

  deadline(): Instant | undefined {
    switch (this.#stage.at) {
      case "stopped":
        return undefined;
      case "ready":
        return Math.min(this.#clock.deadline, this.#tickets.deadline);
      default:
        return this.#stage.until;
    }
  }

  handle(input: SignalingInput, now: Instant): readonly SignalingOutput[] {
    this.#out = [];
    switch (input.type) {
      case "timeout":
        this.#timeout(now);
        break;
      case "opened":
      case "received":
      case "closed":
        if (this.#isCurrent(input.attempt)) this.#transport(input, now);
        break;
      case "signed":
        this.#login(input.signature, input.resume);
        break;
      case "request":
      case "no-desk":
      case "unsealed":
        if (this.#stage.at === "exchanging" && this.#isCurrent(input.attempt)) this.#exchange(input, now);
        break;
      case "agreed":
        this.#tickets.take(input, now);
        break;
      case "verified":
        this.#stop("identity-in-use", "another agent runs with this identity: give each agent its own state directory");
        break;
      default:
        this.#command(input, now);
    }
    return this.#out.length === 0 ? NOTHING : this.#out;
  }

  // The transport

  #isCurrent(attempt: Attempt): boolean {
    return "attempt" in this.#stage && this.#stage.attempt === attempt;
  }

  #transport(input: Extract<SignalingInput, { type: "opened" | "received" | "closed" }>, now: Instant): void {
    if (input.type === "closed") {
      this.#offline("closed", printable(input.reason).slice(0, signalingLimits.detailLength), now, { closed: true });
    } else if (input.type === "opened") {
      if (this.#stage.at !== "connecting") return;
      const { attempt, heard = false, tickets = false } = input;
      this.#tickets.reached(tickets);
      const helloAt = heard ? this.#stage.since : now;
      this.#stage = { at: "greeting", attempt, until: now + clientLimits.greetMs, helloAt };
      if (!heard) this.#out.push({ type: "transmit", attempt, bytes: this.#hello });
    } else this.#message(decodeServerMessage(input.bytes), input.bytes.length, now);
  }

  #timeout(now: Instant): void {
    if (now < (this.deadline() ?? Number.POSITIVE_INFINITY)) return;
    const stage = this.#stage;
    if (stage.at === "waiting") this.#connect(now);
    else if (stage.at !== "ready") this.#offline("timed-out", `no answer while ${stage.at}`, now);
    else if (now >= this.#tickets.deadline) this.#transmit(this.#tickets.ask(this.#credential, now));
    else if (!this.#clock.isAsked) this.#transmit(this.#clock.ask(now));
    else this.#offline("timed-out", "the server has fallen silent", now);
  }

  #connect(now: Instant): void {
    this.#attempt++;
    this.#clock = new ServerClock();
    this.#inbound = new TokenBucket(clientLimits.inbound, now);
    this.#stage = { at: "connecting", attempt: this.#attempt, until: now + clientLimits.connectMs, since: now };
    const resumption = this.#tickets.show(now);
    this.#out.push({ type: "connect", attempt: this.#attempt, hello: this.#hello, ...(resumption && { resumption }) });
  }

  /** Leaves the connection, if there is one, and waits for the next attempt. */
  #offline(
    reason: OfflineReason,
    detail: string,
    now: Instant,
    more: { readonly code?: RefusalCode; readonly closed?: boolean; readonly waitMs?: number } = {},
  ): void {
    const stage = this.#stage;
    if (!more.closed && "attempt" in stage) this.#out.push({ type: "disconnect", attempt: stage.attempt });
    const retryAt = this.#outage.retryAt(now, stage.at === "ready" ? stage.since : undefined, more.waitMs ?? 0);
    this.#stage = { at: "waiting", until: retryAt };
    this.#out.push({ type: "offline", reason, detail, ...(more.code && { code: more.code }), retryAt });
  }

  #fault(fault: SignalingFault, now: Instant): void {
    this.#out.push({ type: "fault", fault });
    this.#offline("fault", `the server broke the protocol: ${fault}`, now);
  }

  #stop(reason: "identity-in-use" | RefusalCode, detail: string): void {
    const stage = this.#stage;
    // The word that another has our key may come when all is over already.
    if (stage.at === "stopped" && stage.reason !== "refused") return;
    if ("attempt" in stage) this.#out.push({ type: "disconnect", attempt: stage.attempt });
    this.#stage = { at: "stopped", reason: reason === "identity-in-use" ? reason : "refused" };
    const { skewMs } = this.#clock;
    this.#out.push({ type: "stopped", reason, detail, ...(skewMs !== undefined && { skewMs }) });
  }

  // What the server says

  #message(message: ServerMessage | Malformed, size: number, now: Instant): void {
    this.#clock.heard(now);
    if (message.type === "malformed") this.#fault("malformed", now);
    else if (this.#inbound.spend(1 + (size >>> 12), clientLimits.inbound, now) < 0) this.#fault("flood", now);
    else if (message.type === "refused") this.#refused(message.code, message.detail, now);
    else if (message.type === "going-away") {
      const asked = Math.min(message.reconnectAfterMs, signalingLimits.reconnectAfterMs);
      const waitMs = asked + backoffMs(asked, this.#options.random);
      this.#offline("going-away", "the server closes", now, { waitMs });
    } else if (this.#stage.at === "greeting" && message.type === "challenge") this.#challenged(message, now);
    else if (this.#stage.at === "exchanging" && message.type === "exchanged")
      this.#out.push({ type: "unseal", attempt: this.#stage.attempt, bytes: message.bytes });
    else if (message.type === "welcome" && this.#stage.at === (this.#tickets.isShown ? "greeting" : "logging-in"))
      this.#welcomed(message, now);
    else if (this.#stage.at === "ready") this.#news(message, now);
    else this.#fault("unexpected", now);
  }

  #challenged(challenge: Extract<ServerMessage, { type: "challenge" }>, now: Instant): void {
    const stage = this.#stage;
    assert(stage.at === "greeting", "a challenge answers a hello");
    if (challenge.serverName !== this.#options.serverName || challenge.version !== SIGNALING_VERSION) {
      this.#fault("foreign-challenge", now);
      return;
    }
    this.#tickets.refused(challenge.serverTime, now);
    this.#skewed(this.#clock.measure(stage.helloAt, now, challenge.serverTime));
    const { nonce, serverName, desks } = challenge;
    const held = this.#credential;
    const expiry = held.kind === "member" ? held.expiresAt + CLOCK_LEEWAY_MS : 0;
    if (expiry > challenge.serverTime) this.#sign({ nonce, serverName }, held.token, now);
    else {
      const until = now + clientLimits.exchangeMs;
      this.#stage = { at: "exchanging", attempt: stage.attempt, until, challenge: { nonce, serverName } };
      this.#out.push({ type: "seek-desk", attempt: stage.attempt, token: held.token, desks });
    }
  }

  #exchange(input: Extract<SignalingInput, { type: "request" | "no-desk" | "unsealed" }>, now: Instant): void {
    const stage = this.#stage;
    assert(stage.at === "exchanging", "a desk is asked on the way to the login");
    if (input.type === "request") this.#transmit({ type: "exchange", kid: input.kid, bytes: input.bytes });
    else if (input.type === "no-desk") this.#offline("refused", input.detail, now, { code: "issuer-unreachable" });
    else if (!input.answer.ok) this.#settle(input.answer.code, input.answer.detail, now);
    else {
      const { token, expiresAt } = input.answer;
      this.#hold(token, expiresAt);
      this.#out.push({ type: "issued", token, expiresAt });
      this.#sign(stage.challenge, token, now);
    }
  }

  #sign(challenge: Challenge, token: string, now: Instant): void {
    assert("attempt" in this.#stage, "a login is signed on a connection");
    const { attempt } = this.#stage;
    this.#stage = { at: "signing", attempt, until: now + clientLimits.loginMs, token };
    this.#out.push(signLogin(this.#options, challenge, attempt, now));
  }

  #login(signature: Uint8Array, resume: LoginResume): void {
    const stage = this.#stage;
    if (stage.at !== "signing" || stage.attempt !== resume.attempt) return;
    this.#stage = { at: "logging-in", attempt: stage.attempt, until: stage.until };
    this.#transmit({ type: "login", at: resume.at, signature, token: stage.token });
  }

  #welcomed(welcome: Extract<ServerMessage, { type: "welcome" }>, now: Instant): void {
    assert("attempt" in this.#stage, "a welcome comes on a connection");
    const { type: _, ...facts } = welcome;
    this.#tickets.want(false, now);
    this.#stage = { at: "ready", attempt: this.#stage.attempt, since: now };
    for (const message of this.#orders.standing()) this.#transmit(message);
    this.#out.push({ type: "ready", ...facts });
  }

  #news(message: ServerMessage, now: Instant): void {
    if (isForAgent(message)) {
      this.#out.push(message);
      return;
    }
    switch (message.type) {
      case "introductions":
        this.#out.push({ type: "introduced", records: message.records });
        return;
      case "renewed":
        this.#hold(message.token, message.expiresAt);
        this.#tickets.want(true, now);
        this.#out.push(message);
        return;
      case "ticket": {
        const { share, ticket, lifeMs } = message;
        // What is kept must not hold on to a buffer of the network.
        this.#out.push({ type: "agree", share: share.slice(), ticket: ticket.slice(), lifeMs });
        return;
      }
      case "time":
        this.#tickets.clock(message.serverTime, now);
        this.#skewed(this.#clock.answered(message.id, now, message.serverTime));
        return;
      case "asked":
        assert(this.#stage.at === "ready", "news comes to those who are logged in");
        this.#out.push({ ...message, attempt: this.#stage.attempt });
        return;
      case "fenced":
        this.#fenced(message.rival, now);
        return;
      default:
        this.#fault("unexpected", now);
    }
  }

  #fenced(rival: LoginProof, now: Instant): void {
    const fence = judgeFence(rival, this.#options);
    if (fence === undefined) this.#fault("false-fence", now);
    else {
      if (fence.verify !== undefined) this.#out.push(fence.verify);
      this.#offline("fenced", fence.detail, now, fence);
    }
  }

  #refused(code: RefusalCode, detail: string, now: Instant): void {
    if (this.#stage.at === "connecting") {
      this.#fault("unexpected", now);
      return;
    }
    const held = this.#credential;
    if (code === "token-expired" && held.kind === "member" && this.#stage.at !== "exchanging") {
      // Taken to a desk next time: for seven days it buys a renewal.
      this.#credential = { ...held, expiresAt: 0 };
      this.#offline("refused", detail, now, { code });
    } else this.#settle(code, detail, now);
  }

  #settle(code: RefusalCode, detail: string, now: Instant): void {
    if (REFUSALS[code] === "final") this.#stop(code, detail);
    else this.#offline("refused", detail, now, { code });
  }

  #hold(token: string, expiresAt: Instant): void {
    this.#credential = { kind: "member", token, expiresAt };
  }

  #skewed(skew: Skew | undefined): void {
    if (skew !== undefined) this.#out.push({ type: "skew", ...skew });
  }

  // What the agent wants

  #command(input: Order | Extract<SignalingInput, { type: "credential" | "nudge" | "leave" }>, now: Instant): void {
    switch (input.type) {
      case "credential":
        this.#credential = input.credential;
        this.#tickets.want(true, now);
        if (this.#stage.at === "stopped") this.#nudge(now);
        return;
      case "nudge":
        this.#nudge(now);
        return;
      case "leave":
        if (this.#stage.at === "ready") this.#transmit({ type: "goodbye" });
        if ("attempt" in this.#stage) this.#out.push({ type: "disconnect", attempt: this.#stage.attempt });
        this.#stage = { at: "stopped", reason: "left" };
        return;
      default:
        this.#order(input);
    }
  }

  #order(order: Order): void {
    const message = this.#orders.take(order);
    const refusal = refuseOrder(order);
    // The answer to a question of an earlier connection is nobody's any more.
    const late = order.type === "answer" && !this.#isCurrent(order.attempt);
    if (this.#stage.at === "ready" && !late) this.#transmit(message);
    else if (refusal !== undefined) this.#out.push(refusal);
  }

  #nudge(now: Instant): void {
    const stage = this.#stage;
    if (stage.at === "ready") {
      if (!this.#clock.isAsked) this.#transmit(this.#clock.ask(now));
      this.#clock.hurry();
    } else if (stage.at === "waiting" || (stage.at === "stopped" && stage.reason === "refused")) this.#connect(now);
  }

  #transmit(message: Exclude<ClientMessage, { type: "foreign-hello" }> | undefined): void {
    assert("attempt" in this.#stage, "there is a connection");
    if (message === undefined) return;
    this.#out.push({ type: "transmit", attempt: this.#stage.attempt, bytes: encodeClientMessage(message) });
  }
}
