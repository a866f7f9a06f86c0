import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { untrustedIssuerOf } from "../src/drivers/http-look.ts";
import { Runner } from "../src/host/runner.ts";
import type { Instant } from "../src/proto/machine.ts";
import type { Transport } from "../src/proto/negotiation/plan.ts";
import type { Random } from "../src/proto/random.ts";
import type { Endpoint, Family } from "./proto/address.ts";
import { type Behaviour, Discovery, type DiscoveryInput, type DiscoveryOutput } from "./proto/discovery.ts";
import {
  type ProbeCredential,
  ServerProbe,
  type ServerProbeInput,
  type ServerProbeOutput,
  type ServerProbeReport,
} from "./proto/server-probe.ts";
import { StreamFramer } from "./proto/stream-framer.ts";

/** Drives {@link Discovery} and {@link ServerProbe} over sockets of their own, which are gone when the answer is there. */

export interface CheckContext {
  readonly random: Random;
  readonly now: () => Instant;
}

/** Finds out what the NAT before this machine does with one family. Never rejects: without servers or sockets nothing is known. */
export async function discoverBehaviour(
  servers: readonly Endpoint[],
  family: Family,
  own: ReadonlySet<string>,
  { random, now }: CheckContext,
): Promise<Behaviour> {
  const sockets = [openUdp(family), openUdp(family)] as const;
  const done = Promise.withResolvers<Behaviour>();
  const discovery = new Discovery(servers, own, random);
  const runner: Runner<DiscoveryInput, DiscoveryOutput> = new Runner(
    discovery,
    now,
    () => ({ type: "timeout" }),
    (output) => {
      if (output.type === "done") done.resolve(output.behaviour);
      else sockets[output.socket].send(output.bytes, output.to.port, output.to.address, () => undefined);
    },
  );
  for (const socket of sockets) socket.on("message", (bytes) => runner.input({ type: "packet", bytes }));
  runner.input({ type: "begin" });
  try {
    return await done.promise;
  } finally {
    runner.close();
    for (const socket of sockets) socket.close();
  }
}

/** A server to be asked. */
export interface ProbeTarget {
  readonly host: string;
  readonly port: number;
  readonly transport: Transport;
  readonly credential: ProbeCredential | undefined;
}

export interface ProbeOutcome extends ServerProbeReport {
  /** Who made the certificate, where this machine does not trust it: a private one, or somebody who opens TLS on the way. */
  readonly untrustedIssuer: string | undefined;
}

/** The longest that connecting, TLS included, may take, ms. */
const CONNECT_MS = 5_000;
/** The longest message taken over a stream, bytes. */
const MAX_ANSWER_BYTES = 2_048;

/** Asks one server whether it does its work. Never rejects. */
export async function probeServer(target: ProbeTarget, context: CheckContext): Promise<ProbeOutcome> {
  if (target.transport === "udp") return { ...(await probeOverUdp(target, context)), untrustedIssuer: undefined };
  const opened = await openStream(target);
  if (typeof opened === "string") return { ...SILENT, error: opened, untrustedIssuer: undefined };
  const untrustedIssuer = opened instanceof TLSSocket ? untrustedIssuerOf(opened) : undefined;
  return { ...(await probeOverStream(opened, target, context)), untrustedIssuer };
}

const SILENT: ServerProbeReport = { rttMs: undefined, mapped: undefined, relayed: undefined, error: undefined };

async function probeOverUdp(target: ProbeTarget, context: CheckContext): Promise<ServerProbeReport> {
  const socket = openUdp(target.host.includes(":") ? 6 : 4);
  try {
    return await runProbe(target, "datagram", context, (take, fail) => {
      socket.on("message", take);
      return (bytes) => socket.send(bytes, target.port, target.host, (error) => error && fail(error.message));
    });
  } finally {
    socket.close();
  }
}

async function probeOverStream(socket: Socket, target: ProbeTarget, context: CheckContext): Promise<ServerProbeReport> {
  const framer = new StreamFramer();
  try {
    return await runProbe(target, "stream", context, (take, fail) => {
      socket.on("data", (chunk: Buffer) => {
        const isStun = framer.push(chunk, MAX_ANSWER_BYTES, take);
        if (!isStun) fail("something that is no TURN server answers there: a proxy, or a portal that wants a login");
      });
      socket.on("close", () => fail("it closed the connection"));
      return (bytes) => socket.write(bytes);
    });
  } finally {
    socket.destroy();
  }
}

function runProbe(
  { credential }: ProbeTarget,
  transport: "datagram" | "stream",
  { random, now }: CheckContext,
  wire: (take: (bytes: Uint8Array) => void, fail: (reason: string) => void) => (bytes: Uint8Array) => void,
): Promise<ServerProbeReport> {
  return new Promise((resolve) => {
    const finish = (report: ServerProbeReport): void => {
      runner.close();
      resolve(report);
    };
    const runner: Runner<ServerProbeInput, ServerProbeOutput> = new Runner(
      new ServerProbe(credential, transport, random),
      now,
      () => ({ type: "timeout" }),
      (output) => {
        if (output.type === "send") send(output.bytes);
        else finish(output.report);
      },
    );
    const send = wire(
      (bytes) => runner.input({ type: "packet", bytes }),
      (error) => finish({ ...SILENT, error }),
    );
    runner.input({ type: "begin" });
  });
}

function openUdp(family: Family): UdpSocket {
  const socket = createSocket({ type: family === 4 ? "udp4" : "udp6" });
  // A family that this machine lacks: nothing is answered, which says it all.
  socket.on("error", () => undefined);
  return socket;
}

/** An open connection; a text: why there is none. A certificate that is not trusted is no reason here: it is reported. */
function openStream({ host, port, transport }: ProbeTarget): Promise<Socket | string> {
  return new Promise((resolve) => {
    const isTls = transport === "tls";
    const name = isIP(host) === 0 ? { servername: host } : {};
    const socket = isTls ? connectTls({ host, port, rejectUnauthorized: false, ...name }) : connectTcp({ host, port });
    const timer = setTimeout(() => finish("no connection within 5 s"), CONNECT_MS);
    const finish = (outcome: Socket | string): void => {
      clearTimeout(timer);
      if (typeof outcome === "string") socket.destroy();
      resolve(outcome);
    };
    socket.once(isTls ? "secureConnect" : "connect", () => finish(socket));
    socket.on("error", (error: NodeJS.ErrnoException) => finish(`no connection (${error.code ?? error.message})`));
  });
}
