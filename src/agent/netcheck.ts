import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type CheckContext, discoverBehaviour, type ProbeOutcome, probeServer } from "../../stun/check.ts";
import { canonicalAddress, type Endpoint, type Family } from "../../stun/proto/address.ts";
import { type Behaviour, MAX_DISCOVERY_SERVERS } from "../../stun/proto/discovery.ts";
import { lookAt } from "../drivers/http-look.ts";
import { readInterfaces } from "../drivers/interfaces.ts";
import type { FamilyReport, NatReport, NetcheckReport, ServerReport, SignalingReport } from "../netcheck.ts";
import { type IceUrl, parseIceUrl } from "../proto/negotiation/ice-url.ts";
import { natKind, natMeaning } from "../proto/negotiation/nat-verdict.ts";
import type { IceServer } from "../proto/negotiation/rtc.ts";

/** What this machine's network is like, found out by asking the servers that are configured and nobody else. */

/** What is asked. */
export interface NetcheckOptions extends CheckContext {
  readonly iceServers: readonly IceServer[];
  /** `ws://` or `wss://`. */
  readonly signaling: readonly string[];
  /** What an agent has measured more exactly: its servers' clocks minus ours, by URL. */
  readonly skews?: ReadonlyMap<string, number>;
}

/** URLs asked at once; further ones are left out. */
const MAX_TARGETS = 24;
/** A difference of clocks beyond this is worth a word, ms: half of what tokens forgive. */
const SKEW_WORTH_A_WORD_MS = 30_000;
/** A web server's date has no finer grain, ms: half of it is added. */
const DATE_GRAIN_MS = 1_000;

/** Asks everything at once; takes a second where all is well, and 5 s where something is silent. Never rejects. */
export async function netcheck(options: NetcheckOptions): Promise<NetcheckReport> {
  const targets = targetsOf(options.iceServers);
  const own = readInterfaces().filter(({ internal, address }) => !internal && !/^fe[89ab]/i.test(address));
  const mine = new Set(own.flatMap(({ address }) => canonicalAddress(address) ?? []));
  const hosts = new Map(targets.map(({ at }) => [at.host, addressesOf(at.host)]));
  const [four, six, probes, signaling] = await Promise.all([
    discover(4, targets, hosts, mine, options),
    discover(6, targets, hosts, mine, options),
    Promise.all(targets.map((target) => probe(target, hosts, options))),
    Promise.all(options.signaling.map((url) => lookAtSignaling(url, options))),
  ]);
  const servers = targets.map((target, index) => serverReport(target, probes[index] as ProbeOutcome));
  const nat = natReport(four, six, servers);
  const isOver = (rung: "udp" | "stream"): boolean =>
    servers.some(({ relay, transport }) => relay !== null && (transport === "udp") === (rung === "udp"));
  const relay = isOver("udp") ? "udp" : isOver("stream") ? "stream" : "none";
  const looks = signaling.map(({ report }) => report);
  const skew = looks.find(({ skewMs }) => Math.abs(skewMs ?? 0) > SKEW_WORTH_A_WORD_MS)?.skewMs;
  return {
    udp: nat.udp,
    ipv4: familyReport(4, four, own),
    ipv6: familyReport(6, six, own),
    nat: nat.report,
    servers,
    signaling: looks,
    signs: signsOf(targets, probes, signaling),
    meaning:
      natMeaning({ udp: nat.udp, ...nat.report }, relay) + (skew === undefined || skew === null ? "" : clockWord(skew)),
  };
}

interface Target {
  readonly url: string;
  readonly at: IceUrl;
  readonly server: IceServer;
}

function targetsOf(iceServers: readonly IceServer[]): Target[] {
  const targets = iceServers.flatMap((server) =>
    (typeof server.urls === "string" ? [server.urls] : server.urls).flatMap((url) => {
      const at = parseIceUrl(url);
      return typeof at === "object" ? [{ url, at, server }] : [];
    }),
  );
  return targets.slice(0, MAX_TARGETS);
}

/** Every address of a host; none where its name leads nowhere. */
async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => address);
}

type Hosts = ReadonlyMap<string, Promise<readonly string[]>>;

async function discover(
  family: Family,
  targets: readonly Target[],
  hosts: Hosts,
  own: ReadonlySet<string>,
  context: CheckContext,
): Promise<Behaviour> {
  const servers: Endpoint[] = [];
  for (const { at } of targets) {
    if (at.transport !== "udp") continue;
    const addresses = (await hosts.get(at.host)) ?? [];
    const address = addresses
      .flatMap((text) => canonicalAddress(text) ?? [])
      .find((text) => text.includes(":") === (family === 6));
    if (address === undefined || servers.some((server) => server.address === address && server.port === at.port))
      continue;
    servers.push({ address, port: at.port });
  }
  return discoverBehaviour(servers.slice(0, MAX_DISCOVERY_SERVERS), family, own, context);
}

async function probe({ at, server }: Target, hosts: Hosts, context: CheckContext): Promise<ProbeOutcome> {
  const [address] = (await hosts.get(at.host)) ?? [];
  if (address === undefined)
    return {
      rttMs: undefined,
      mapped: undefined,
      relayed: undefined,
      untrustedIssuer: undefined,
      error: "its name leads nowhere",
    };
  const { username, credential } = server;
  const isTurn = at.kind === "turn" && username !== undefined && credential !== undefined;
  // By name over TLS, for the certificate; UDP sockets take the address that was found.
  const host = at.transport === "tls" ? at.host : address;
  return probeServer({ ...at, host, credential: isTurn ? { username, credential } : undefined }, context);
}

function serverReport({ url, at, server }: Target, outcome: ProbeOutcome): ServerReport {
  const lacksCredential = at.kind === "turn" && server.credential === undefined && outcome.error === undefined;
  return {
    url,
    transport: at.transport,
    rttMs: outcome.rttMs ?? null,
    relay: outcome.relayed ?? null,
    error: lacksCredential ? "it answers, and no credential for its relay is known" : (outcome.error ?? null),
  };
}

function natReport(four: Behaviour, six: Behaviour, servers: readonly ServerReport[]) {
  // Where both families work the one with a NAT decides what people notice.
  const behaviour = four.sightings.some(({ mapped }) => mapped) ? four : six;
  const asked = servers.filter(({ transport }) => transport === "udp");
  const isOpen = asked.some(({ rttMs }) => rttMs !== null);
  const udp = isOpen ? "open" : asked.length > 0 ? "blocked" : "unknown";
  const { mapping, filtering } = behaviour;
  const report: NatReport = { mapping, filtering, kind: natKind({ udp, mapping, filtering }) };
  return { udp, report } as const;
}

function familyReport(
  family: Family,
  behaviour: Behaviour,
  own: readonly { readonly address: string }[],
): FamilyReport {
  const local = own.map(({ address }) => address).filter((address) => address.includes(":") === (family === 6));
  const mapped = behaviour.sightings.find((sighting) => sighting.mapped !== undefined)?.mapped;
  return { local, public: mapped?.address ?? null };
}

interface SignalingLook {
  readonly report: SignalingReport;
  readonly untrustedIssuer: string | undefined;
}

async function lookAtSignaling(url: string, { now, skews }: NetcheckOptions): Promise<SignalingLook> {
  const health = url.replace(/^ws/, "http").replace(/^(https?:\/\/[^/]+).*$/, "$1/healthz");
  const look = await lookAt(health, now);
  const exact = skews?.get(url);
  if (typeof look === "string") {
    return { report: { url, rttMs: null, skewMs: exact ?? null, error: look }, untrustedIssuer: undefined };
  }
  const { status, rttMs, serverTime, untrustedIssuer } = look;
  const coarse = serverTime === undefined ? undefined : serverTime + DATE_GRAIN_MS / 2 - (now() - rttMs / 2);
  // Within its grain a date tells nothing.
  const skewMs =
    exact ?? (coarse === undefined ? undefined : Math.abs(coarse) <= DATE_GRAIN_MS ? 0 : Math.round(coarse));
  const error = status === 200 ? null : `it answers with status ${status}: is it a signaling server?`;
  return { report: { url, rttMs, skewMs: skewMs ?? null, error }, untrustedIssuer };
}

/** Environment variables by which a proxy is set. Starling uses none; whoever sets one usually has to. */
const PROXY_VARIABLES = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

function signsOf(
  targets: readonly Target[],
  probes: readonly ProbeOutcome[],
  signaling: readonly SignalingLook[],
): readonly string[] {
  const signs: string[] = [];
  const variable = PROXY_VARIABLES.find((name) => process.env[name]);
  if (variable !== undefined) signs.push(`a proxy is set (${variable}); Starling does not use it`);
  for (const [index, { url }] of targets.entries()) {
    const issuer = probes[index]?.untrustedIssuer;
    if (issuer !== undefined) signs.push(untrusted(url, issuer));
  }
  for (const { report, untrustedIssuer } of signaling) {
    if (untrustedIssuer !== undefined) signs.push(untrusted(report.url, untrustedIssuer));
  }
  return signs;
}

function untrusted(url: string, issuer: string): string {
  return `the certificate at ${url} was made by ${JSON.stringify(issuer)}, which this machine does not trust: a private authority (NODE_EXTRA_CA_CERTS adds it), or somebody on the way who opens TLS`;
}

function clockWord(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1_000);
  return ` The clock is ${seconds} s ${skewMs > 0 ? "behind" : "ahead"}: set it right, tokens forgive 60 s.`;
}
