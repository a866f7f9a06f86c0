import { describe, expect, test } from "vitest";
import type { NatFiltering, NatMapping } from "../../../src/proto/negotiation/nat-verdict.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { addressBytes, type Endpoint, endpointText } from "../../../stun/proto/address.ts";
import { Attribute } from "../../../stun/proto/attributes.ts";
import { type Behaviour, Discovery, type DiscoveryOutput } from "../../../stun/proto/discovery.ts";
import { MessageClass, Method, parseMessage } from "../../../stun/proto/message.ts";
import { MessageWriter } from "../../../stun/proto/message-writer.ts";

/** A NAT of RFC 4787 with servers of RFC 5780 behind it, as a model: what is sent is answered, refused or lost at once. */

const SERVER: Endpoint = { address: "203.0.113.1", port: 3_478 };
const OTHER: Endpoint = { address: "203.0.113.2", port: 3_479 };
const PUBLIC = "198.51.100.9";
const OWN = "10.0.0.2";

interface Nat {
  readonly mapping: "none" | "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
  readonly filtering: "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
}

class World {
  readonly #nat: Nat;
  readonly #twoAddresses: boolean;
  readonly #reached = new Map<number, Endpoint[]>();
  readonly #ports = new Map<string, number>();
  /** Loses the first so many packets. */
  losses = 0;

  constructor(nat: Nat, twoAddresses = true) {
    this.#nat = nat;
    this.#twoAddresses = twoAddresses;
  }

  /** The answer that comes back, if one does. */
  send({ socket, to, bytes }: Extract<DiscoveryOutput, { type: "send" }>): Uint8Array | undefined {
    if (this.losses-- > 0) return undefined;
    this.#reached.set(socket, [...(this.#reached.get(socket) ?? []), to]);
    const request = parseMessage(bytes);
    if (request === undefined) return undefined;
    const at = request.find(Attribute.changeRequest);
    const flags = at === 0 ? 0 : (request.bytes[at + 3] as number);
    const swap = (endpoint: Endpoint, other: Endpoint): Endpoint => ({
      address: flags & 4 ? other.address : endpoint.address,
      port: flags & 2 ? other.port : endpoint.port,
    });
    const from = to.address === OTHER.address ? swap(to, SERVER) : swap(to, OTHER);
    if (!this.#letsIn(socket, from)) return undefined;
    const mapped = this.#map(socket, to);
    const target = new Uint8Array(128);
    const writer = new MessageWriter(target, MessageClass.success, Method.binding, bytes);
    writer.xorAddress(Attribute.xorMappedAddress, addressBytes(mapped.address) as Uint8Array, mapped.port);
    if (this.#twoAddresses)
      writer.address(Attribute.otherAddress, addressBytes(OTHER.address) as Uint8Array, OTHER.port);
    return target.subarray(0, writer.finish());
  }

  #map(socket: number, to: Endpoint): Endpoint {
    if (this.#nat.mapping === "none") return { address: OWN, port: 5_000 + socket };
    const towards =
      this.#nat.mapping === "endpoint-independent"
        ? ""
        : this.#nat.mapping === "address-dependent"
          ? to.address
          : endpointText(to);
    const key = `${socket} ${towards}`;
    if (!this.#ports.has(key)) this.#ports.set(key, 40_000 + this.#ports.size);
    return { address: PUBLIC, port: this.#ports.get(key) as number };
  }

  #letsIn(socket: number, from: Endpoint): boolean {
    const reached = this.#reached.get(socket) ?? [];
    if (this.#nat.filtering === "endpoint-independent") return true;
    if (this.#nat.filtering === "address-dependent") return reached.some(({ address }) => address === from.address);
    return reached.some((one) => endpointText(one) === endpointText(from));
  }
}

/** Runs a discovery to its end, and says when that was. */
function discover(world: World | undefined, servers: readonly Endpoint[] = [SERVER]): [Behaviour, number] {
  const discovery = new Discovery(servers, new Set([OWN]), new SeededRandom(1));
  let now = 0;
  const queue: DiscoveryOutput[] = [...discovery.handle({ type: "begin" }, now)];
  for (let turn = 0; turn < 200; turn++) {
    const output = queue.shift();
    if (output?.type === "done") return [output.behaviour, now];
    if (output !== undefined) {
      const bytes = world?.send(output);
      if (bytes !== undefined) queue.push(...discovery.handle({ type: "packet", bytes }, now + 20));
      continue;
    }
    now = discovery.deadline() ?? now;
    queue.push(...discovery.handle({ type: "timeout" }, now));
  }
  throw new Error("it does not end");
}

const mappings = ["endpoint-independent", "address-dependent", "address-and-port-dependent"] as const;

describe("behaviour discovery", () => {
  for (const mapping of ["none", ...mappings] as const) {
    for (const filtering of mappings) {
      test(`finds ${mapping} mapping and ${filtering} filtering`, () => {
        const [found] = discover(new World({ mapping, filtering }));
        expect([found.mapping, found.filtering]).toEqual([mapping, filtering]);
      });
    }
  }

  test.each<[NatMapping, Nat["mapping"]]>([
    ["endpoint-independent", "endpoint-independent"],
    ["endpoint-dependent", "address-dependent"],
    ["endpoint-dependent", "address-and-port-dependent"],
    ["none", "none"],
  ])(
    "says %s of two servers without second addresses before %s mapping, and nothing of filtering",
    (expected, mapping) => {
      const world = new World({ mapping, filtering: "address-dependent" }, false);
      const [found] = discover(world, [SERVER, OTHER]);
      expect([found.mapping, found.filtering]).toEqual<[NatMapping, NatFiltering]>([expected, "unknown"]);
    },
  );

  test("says nothing of one server without a second address but what it saw", () => {
    const world = new World({ mapping: "endpoint-independent", filtering: "address-dependent" }, false);
    const [found] = discover(world);
    expect(found).toEqual({
      sightings: [{ server: SERVER, mapped: { address: PUBLIC, port: 40_000 }, rttMs: 20 }],
      mapping: "unknown",
      filtering: "unknown",
    });
  });

  test("gives a silent server up after 1.7 s and three requests", () => {
    const [found, at] = discover(undefined);
    expect([found.sightings[0]?.mapped, found.mapping, at]).toEqual([undefined, "unknown", 1_700]);
  });

  test("survives the loss of two requests", () => {
    const world = new World({ mapping: "endpoint-independent", filtering: "address-dependent" });
    world.losses = 2;
    expect(discover(world)[0].mapping).toBe("endpoint-independent");
  });

  test("ends at once without a server", () => {
    expect(discover(undefined, [])).toEqual([{ sightings: [], mapping: "unknown", filtering: "unknown" }, 0]);
  });

  test("does not listen to what it has not asked for", () => {
    const discovery = new Discovery([SERVER], new Set(), new SeededRandom(1));
    const [sent] = discovery.handle({ type: "begin" }, 0);
    if (sent?.type !== "send") throw new Error("a request was expected");
    const forged = Uint8Array.from(sent.bytes);
    forged[0] = 1;
    forged[19] = (forged[19] as number) ^ 1;
    expect(discovery.handle({ type: "packet", bytes: forged }, 1)).toEqual([]);
    expect(discovery.handle({ type: "packet", bytes: sent.bytes }, 1)).toEqual([]);
    expect(discovery.handle({ type: "packet", bytes: new Uint8Array(3) }, 1)).toEqual([]);
  });
});
