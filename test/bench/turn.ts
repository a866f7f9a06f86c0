/**
 * What the STUN and TURN server costs, beside Node's bare sockets and beside coturn where it is installed, alternating in one run.
 *
 *     npm run -s bench:turn -- [--rounds 3] [--seconds 2] [--window 64] [--allocations 5000] [--json]
 *
 * - relay: ChannelData of 100 bytes to a peer that sends it back, as many in flight as `--window`; packets relayed (each way counts)
 *   per second of CPU of the process measured.
 * - binding: Binding requests, likewise; the bare process echoes.
 * - allocate: authenticated Allocate requests per second, memory for each allocation, sockets left after their end.
 * - loss: packets lost at 70 % of the rate that the relay round reached.
 *
 * Linux only. The machine must be quiet, and has two cores at least: one sends, one is measured.
 */
import { createSocket, type Socket } from "node:dgram";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Method } from "../../stun/proto/message.ts";
import { RawClient } from "../integration/stun/raw-client.ts";
import { request } from "../proto/stun/requests.ts";
import {
  CREDENTIAL,
  cpuSeconds,
  HAS_COTURN,
  openSockets,
  residentBytes,
  type Subject,
  startBare,
  startCoturn,
  startOurs,
} from "./turn-processes.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    window: { type: "string", default: "64" },
    allocations: { type: "string", default: "5000" },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const measureMs = Number(values.seconds) * 1_000;
const windowSize = Number(values.window);
const allocations = Number(values.allocations);

const PORTS = { ours: 23_478, coturn: 23_479, bareRelay: 23_480, bareEcho: 23_481, short: 23_482 };
const CHANNEL = 0x4001;
const PAYLOAD = new Uint8Array(100).fill(7);
const WARM_UP_MS = 1_000;
/** Life of the allocations whose end is waited for; see `--max-lifetime`. */
const LIFE_SECONDS = 12;

/** What one round on one process gave. */
interface Figure {
  readonly perCpuSecond: number;
  readonly perSecond: number;
}

const peer = await echoPeer();
const peerAt = { address: "127.0.0.1", port: peer.address().port };
const ours = await startOurs(PORTS.ours);
const subjects = {
  relay: [ours, await startBare("relay", PORTS.bareRelay, peerAt.port)],
  binding: [ours, await startBare("echo", PORTS.bareEcho)],
};
if (HAS_COTURN) {
  const coturn = await startCoturn(PORTS.coturn);
  subjects.relay.push(coturn);
  subjects.binding.push(coturn);
}

const relay = await alternate(subjects.relay, relayRound);
const binding = await alternate(subjects.binding, bindingRound);
const loss = await lossAt(ours, 0.7 * (relay["ours"]?.perSecond ?? 0));
for (const subject of new Set([...subjects.relay, ...subjects.binding])) await subject.stop();
const allocating = await allocateRound();
peer.close();

const report = {
  relay,
  relayOfBare: ratio(relay["ours"], relay["bare"]),
  relayOfCoturn: ratio(relay["ours"], relay["coturn"]),
  binding,
  bindingOfBare: ratio(binding["ours"], binding["bare"]),
  bindingOfCoturn: ratio(binding["ours"], binding["coturn"]),
  loss,
  allocate: allocating,
};
process.stdout.write(`${JSON.stringify(report, null, values.json ? undefined : 2)}\n`);

/** Rounds on each in turn, so that what disturbs the machine disturbs all; the median of each. */
async function alternate(
  all: readonly Subject[],
  round: (subject: Subject) => Promise<Figure>,
): Promise<Record<string, Figure>> {
  const figures = new Map<string, Figure[]>(all.map(({ name }) => [name, []]));
  for (let count = 0; count < rounds; count++) {
    for (const subject of all) {
      const figure = await round(subject);
      figures.get(subject.name)?.push(figure);
      say(`${round.name} ${subject.name}: ${figure.perCpuSecond} per CPU second, ${figure.perSecond} per second`);
    }
  }
  return Object.fromEntries([...figures].map(([name, list]) => [name, median(list)]));
}

async function relayRound(subject: Subject): Promise<Figure> {
  if (subject.name === "bare") {
    const client = await RawClient.open({ address: "127.0.0.1", port: subject.port });
    const bytes = new Uint8Array(104);
    bytes[0] = 0x40;
    bytes[3] = 100;
    return measure(subject, client, () => client.send(bytes), 2);
  }
  const client = await RawClient.open({ address: "127.0.0.1", port: subject.port }, CREDENTIAL);
  await client.allocate();
  await client.bind(CHANNEL, peerAt);
  const figure = await measure(
    subject,
    client,
    () => client.sendOnChannel(CHANNEL, PAYLOAD),
    2,
    async () => {
      await client.refresh(0);
    },
  );
  return figure;
}

async function bindingRound(subject: Subject): Promise<Figure> {
  const client = await RawClient.open({ address: "127.0.0.1", port: subject.port });
  const bytes = request(Method.binding);
  return measure(subject, client, () => client.send(bytes), 1);
}

/** Keeps a window of packets in flight; a lost one is made up for, so that the window never runs dry. */
async function measure(
  subject: Subject,
  client: RawClient,
  send: () => void,
  packetsPerRound: number,
  finish: () => Promise<void> = async () => {},
): Promise<Figure> {
  let answers = 0;
  let isOver = false;
  client.socket.removeAllListeners("message");
  client.socket.on("message", () => {
    answers++;
    if (!isOver) send();
  });
  for (let count = 0; count < windowSize; count++) send();
  await pause(WARM_UP_MS);
  const [answersBefore, cpuBefore, before] = [answers, cpuSeconds(subject.pid), performance.now()];
  await pause(measureMs);
  const count = (answers - answersBefore) * packetsPerRound;
  const figure = {
    perCpuSecond: Math.round(count / (cpuSeconds(subject.pid) - cpuBefore)),
    perSecond: Math.round((count / (performance.now() - before)) * 1_000),
  };
  isOver = true;
  await pause(100);
  await Promise.race([finish(), pause(200)]);
  client.close();
  return figure;
}

/** Sends at a fixed rate of relayed packets per second, and counts what does not come back. */
async function lossAt(
  subject: Subject,
  packetsPerSecond: number,
): Promise<{ rate: number; sent: number; lost: number }> {
  const client = await RawClient.open({ address: "127.0.0.1", port: subject.port }, CREDENTIAL);
  await client.allocate();
  await client.bind(CHANNEL, peerAt);
  let received = 0;
  client.onChannelData = () => {
    received++;
  };
  const perMs = packetsPerSecond / 2 / 1_000;
  const began = performance.now();
  let sent = 0;
  while (performance.now() - began < measureMs) {
    const due = Math.floor((performance.now() - began) * perMs);
    // At most a millisecond's worth at once: the generator's own hiccups are no burst of a network.
    for (const end = Math.min(due, sent + Math.ceil(perMs * 2)); sent < end; sent++)
      client.sendOnChannel(CHANNEL, PAYLOAD);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await pause(500);
  client.close();
  return { rate: Math.round(packetsPerSecond), sent, lost: sent - received };
}

async function allocateRound(): Promise<Record<string, number>> {
  const server = await startOurs(PORTS.short, [`--max-lifetime=${LIFE_SECONDS}s`]);
  const at = { address: "127.0.0.1", port: server.port };
  const first = await RawClient.open(at, CREDENTIAL);
  await first.allocate();
  await first.refresh(0);
  const clients: RawClient[] = [];
  for (let count = 0; count < allocations; count++) {
    const client = await RawClient.open(at, CREDENTIAL);
    client.borrowNonce(first);
    clients.push(client);
  }
  // Code is compiled, and buffers are there, before anything is counted.
  for (const client of clients.slice(0, 200)) {
    await client.allocate();
    await client.refresh(0);
  }
  await pause(200);
  const socketsBefore = openSockets(server.pid);
  const [memory, cpu, began] = [residentBytes(server.pid), cpuSeconds(server.pid), performance.now()];
  const queue = [...clients];
  const worker = async (): Promise<void> => {
    for (let client = queue.pop(); client !== undefined; client = queue.pop()) await client.allocate();
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  const seconds = (performance.now() - began) / 1_000;
  const cpuUsed = cpuSeconds(server.pid) - cpu;
  const bytesEach = (residentBytes(server.pid) - memory) / allocations;
  const socketsDuring = openSockets(server.pid) - socketsBefore;
  await pause((LIFE_SECONDS + 3) * 1_000);
  const socketsAfter = openSockets(server.pid) - socketsBefore;
  for (const client of clients) client.close();
  first.close();
  await server.stop();
  return {
    allocations,
    perSecond: Math.round(allocations / seconds),
    perCpuSecond: Math.round(allocations / cpuUsed),
    bytesEach: Math.round(bytesEach),
    socketsDuring,
    socketsAfter,
  };
}

async function echoPeer(): Promise<Socket> {
  const socket = createSocket({
    type: "udp4",
    recvBufferSize: 4 * 1_048_576,
    lookup: (address, _options, answer) => answer(null, address, 4),
  });
  socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return socket;
}

function median(figures: readonly Figure[]): Figure {
  const sorted = [...figures].sort((a, b) => a.perCpuSecond - b.perCpuSecond);
  return sorted[sorted.length >> 1] ?? { perCpuSecond: 0, perSecond: 0 };
}

function ratio(a: Figure | undefined, b: Figure | undefined): number | null {
  return a && b ? Math.round((a.perCpuSecond / b.perCpuSecond) * 1_000) / 1_000 : null;
}

function say(line: string): void {
  if (!values.json) process.stderr.write(`${line}\n`);
}
