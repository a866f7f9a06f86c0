import { expect, test } from "vitest";
import { AGENT_ALERTS, type AgentView } from "../../../src/proto/alerts/agent-alerts.ts";
import { AlertRules } from "../../../src/proto/alerts/alert-rules.ts";
import { SERVER_ALERTS, type ServerView } from "../../../src/proto/alerts/server-alerts.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const calm: AgentView = {
  tokenExpiresAt: DAY,
  issuingKeyEndsAt: 400 * DAY,
  members: { alive: 5, suspect: 0, down: 0 },
  links: 4,
  skewMs: 0,
  denied: 0,
  copiesMissing: 0,
  auditForks: 0,
};

/** Looks every ten seconds from `from` to `to`, and says when something was told. */
function watch<View>(rules: AlertRules<View>, view: View, from: number, to: number): string[] {
  const told: string[] = [];
  for (let now = from; now <= to; now += 10_000)
    for (const { name, state } of rules.look(view, now)) told.push(`${name} ${state} ${now / MINUTE}`);
  return told;
}

test("nothing is told of a calm agent", () => {
  expect(watch(new AlertRules(AGENT_ALERTS), calm, 0, HOUR)).toEqual([]);
});

test.each<[string, Partial<AgentView>, number]>([
  ["StarlingTokenExpiresSoon", { tokenExpiresAt: HOUR }, 10],
  ["StarlingIssuingKeyExpiresSoon", { issuingKeyEndsAt: 30 * DAY - 1 }, 10],
  ["StarlingPartitionSuspected", { members: { alive: 3, suspect: 1, down: 1 } }, 2],
  ["StarlingAlone", { links: 0 }, 2],
  ["StarlingClockSkew", { skewMs: -30_000 }, 5],
  ["StarlingAuditNotCopied", { copiesMissing: 1 }, 15],
])(
  "%s fires once when its condition has held long enough, and is resolved when it is over as long",
  (name, change, minutes) => {
    const rules = new AlertRules(AGENT_ALERTS);
    expect(watch(rules, { ...calm, ...change }, 0, 20 * MINUTE)).toEqual([`${name} firing ${minutes}`]);
    expect(watch(rules, calm, 30 * MINUTE, 50 * MINUTE)).toEqual([`${name} resolved ${30 + minutes}`]);
  },
);

test("what flickers is not told", () => {
  const rules = new AlertRules(AGENT_ALERTS);
  const told: string[] = [];
  for (let minute = 0; minute < 60; minute += 2) {
    told.push(...watch(rules, { ...calm, links: 0 }, minute * MINUTE, (minute + 1) * MINUTE));
    told.push(...watch(rules, calm, (minute + 1) * MINUTE + 10_000, (minute + 2) * MINUTE - 10_000));
  }
  expect(told).toEqual([]);
});

test("peers that were not admitted are counted over five minutes, and those from before the first look are not", () => {
  const rules = new AlertRules(AGENT_ALERTS);
  expect(watch(rules, { ...calm, denied: 1_000 }, 0, 10 * MINUTE)).toEqual([]);
  expect(watch(rules, { ...calm, denied: 1_021 }, 11 * MINUTE, 11 * MINUTE)).toEqual([
    "StarlingRepeatedAuthFailures firing 11",
  ]);
  expect(watch(rules, { ...calm, denied: 1_021 }, 11.5 * MINUTE, 17 * MINUTE)).toHaveLength(1);
});

test("a member that has just begun is not alone: it knows nobody", () => {
  const view = { ...calm, links: 0, members: { alive: 1, suspect: 0, down: 0 }, tokenExpiresAt: undefined };
  expect(watch(new AlertRules(AGENT_ALERTS), view, 0, HOUR)).toEqual([]);
});

const idle: ServerView = {
  certificateEndsAt: 60 * DAY,
  issuingKeyEndsAt: 400 * DAY,
  loginsRefused: 7,
  refusedFull: 3,
};

test("nothing is told of a calm signaling server, nor of one without a certificate", () => {
  expect(watch(new AlertRules(SERVER_ALERTS), idle, 0, HOUR)).toEqual([]);
  const bare = { ...idle, certificateEndsAt: undefined, issuingKeyEndsAt: undefined };
  expect(watch(new AlertRules(SERVER_ALERTS), bare, 0, HOUR)).toEqual([]);
});

test.each<[string, Partial<ServerView>, number]>([
  ["StarlingSignalingRefusesLogins", { loginsRefused: 58 }, 0],
  ["StarlingSignalingFull", { refusedFull: 4 }, 0],
  ["StarlingCertificateExpiresSoon", { certificateEndsAt: 14 * DAY }, 10],
  ["StarlingIssuingKeyExpiresSoon", { issuingKeyEndsAt: DAY }, 10],
])("%s of a signaling server fires once, and is resolved", (name, change, minutes) => {
  const rules = new AlertRules(SERVER_ALERTS);
  expect(watch(rules, idle, 0, 5 * MINUTE)).toEqual([]);
  const [fired, ...more] = watch(rules, { ...idle, ...change }, 6 * MINUTE, 20 * MINUTE);
  expect(fired).toBe(`${name} firing ${6 + minutes}`);
  expect([...more, ...watch(rules, { ...idle, ...(minutes === 0 && change) }, 21 * MINUTE, 40 * MINUTE)]).toEqual([
    expect.stringMatching(`${name} resolved`),
  ]);
});
