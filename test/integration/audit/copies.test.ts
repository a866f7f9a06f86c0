import { mkdir, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { agentMetrics } from "../../../src/agent/metrics.ts";
import type { Agent } from "../../../src/agent.ts";
import { type CopyRetention, openAuditCopy } from "../../../src/drivers/state/audit-copies.ts";
import { openAuditLog, verifyAuditLog } from "../../../src/drivers/state/audit-log.ts";
import type { AgentOptions } from "../../../src/options.ts";
import { DEFAULT_SCOPES } from "../../../src/proto/trust/scopes.ts";
import { hasLink, Lab, type Node, until } from "../attack/lab.ts";
import { starling } from "../command.ts";
import { SILENT } from "../trust/cluster-of-ten.ts";
import { crypto, freshFolder } from "../trust/lab.ts";

/** Copies of an audit log at other members: what they hold, and what becomes of whoever writes another history. */

const DAY = 24 * 3_600_000;
const owner = crypto.nodeIdentity(crypto.generateNodeKey());

/** The lines of a log with so many events, read back in one piece. */
async function linesOf(events: number): Promise<readonly string[]> {
  await using audit = await openAuditLog({
    folder: join(await freshFolder(), "a"),
    owner,
    crypto,
    now: Date.now,
    log: SILENT,
  });
  for (let index = 0; index < events; index++)
    audit.record({ action: "control.call", actor: "local", target: `event ${index}`, outcome: "ok" });
  await audit.close();
  const lines: string[] = [];
  for await (const portion of audit.read(1)) lines.push(...portion);
  return lines;
}

describe("an audit log", () => {
  test("is read from any line on, from memory or back from its segments, and not beyond what is on the disk", async () => {
    const folder = join(await freshFolder(), "audit");
    const open = () =>
      openAuditLog({
        folder,
        owner,
        crypto,
        now: Date.now,
        log: SILENT,
        retention: { segmentBytes: 4_000, segments: 100 },
      });
    const first = await open();
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 9; index++)
        first.record({ action: "control.call", actor: "local", target: `${index}`, outcome: "ok" });
      await until("a write", () => first.durable >= round * 9);
    }
    await first.close();
    const all: string[] = [];
    for await (const portion of first.read(1)) all.push(...portion);
    expect(all).toHaveLength(46);
    await using again = await open();
    expect((await readdir(folder)).filter((name) => name.endsWith(".jsonl")).length).toBeGreaterThan(1);
    for (const from of [1, 2, 17, 45, 46]) {
      const lines: string[] = [];
      for await (const portion of again.read(from)) lines.push(...portion);
      expect(lines.slice(0, 46 - from + 1)).toEqual(all.slice(from - 1));
    }
    for await (const _ of again.read(again.durable + 1)) expect.unreachable();
  });
});

describe("the copy of a log on the disk", () => {
  const openCopy = async (folder: string, retention?: CopyRetention, now = Date.now) => {
    const copy = await openAuditCopy({ folder, owner: owner.id, crypto, now, ...(retention && { retention }) });
    if (copy === undefined) throw new Error("there is room");
    return copy;
  };

  test("goes on after a restart, also where a crash has left half a line", async () => {
    const folder = join(await freshFolder(), "copies");
    const lines = await linesOf(9);
    const first = await openCopy(folder);
    expect(await first.take(lines.slice(0, 5))).toBe("kept");
    await first.close();
    const [name = ""] = await readdir(join(folder, owner.id));
    const path = join(folder, owner.id, name);
    await writeFile(path, `${await readFile(path, "utf8")}{"seq":6,"at`);
    const again = await openCopy(folder);
    expect(again.last.seq).toBe(5);
    expect(await again.take(lines.slice(5))).toBe("kept");
    await again.close();
    expect(await verifyAuditLog(join(folder, owner.id), owner.id, crypto, { isCopy: true })).toMatchObject({
      ok: true,
      first: 1,
      last: 10,
    });
  });

  test("gives up what is older than a week and nothing younger, however much comes", async () => {
    const folder = join(await freshFolder(), "copies");
    const lines = await linesOf(40);
    const retention = { segmentBytes: 1_000, segments: 3 };
    const copy = await openCopy(folder, retention);
    let taken = 0;
    for (; taken < lines.length; taken++) if ((await copy.take([lines[taken] as string])) !== "kept") break;
    expect(taken).toBeGreaterThan(3);
    expect(taken).toBeLessThan(20);
    expect(await copy.take([lines[taken] as string])).toBe("full");
    const [oldest = ""] = (await readdir(join(folder, owner.id))).sort();
    const eightDaysAgo = (Date.now() - 8 * DAY) / 1_000;
    await utimes(join(folder, owner.id, oldest), eightDaysAgo, eightDaysAgo);
    expect(await copy.take([lines[taken] as string])).toBe("kept");
    expect(await readdir(join(folder, owner.id))).not.toContain(oldest);
    await copy.close();
  });

  test("is begun for so many owners and no more", async () => {
    const folder = join(await freshFolder(), "copies");
    for (let index = 0; index < 64; index++) await mkdir(join(folder, `owner-${index}`), { recursive: true });
    expect(await openAuditCopy({ folder, owner: owner.id, crypto, now: Date.now })).toBeUndefined();
    await rm(join(folder, "owner-0"), { recursive: true });
    await (await openCopy(folder)).close();
  });
});

describe("an agent with --audit-copies 2", { timeout: 120_000 }, () => {
  let lab: Lab;
  let keepers: (readonly [Agent, Node])[];

  beforeEach(async () => {
    lab = await Lab.open();
    keepers = [];
    for (let index = 0; index < 3; index++) keepers.push(await keeper([...DEFAULT_SCOPES, "audit:keep"]));
  });

  afterEach(async () => {
    await lab[Symbol.asyncDispose]();
  });

  async function keeper(scopes: readonly string[]): Promise<readonly [Agent, Node]> {
    const node = await lab.node();
    const issued = await lab.mint.issueMemberToken({ subject: node.identity.id, scopes }, Date.now());
    if (!issued.ok) throw new Error(issued.fault);
    return [await lab.agent(node, { token: issued.token, options: { keepAudit: true } }), node];
  }

  const start = async (node: Node, options: AgentOptions = {}): Promise<Agent> => {
    const agent = await lab.agent(node, { options: { auditCopies: 2, ...options } });
    await until("its links", () => keepers.every(([{ id, status }]) => hasLink(agent, id) || status === undefined));
    return agent;
  };
  const isCopied = (agent: Agent): boolean => {
    const { lines, copies } = agent.status().audit;
    return copies.length === 2 && copies.every((copy) => copy.lines === lines);
  };
  const copyAt = ({ folder }: Node, of: Node): string => join(folder, "audit-copies", of.identity.id);
  const reports = async (of: Node) => {
    const found = await Promise.all(
      keepers.map(([, node]) =>
        verifyAuditLog(copyAt(node, of), of.identity.id, crypto, { isCopy: true }).catch(() => undefined),
      ),
    );
    return found.filter((report) => report !== undefined);
  };

  test("has its log at two of three members that keep copies, and at another when one of them is gone", async () => {
    const [unentitled] = await keeper([...DEFAULT_SCOPES]);
    const node = await lab.node();
    const agent = await start(node);
    await until("both copies", () => isCopied(agent), 60_000);
    agent.audit.record({ action: "control.call", actor: "local", target: "one more", outcome: "ok" });
    const { lines } = agent.status().audit;
    await until("the new line, and its copies", () => agent.status().audit.lines > lines && isCopied(agent), 60_000);
    const last = agent.status().audit.lines;
    expect((await reports(node)).map(({ ok, last }) => [ok, last])).toEqual([
      [true, last],
      [true, last],
    ]);
    expect(agent.status().audit.copies.map(({ keeper }) => keeper)).not.toContain(unentitled.id);
    const [first] = agent.status().audit.copies;
    const gone = keepers.find(([{ id }]) => id === first?.keeper) ?? expect.fail("a keeper is one of ours");
    await gone[0].leave();
    const isGone = () => !agent.status().audit.copies.some(({ keeper }) => keeper === gone[0].id);
    await until("another copy", () => isGone() && isCopied(agent), 60_000);
    expect(await reports(node)).toHaveLength(3);
    expect((await agentMetrics(agent)()).text).toContain('starling_audit_copies{are="kept"} 2');
    const where = ["--state", gone[1].folder, "--signer", node.identity.id];
    const verified = await starling(["audit", "verify", "--copy", ...where, "--json"]);
    expect(verified).toMatchObject({ code: 0 });
    expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, first: 1 });
  });

  test("that writes another history is found out by its keepers, who keep the first", async () => {
    const node = await lab.node();
    const honest = await start(node);
    await until("both copies", () => isCopied(honest), 60_000);
    await honest.leave();
    const before = await reports(node);
    expect(before).toHaveLength(2);
    // Whoever has the node key writes a log that is whole, and says nothing of what was done before.
    await rm(join(node.folder, "audit"), { recursive: true });
    const forger = await start(node);
    expect((await verifyAuditLog(join(node.folder, "audit"), node.identity.id, crypto)).ok).toBe(true);
    const forks = () => keepers.reduce((sum, [agent]) => sum + agent.counters().auditForks, 0);
    await until("both keepers to notice", () => forks() >= 2, 60_000);
    const after = (await reports(node)).filter(({ first, last }) =>
      before.some((one) => one.first === first && one.last <= last),
    );
    expect(after.length).toBeGreaterThanOrEqual(2);
    const noticed = keepers.filter(([agent]) => agent.counters().auditForks > 0);
    for (const [agent, { folder }] of noticed) {
      await agent.close();
      const [name = ""] = (await readdir(join(folder, "audit"))).filter((file) => file.endsWith(".jsonl"));
      const text = await readFile(join(folder, "audit", name), "utf8");
      expect(text).toMatch(
        new RegExp(`"audit.copy","actor":"${node.identity.id}","outcome":"failed","reason":"forked"`),
      );
    }
    await forger.close();
  });
});
