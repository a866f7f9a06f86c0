import { type SignalingServer, startSignalingServer } from "../../../signaling/server.ts";
import { systemClock } from "../../../src/drivers/clock.ts";
import { systemRandom } from "../../../src/drivers/entropy.ts";
import {
  connectSignaling,
  type SignalingCommand,
  type SignalingConnection,
  type SignalingEvent,
} from "../../../src/drivers/signaling.ts";
import { randomBytes } from "../../../src/proto/random.ts";
import { FakeAuthority } from "./authority.ts";
import type { Lab, LabClient, LabClientOptions } from "./suite.ts";

/** A test waits no longer than this for one event, ms. */
const PATIENCE_MS = 15_000;

const random = systemRandom();

/** Both drivers over loopback. */
export class SocketLab implements Lab {
  readonly now = systemClock();
  readonly authority = new FakeAuthority(this.now);
  readonly #clients: SocketClient[] = [];
  #server: SignalingServer | undefined;
  /** Fixed by the first start, so that agents find the server again after a restart. */
  #port = 0;

  async startServer(): Promise<void> {
    this.#server = await startSignalingServer({
      listen: { host: "127.0.0.1", port: this.#port },
      authority: this.authority.asAuthority(),
      random,
      now: this.now,
    });
    this.#port = this.#server.port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}`;
  }

  get server(): SignalingServer {
    if (this.#server === undefined) throw new Error("the server is not running");
    return this.#server;
  }

  async killServer(): Promise<void> {
    await this.#server?.kill();
  }

  async closeServer(): Promise<void> {
    await this.#server?.close();
  }

  connect(options: LabClientOptions): LabClient {
    const client = new SocketClient(this, options);
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.#server?.close();
  }
}

class SocketClient implements LabClient {
  readonly #connection: SignalingConnection;
  readonly #events: SignalingEvent[] = [];
  #wake: (() => void) | undefined;

  constructor(lab: SocketLab, { identity, credential, cluster = "cluster-a" }: LabClientOptions) {
    const run = { instance: randomBytes(random, 16), startedAt: lab.now() };
    const { peer, keys } = identity;
    const options = { url: lab.url, peer, keys, cluster, run, credential, random, now: lab.now };
    this.#connection = connectSignaling(options, (event) => {
      this.#events.push(event);
      this.#wake?.();
    });
  }

  command(command: SignalingCommand): void {
    this.#connection.command(command);
  }

  async next<Type extends SignalingEvent["type"]>(type: Type): Promise<Extract<SignalingEvent, { type: Type }>> {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    for (;;) {
      const index = this.#events.findIndex((event) => event.type === type);
      const [event] = index < 0 ? [] : this.#events.splice(index, 1);
      if (event !== undefined) return event as Extract<SignalingEvent, { type: Type }>;
      if (patience.aborted) throw new Error(`no ${type} came; ${JSON.stringify(this.#events)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        patience.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  leave(): Promise<void> {
    return this.#connection.leave();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
