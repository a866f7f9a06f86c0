import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { callControl } from "../../src/drivers/control.ts";
import type { AgentStatus, LinkStatus } from "../../src/status.ts";
import { type Child, output, startChild } from "./child.ts";
import { type Namespace, runTool } from "./namespace.ts";
import { type Network, SERVER_ADDRESSES } from "./network.ts";
import { ICE_URLS, SECRET, startTurn, TLS_PORT, type TurnWord } from "./turn-servers.ts";

/** What stands on the lab's server, a cluster with its signaling and its STUN and TURN server, and agents that use it. */

const [FIRST, SECOND] = SERVER_ADDRESSES;
const COMMAND = "../../src/cli/starling.js";

export type StackWord = "native" | "werift" | "auto";

export class Site {
  readonly #network: Network;
  readonly #folder: string;
  readonly #turn: TurnWord;
  #signaling: Child | undefined;
  #stun: Child | undefined;
  #agents = 0;

  private constructor(network: Network, folder: string, turn: TurnWord) {
    this.#network = network;
    this.#folder = folder;
    this.#turn = turn;
  }

  /** Makes a cluster and starts its servers; all files go into `folder`. */
  static async create(network: Network, folder: string, turn: TurnWord): Promise<Site> {
    const site = new Site(network, folder, turn);
    const made = [
      site.#command("init", "--signaling", `ws://${SECOND}:${TLS_PORT}`),
      runTool("openssl", [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=lab"],
        ...["-addext", `subjectAltName=IP:${FIRST}`],
        ...["-keyout", site.#path("key.pem"), "-out", site.#path("cert.pem")],
      ]),
      writeFile(site.#path("secret"), `${SECRET}\n`, { mode: 0o600 }),
    ];
    await Promise.all(made);
    await Promise.all([site.startStun(), site.#startSignaling(), site.#invite()]);
    return site;
  }

  /** Starts the STUN and TURN server, again if it was stopped. */
  async startStun(): Promise<void> {
    const files = { secret: this.#path("secret"), cert: this.#path("cert.pem"), key: this.#path("key.pem") };
    this.#stun = await startTurn(this.#turn, this.#network.server, files);
  }

  async stopStun(): Promise<void> {
    await this.#stun?.stop();
  }

  /** Starts an agent on a host. It is up when it has joined the cluster. */
  async agent(host: Namespace, stack: StackWord): Promise<LabAgent> {
    const state = this.#path(`agent-${++this.#agents}`);
    await mkdir(state, { mode: 0o700 });
    await writeFile(join(state, "config.yaml"), "log: debug\n");
    const args = ["--state", state, "--name", `agent-${this.#agents}`, "--rtc", stack];
    const child = startChild(host, "agent.ts", [...args, "--invite-file", this.#path("invite"), "--json"], {
      NODE_EXTRA_CA_CERTS: this.#path("cert.pem"),
      NODE_COMPILE_CACHE: this.#path("cache"),
    });
    const { id } = JSON.parse(await child.line()) as { id: string };
    return new LabAgent(id, state, child);
  }

  async #startSignaling(): Promise<void> {
    this.#signaling = startChild(this.#network.server, COMMAND, [
      ...["signal", "--json", "--state", this.#path("cluster"), "--listen", `${SECOND}:${TLS_PORT}`],
      ...["--turn", ...ICE_URLS, "--turn-secret-file", this.#path("secret")],
    ]);
    await this.#signaling.line();
  }

  async #invite(): Promise<void> {
    await writeFile(this.#path("invite"), await this.#command("invite", "--uses", "10000", "--expires", "24h"), {
      mode: 0o600,
    });
  }

  #command(...args: readonly string[]): Promise<string> {
    return output(startChild(this.#network.server, COMMAND, [...args, "--state", this.#path("cluster")]));
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

/** A running agent. */
export class LabAgent {
  readonly id: string;
  readonly child: Child;
  readonly #state: string;

  constructor(id: string, state: string, child: Child) {
    this.id = id;
    this.child = child;
    this.#state = state;
  }

  /** What `starling COMMAND` would ask the agent. */
  call(command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return callControl(this.#state, command, parameters);
  }

  /** What only agents of the lab know: `send`, `finish` and `received`. */
  callLab(command: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return callControl(join(this.#state, "lab"), command, parameters);
  }

  async status(): Promise<AgentStatus> {
    return (await this.call("status")) as AgentStatus;
  }

  async linkTo(peer: string): Promise<LinkStatus | undefined> {
    return (await this.status()).links.find((link) => link.peer === peer);
  }

  /** When a log line of this message was first written, Unix ms. */
  loggedAt(message: string): number | undefined {
    const entry = this.#log().find(({ msg }) => msg === message);
    return entry && Date.parse(entry.time);
  }

  /** Where the last dial that failed had got to. */
  lastFailure(): string | undefined {
    const entry = this.#log().findLast(({ msg }) => msg === "dial failed");
    return entry && `${entry.stage}: ${entry.reason}`;
  }

  /** Announces that it leaves, and ends. */
  async leave(): Promise<void> {
    this.child.process.kill("SIGTERM");
    const patience = setTimeout(() => this.child.process.kill("SIGKILL"), 5_000);
    await this.child.ended;
    clearTimeout(patience);
  }

  stop(): Promise<void> {
    return this.child.stop();
  }

  #log(): LogLine[] {
    const lines = this.child.stderr.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
    return lines.map((line) => JSON.parse(line) as LogLine);
  }
}

interface LogLine {
  readonly time: string;
  readonly msg: string;
  readonly stage?: string;
  readonly reason?: string;
}
