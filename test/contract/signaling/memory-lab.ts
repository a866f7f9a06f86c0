import type { RoomsInput } from "../../../signaling/proto/events.ts";
import { Rooms } from "../../../signaling/proto/rooms.ts";
import type { OpenAnswer, SignalingEvent } from "../../../src/drivers/signaling.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { SignalingClient } from "../../../src/proto/signaling/client.ts";
import type { SignalingInput } from "../../../src/proto/signaling/client-events.ts";
import { FakeAuthority, type Identity, isValid } from "./authority.ts";
import type { Lab, LabClient, LabClientOptions } from "./suite.ts";

/** One-way delay of every message, ms. */
const DELAY_MS = 5;
/** A test that waits for longer than this (of its own clock) waits in vain. */
const PATIENCE_MS = 600_000;

/** Both cores in one process under one clock that jumps from event to event. */
export class MemoryLab implements Lab {
  readonly authority = new FakeAuthority(() => this.#now);
  #now = 1_700_000_000_000;
  #rooms: Rooms | undefined;
  readonly #agenda: { readonly at: number; readonly run: () => void }[] = [];
  readonly #clients: MemoryClient[] = [];
  /** Client by connection of the server that runs. */
  readonly #wires = new Map<number, { readonly client: MemoryClient; readonly attempt: number }>();
  #connections = 0;

  now(): number {
    return this.#now;
  }

  async startServer(): Promise<void> {
    this.#rooms = new Rooms({
      names: ["server"],
      random: new SeededRandom(this.#connections),
      desks: this.authority.desks,
    });
  }

  async killServer(): Promise<void> {
    this.#rooms = undefined;
    for (const { client, attempt } of this.#wires.values()) {
      this.later(() => client.input({ type: "closed", attempt, reason: "reset" }));
    }
    this.#wires.clear();
  }

  async closeServer(): Promise<void> {
    this.serve({ type: "drain" });
  }

  connect(options: LabClientOptions): LabClient {
    const client = new MemoryClient(this, options, this.#clients.length);
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {}

  later(run: () => void): void {
    this.#agenda.push({ at: this.#now + DELAY_MS, run });
  }

  dial(client: MemoryClient, attempt: number): void {
    this.later(() => {
      if (this.#rooms === undefined) {
        client.input({ type: "closed", attempt, reason: "refused" });
        return;
      }
      const connection = ++this.#connections;
      this.#wires.set(connection, { client, attempt });
      client.wire = connection;
      this.serve({ type: "connected", connection, address: `192.0.2.${connection % 200}` });
      this.later(() => client.input({ type: "opened", attempt }));
    });
  }

  hangUp(connection: number): void {
    this.#wires.delete(connection);
    this.later(() => this.serve({ type: "disconnected", connection }));
  }

  serve(input: RoomsInput): void {
    for (const output of this.#rooms?.handle(input, this.#now) ?? []) {
      if (output.type === "send") {
        const wire = this.#wires.get(output.connection);
        this.later(() => wire?.client.input({ type: "received", attempt: wire.attempt, bytes: output.bytes }));
      } else if (output.type === "ping")
        this.later(() => this.serve({ type: "ponged", connection: output.connection }));
      else if (output.type === "close") {
        const wire = this.#wires.get(output.connection);
        this.hangUp(output.connection);
        this.later(() => wire?.client.input({ type: "closed", attempt: wire.attempt, reason: "closed" }));
      } else if (output.type === "authenticate") {
        const { connection, request } = output;
        this.later(() => this.serve({ type: "authenticated", connection, verdict: this.authority.judge(request) }));
      } else if (output.type === "renew") {
        const { connection, request } = output;
        this.later(() => this.serve({ type: "renewed", connection, verdict: this.authority.extend(request) }));
      } else if (output.type === "exchange") {
        const { connection, request } = output;
        const bytes = this.authority.answer(request.cluster, request.bytes);
        this.later(() => this.serve({ type: "exchanged", connection, bytes }));
      } else if (output.type === "check-desk") {
        const { connection, claim } = output;
        const desk = this.authority.known(claim.peer, claim.desk);
        this.later(() => this.serve({ type: "desk-checked", connection, desk }));
      }
    }
  }

  /** Lets the next thing happen; false when nothing ever will. */
  step(): boolean {
    const message = this.#agenda[0];
    const server = this.#rooms?.deadline() ?? Number.POSITIVE_INFINITY;
    const waking = this.#clients.toSorted((a, b) => a.deadline() - b.deadline())[0];
    const at = Math.min(
      message?.at ?? Number.POSITIVE_INFINITY,
      server,
      waking?.deadline() ?? Number.POSITIVE_INFINITY,
    );
    if (at === Number.POSITIVE_INFINITY) return false;
    this.#now = Math.max(this.#now, at);
    if (message?.at === at) {
      this.#agenda.shift();
      message.run();
    } else if (server === at) this.serve({ type: "timeout" });
    else waking?.input({ type: "timeout" });
    return true;
  }
}

class MemoryClient implements LabClient {
  wire = 0;
  readonly #lab: MemoryLab;
  readonly #machine: SignalingClient;
  readonly #identity: Identity;
  #open: OpenAnswer | undefined;
  readonly #events: SignalingEvent[] = [];

  constructor(lab: MemoryLab, { identity, credential, cluster = "cluster-a" }: LabClientOptions, number: number) {
    this.#lab = lab;
    this.#identity = identity;
    this.#machine = new SignalingClient({
      peer: identity.peer,
      cluster,
      serverName: "server",
      run: { instance: new Uint8Array(16).fill(number), startedAt: lab.now() },
      credential,
      random: new SeededRandom(number),
    });
  }

  deadline(): number {
    return this.#machine.deadline() ?? Number.POSITIVE_INFINITY;
  }

  command(command: SignalingInput): void {
    this.input(command);
  }

  input(input: SignalingInput): void {
    for (const output of this.#machine.handle(input, this.#lab.now())) {
      if (output.type === "connect") this.#lab.dial(this, output.attempt);
      else if (output.type === "disconnect") this.#lab.hangUp(this.wire);
      else if (output.type === "transmit") {
        const connection = this.wire;
        this.#lab.later(() => this.#lab.serve({ type: "message", connection, bytes: output.bytes }));
      } else if (output.type === "sign") {
        const signature = this.#identity.keys.sign(output.label, output.body);
        if (signature instanceof Uint8Array)
          this.#lab.later(() => this.input({ type: "signed", signature, resume: output.resume }));
      } else if (output.type === "seek-desk") {
        const { attempt, token, desks } = output;
        const asked = this.#identity.keys.askDesk(token, desks);
        if (asked instanceof Promise) throw new Error("the keys of this laboratory answer at once");
        if (typeof asked === "string") this.input({ type: "no-desk", attempt, detail: asked });
        else {
          this.#open = asked.open;
          this.input({ type: "request", attempt, kid: asked.kid, bytes: asked.request });
        }
      } else if (output.type === "unseal") {
        const answer = this.#open?.(output.bytes);
        if (answer) this.input({ type: "unsealed", attempt: output.attempt, answer });
      } else if (output.type === "agree") {
        throw new Error("the agents of this laboratory have no share");
      } else if (output.type === "verify") {
        if (output.statements.every(isValid))
          this.#lab.later(() => this.input({ type: "verified", resume: output.resume }));
      } else this.#events.push(output);
    }
  }

  async next<Type extends SignalingEvent["type"]>(type: Type): Promise<Extract<SignalingEvent, { type: Type }>> {
    const end = this.#lab.now() + PATIENCE_MS;
    for (;;) {
      const index = this.#events.findIndex((event) => event.type === type);
      const [event] = index < 0 ? [] : this.#events.splice(index, 1);
      if (event !== undefined) return event as Extract<SignalingEvent, { type: Type }>;
      if (this.#lab.now() > end || !this.#lab.step())
        throw new Error(`no ${type} came; ${JSON.stringify(this.#events)}`);
    }
  }

  async leave(): Promise<void> {
    this.input({ type: "leave" });
  }
}
