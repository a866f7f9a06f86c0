/**
 * What the server is measured against: Node's sockets alone, set up like ours, without a look at the bytes.
 *
 *     node test/bench/turn-bare.ts echo PORT
 *     node test/bench/turn-bare.ts relay PORT PEER-PORT
 */
import { createSocket, type Socket } from "node:dgram";

const [mode, port, peerPort] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];

const bound = (at: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = createSocket({
      type: "udp4",
      recvBufferSize: 4 * 1_048_576,
      lookup: (address, _options, answer) => answer(null, address, 4),
    });
    socket.bind(at, "127.0.0.1", () => resolve(socket));
  });

const front = await bound(port);
if (mode === "echo") front.on("message", (bytes, from) => front.send(bytes, from.port, from.address));
else {
  const back = await bound(0);
  let client = { port: 0, address: "127.0.0.1" };
  front.on("message", (bytes, from) => {
    client = from;
    back.send(bytes, peerPort, "127.0.0.1");
  });
  back.on("message", (bytes) => front.send(bytes, client.port, client.address));
}
process.stdout.write("ready\n");
