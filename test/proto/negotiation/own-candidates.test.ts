import { describe, expect, test } from "vitest";
import { OwnCandidates, sortAddresses } from "../../../src/proto/negotiation/own-candidates.ts";

const at = (name: string, address: string, internal = false) => ({ name, address, internal });
const LAN = at("eth0", "192.168.1.5");
const LO = at("lo", "127.0.0.1", true);
const host = (address: string, port = 5_000): string => `candidate:1 1 udp 2122 ${address} ${port} typ host`;

describe("interfaces", () => {
  test.each(["docker0", "br-12ab", "veth9", "tun0", "tap1", "wg0", "tailscale0"])("%s is not offered", (name) => {
    const { skipped, extra } = sortAddresses([LO, LAN, at(name, "172.17.0.1")], undefined);
    expect([[...skipped], extra]).toEqual([["172.17.0.1"], []]);
  });

  test("a bridge that carries the LAN is offered", () => {
    expect(sortAddresses([LO, at("br0", "192.168.1.5")], undefined).skipped.size).toBe(0);
  });

  test("a machine that has nothing but a tunnel offers it, without link-local addresses", () => {
    const only = [LO, at("tap0", "10.0.2.100"), at("tap0", "fe80::1")];
    expect(sortAddresses(only, undefined)).toEqual({ skipped: new Set(), extra: ["10.0.2.100"] });
  });

  test("what the operator says holds without exception, and an empty list offers all", () => {
    expect([...sortAddresses([LO, LAN], ["eth"]).skipped]).toEqual(["192.168.1.5"]);
    expect(sortAddresses([LAN, at("docker0", "172.17.0.1")], [])).toEqual({ skipped: new Set(), extra: [] });
  });
});

describe("own candidates", () => {
  test("of skipped addresses stay here, also in IPv6", () => {
    const own = new OwnCandidates(new Set(["172.17.0.1", "fd00::1"]), []);
    expect([own.take(host("172.17.0.1")), own.take(host("fd00::1"))]).toEqual([[], []]);
    expect(own.take(host("192.168.1.5"))).toEqual([host("192.168.1.5")]);
  });

  test("that servers have told are never kept back", () => {
    const reflexive = "candidate:2 1 udp 1 172.17.0.1 5000 typ srflx raddr 10.0.0.1 rport 5000";
    expect(new OwnCandidates(new Set(["172.17.0.1"]), ["203.0.113.1"]).take(reflexive)).toEqual([reflexive]);
  });

  test("are announced under further addresses of their family, once for each port", () => {
    const own = new OwnCandidates(new Set(["172.17.0.1"]), ["203.0.113.1", "2001:db8::1"]);
    expect(own.take(host("192.168.1.5"))).toEqual([
      host("192.168.1.5"),
      "candidate:announced0 1 udp 2113929471 203.0.113.1 5000 typ host",
    ]);
    expect(own.take(host("172.17.0.1"))).toEqual([]);
    expect(own.take(host("172.17.0.1", 5_001))).toEqual([
      "candidate:announced0 1 udp 2113929471 203.0.113.1 5001 typ host",
    ]);
    expect(own.take(host("fd00::2"))[1]).toBe("candidate:announced1 1 udp 2113929471 2001:db8::1 5000 typ host");
  });
});
