import { createSocket, type Socket } from "node:dgram";
import { createConnection } from "node:net";
import { OPEN_TCP_PORTS } from "./nat-types.ts";
import { PROBE_PORTS, type ProbeAnswer, type ProbeRequest, type Sighting } from "./probe-messages.ts";

/**
 * Looks at a NAT from behind it: `probe.ts ADDRESS ADDRESS` of the other end. Writes a {@link Sighting} to standard output.
 *
 * Mapping: one socket asks two ports of one address and one of another, and compares where it seemed to come from. Filtering: a
 * fresh socket asks one remote end to have others answer, to whom it has never sent. Early packets: another remote end sends
 * first, then the socket asks it.
 */

/** No path of the lab takes longer, on a machine that is busy. */
const PATIENCE_MS = 1_000;

const [one = "", other = ""] = process.argv.slice(2);
const [port, otherPort] = PROBE_PORTS;
let requests = 0;

/** The answer; undefined when none comes. Others than the one who was asked may give it. */
function ask(
  socket: Socket,
  address: string,
  toPort: number,
  more: Omit<ProbeRequest, "id"> = {},
): Promise<ProbeAnswer | undefined> {
  const request: ProbeRequest = { id: ++requests, ...more };
  return new Promise((resolve) => {
    const heard = (bytes: Buffer): void => {
      const answer = JSON.parse(bytes.toString()) as ProbeAnswer;
      if (answer.id === request.id) settle(answer);
    };
    const settle = (answer: ProbeAnswer | undefined): void => {
      clearTimeout(timer);
      socket.off("message", heard);
      resolve(answer);
    };
    const timer = setTimeout(() => settle(undefined), PATIENCE_MS);
    socket.on("message", heard);
    socket.send(JSON.stringify(request), toPort, address);
  });
}

async function withSocket<Found>(use: (socket: Socket) => Promise<Found>): Promise<Found> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, resolve));
  try {
    return await use(socket);
  } finally {
    socket.close();
  }
}

function mapping(): Promise<Pick<Sighting, "mapping" | "keepsPort"> | undefined> {
  return withSocket(async (socket) => {
    const first = await ask(socket, one, port);
    const second = await ask(socket, one, otherPort);
    const third = await ask(socket, other, port);
    if (!first || !second || !third) return undefined;
    const keepsPort = first.port === socket.address().port;
    if (first.port === second.port && second.port === third.port) return { mapping: "endpoint-independent", keepsPort };
    return { mapping: first.port === second.port ? "address-dependent" : "address-and-port-dependent", keepsPort };
  });
}

function filtering(): Promise<Pick<Sighting, "filtering">> {
  return withSocket(async (socket) => {
    if (await ask(socket, one, port, { via: `${other}:${otherPort}` })) return { filtering: "endpoint-independent" };
    if (await ask(socket, one, port, { via: `${one}:${otherPort}` })) return { filtering: "address-dependent" };
    return { filtering: "address-and-port-dependent" };
  });
}

/** A remote end sends to us before we to it: do we still seem to come from where it sent to? */
function breaksWhenEarly(): Promise<boolean> {
  return withSocket(async (socket) => {
    const before = await ask(socket, one, port);
    await ask(socket, one, port, { via: `${other}:${port}` });
    const after = await ask(socket, other, port);
    return before !== undefined && after !== undefined && before.port !== after.port;
  });
}

function reaches(toPort: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: other, port: toPort, timeout: PATIENCE_MS });
    const settle = (reached: boolean) => (): void => {
      socket.destroy();
      resolve(reached);
    };
    socket.once("connect", settle(true)).once("timeout", settle(false)).once("error", settle(false));
  });
}

const [open, elsewhere] = await Promise.all([reaches(OPEN_TCP_PORTS[1]), reaches(port)]);
const tcp = { open, other: elsewhere };
const mapped = await mapping();
const sighting: Sighting = mapped
  ? {
      udp: true,
      tcp,
      ...mapped,
      ...(await filtering()),
      // Only where the mapping does not change anyhow.
      ...(mapped.mapping === "endpoint-independent" && { breaksWhenEarly: await breaksWhenEarly() }),
    }
  : { udp: false, tcp };
process.stdout.write(`${JSON.stringify(sighting)}\n`);
