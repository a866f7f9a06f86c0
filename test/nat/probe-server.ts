import { createSocket, type Socket } from "node:dgram";
import { createServer } from "node:net";
import { OPEN_TCP_PORTS } from "./nat-types.ts";
import { PROBE_PORTS, type ProbeRequest } from "./probe-messages.ts";

/**
 * The other end of the lab's probe: `probe-server.ts ADDRESS ADDRESS`. Tells everybody who asks where he seems to come from, and sends
 * to whom it is told from any of its four sockets. Nothing of the project's own STUN server: it is to be judged by this.
 */
const addresses = process.argv.slice(2);
const sockets = new Map<string, Socket>();

for (const address of addresses) {
  for (const port of PROBE_PORTS) {
    const socket = createSocket("udp4");
    sockets.set(`${address}:${port}`, socket);
    socket.on("message", (bytes, from) => {
      const request = JSON.parse(bytes.toString()) as ProbeRequest;
      const through = request.via === undefined ? socket : sockets.get(request.via);
      const { address: toAddress, port: toPort } = request.to ?? from;
      const answer = JSON.stringify({ id: request.id, address: from.address, port: from.port });
      setTimeout(() => through?.send(answer, toPort, toAddress), request.delayMs ?? 0);
    });
    await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  }
}
const [, second = ""] = addresses;
// One port that a network which blocks UDP lets out, and one that it does not. The lab's servers leave both alone.
for (const port of [OPEN_TCP_PORTS[1], PROBE_PORTS[0]]) {
  await new Promise<void>((resolve) => createServer((socket) => socket.end()).listen(port, second, resolve));
}
process.stdout.write("ready\n");
