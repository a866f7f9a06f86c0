import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Program, run, startStarling } from "../command.ts";
import { type Files, HAS_OPENSSL, makeFiles, SECRET, USER } from "./lab.ts";

/**
 * coturn's clients against `starling stun`, on loopback: every packet that they send through the relay must come back. Skipped
 * where coturn is not installed (Debian: `apt install coturn`).
 */
const HAS_COTURN = spawnSync("turnutils_uclient", []).error === undefined && HAS_OPENSSL;
const why = HAS_COTURN ? "" : " (skipped: turnutils_uclient or openssl is not installed)";
const LONG_TERM = ["-u", USER.username, "-w", USER.password];
const MESSAGES = 20;

describe.skipIf(!HAS_COTURN)(`coturn's clients${why}`, () => {
  let server: Program;
  let ports: { readonly udp: number; readonly tls: number };
  let peerPort: number;
  let files: Files;

  beforeAll(async () => {
    files = await makeFiles();
    server = startStarling([
      "stun",
      "--json",
      "--listen=127.0.0.1:0",
      "--tls-listen=127.0.0.1:0",
      `--tls-cert=${files.cert}`,
      `--tls-key=${files.key}`,
      "--alternate=127.0.0.2:0",
      "--relay-address=127.0.0.1",
      "--relay-address=::1",
      "--allow-peer=127.0.0.0/8",
      "--allow-peer=::1",
      "--user-allocations=2000",
      `--realm=${USER.realm}`,
      `--user-file=${files.users}`,
      `--secret-file=${files.secret}`,
    ]);
    const { listening } = JSON.parse(await server.line()) as { listening: { transport: string; port: number }[] };
    const portOf = (transport: string) => listening.find((at) => at.transport === transport)?.port ?? 0;
    ports = { udp: portOf("udp"), tls: portOf("tls") };
    peerPort = await freePort();
    new Program("turnutils_peer", ["-p", `${peerPort}`, "-L", "127.0.0.1", "-L", "::1"]);
  });
  afterAll(() => server.kill());

  /** Runs a client; its own count of packets sent, received and lost. */
  async function client(args: readonly string[], peer = "127.0.0.1"): Promise<Record<string, number | null>> {
    const port = args.includes("-S") ? ports.tls : ports.udp;
    const line = ["-p", `${port}`, "-e", peer, "-r", `${peerPort}`, "-n", `${MESSAGES}`, ...args, "127.0.0.1"];
    const { stdout, stderr, code } = await run("turnutils_uclient", line, { timeoutMs: 60_000 });
    const counts = [...`${stdout}${stderr}`.matchAll(/tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g)].at(-1);
    const lost = /Total lost packets (\d+)/.exec(`${stdout}${stderr}`);
    return { code, sent: Number(counts?.[1]), received: Number(counts?.[2]), lost: lost && Number(lost[1]) };
  }

  describe.concurrent("lose nothing", () => {
    // Not -Z: coturn 4.6.1 asks for the second family by the number that a draft had, and refreshes it although it was not given.
    // Without -c each client has a second flow for RTCP; with -y each is the other's peer.
    test.each([
      ["over UDP", [], 2],
      ["over TCP", ["-t"], 2],
      ["over TLS", ["-S", "-t"], 2],
      ["with Send indications", ["-s"], 2],
      ["with Send indications over TCP", ["-s", "-t"], 2],
      ["from client to client", ["-y"], 4],
      ["from client to client over TLS", ["-y", "-S", "-t"], 4],
      ["without RTCP", ["-c"], 1],
      ["with DONT-FRAGMENT", ["-g"], 2],
      ["with IPv4 asked for", ["-X"], 2],
      ["with mandatory padding", ["-D"], 2],
      ["with many requests more", ["-G"], 2],
    ] as const)(
      "%s",
      async (_name, flags, flows) => {
        const total = flows * MESSAGES;
        expect(await client([...LONG_TERM, ...flags])).toEqual({ code: 0, sent: total, received: total, lost: 0 });
      },
      60_000,
    );

    test("over an IPv6 relay", async () => {
      const total = 2 * MESSAGES;
      expect(await client([...LONG_TERM, "-x"], "::1")).toEqual({ code: 0, sent: total, received: total, lost: 0 });
    }, 60_000);

    test("with time-limited credentials", async () => {
      const total = 2 * MESSAGES;
      expect(await client(["-W", SECRET])).toEqual({ code: 0, sent: total, received: total, lost: 0 });
    }, 60_000);
  });

  test.each([50, 200])(
    "%d at once lose nothing",
    async (clients) => {
      const outcome = await client([...LONG_TERM, "-m", `${clients}`, "-c"]);
      expect(outcome).toEqual({ code: 0, sent: clients * MESSAGES, received: clients * MESSAGES, lost: 0 });
    },
    90_000,
  );

  test("are refused with a wrong password", async () => {
    expect((await client(["-u", USER.username, "-w", "wrong"]))["code"]).not.toBe(0);
  }, 60_000);

  test("learn their address and how a NAT behaves", async () => {
    const plain = await run("turnutils_stunclient", ["-p", `${ports.udp}`, "127.0.0.1"]);
    expect(plain.stdout + plain.stderr).toMatch(/UDP reflexive addr: 127\.0\.0\.1/);
    const found = await run("turnutils_natdiscovery", [
      "-m",
      "-f",
      "-p",
      `${ports.udp}`,
      "-L",
      "127.0.0.1",
      "127.0.0.1",
    ]);
    expect(found.stdout + found.stderr).toContain("Endpoint Independent Mapping");
    expect(found.stdout + found.stderr).toContain("Endpoint Independent Filtering");
  }, 60_000);
});

async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}
