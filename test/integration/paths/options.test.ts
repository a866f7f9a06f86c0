import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { resolveSettings } from "../../../src/cli/settings.ts";
import { type AgentOptions, checkOptions } from "../../../src/options.ts";

/** What an operator may say of the network, from every place where it can be said. */

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "starling-options-"));
});
afterAll(async () => rm(directory, { recursive: true }));

const SAID = { skipInterfaces: ["docker"], portRange: [50_000, 50_100], announce: ["203.0.113.1"], localNames: true };

describe("the network", () => {
  test("is described alike by flags, the environment and the file", async () => {
    const flags = { skipInterface: ["docker"], portRange: "50000-50100", announce: ["203.0.113.1"], localNames: true };
    expect(resolveSettings({ state: directory, ...flags }).values).toMatchObject(SAID);
    await writeFile(join(directory, "config.yaml"), JSON.stringify(SAID));
    const { values, origins } = resolveSettings({ state: directory });
    expect(values).toMatchObject(SAID);
    expect(origins).toMatchObject({ portRange: "file", announce: "file", loopback: "default" });
    const environment = {
      SKIP_INTERFACES: "none",
      PORT_RANGE: "2000-2001",
      ANNOUNCE: "::1,192.0.2.1",
      LOCAL_NAMES: "no",
    };
    for (const [name, text] of Object.entries(environment)) process.env[`STARLING_${name}`] = text;
    try {
      expect(resolveSettings({ state: directory }).values).toMatchObject({
        skipInterfaces: [],
        portRange: [2_000, 2_001],
        announce: ["::1", "192.0.2.1"],
        localNames: false,
      });
    } finally {
      for (const name of Object.keys(environment)) delete process.env[`STARLING_${name}`];
    }
  });

  test("none as the name of an interface means that all are offered", () => {
    expect(resolveSettings({ state: "/nowhere", skipInterface: ["none"] }).values.skipInterfaces).toEqual([]);
  });

  test.each([
    ["50000", "must look like 50000-50100"],
    ["50100-50000", "first port must not be above the last"],
    ["80-90", "portRange"],
  ])("a port range of %s is a mistake of usage", (portRange, message) => {
    expect(() => resolveSettings({ state: "/nowhere", portRange })).toThrow(message);
  });

  test.each<[string, AgentOptions]>([
    ["announce", { announce: ["example.org"] }],
    ["portRange", { portRange: [5, 6] }],
    ["iceServers", { iceServers: [{ urls: "stun.example.org" }] }],
    ["iceServers", { iceServers: [{ urls: ["turn:a.example", "stuns:a.example"] }] }],
    ["skipInterfaces", { skipInterfaces: [""] }],
  ])("an option %s that cannot be meant is refused by name", (name, options) => {
    expect(() => checkOptions(options)).toThrow(`option ${name}`);
  });
});
