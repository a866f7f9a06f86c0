import { appendFile, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { AuditLog } from "../../../src/audit.ts";
import { type AuditRetention, openAuditLog, verifyAuditLog } from "../../../src/drivers/state/audit-log.ts";
import type { AuditEvent } from "../../../src/proto/audit/entry.ts";
import { crypto, freshFolder, NOW } from "../trust/lab.ts";

/** The audit log on a real disk: restarts, crashes, retention, and hands that change it. */

const owner = crypto.nodeIdentity(crypto.generateNodeKey());
const errors: string[] = [];
const log = {
  debug() {},
  info() {},
  warn() {},
  error: (message: string) => void errors.push(message),
};

function openAt(folder: string, retention?: AuditRetention): Promise<AuditLog> {
  return openAuditLog({ folder, owner, crypto, now: () => NOW, log, ...(retention && { retention }) });
}

const event = (target: string): AuditEvent => ({ action: "control.call", actor: "local", target, outcome: "ok" });

/** Opens, records that many events, closes. */
async function life(folder: string, events: number, retention?: AuditRetention): Promise<void> {
  await using audit = await openAt(folder, retention);
  for (let index = 0; index < events; index++) audit.record(event(`event ${index}`));
}

const verify = (folder: string) => verifyAuditLog(folder, owner.id, crypto);

async function segments(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith(".jsonl")).sort();
}

async function onlySegment(folder: string): Promise<string> {
  const [name = "", ...more] = await segments(folder);
  expect(more).toEqual([]);
  return join(folder, name);
}

describe("the audit log on the disk", () => {
  test("goes on behind its last line at each start, and nobody else may read it", async () => {
    const folder = join(await freshFolder(), "audit");
    await life(folder, 3);
    await life(folder, 2);
    expect(await verify(folder)).toMatchObject({ ok: true, lines: 7, first: 1, last: 7, faults: [] });
    const path = await onlySegment(folder);
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).seq)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    for (const name of await readdir(folder)) expect((await stat(join(folder, name))).mode & 0o077, name).toBe(0);
  });

  test("takes the lines that a crash left behind the head into the chain, and cuts a torn one off", async () => {
    const folder = join(await freshFolder(), "audit");
    await life(folder, 1);
    const head = await readFile(join(folder, "head"));
    await life(folder, 3);
    await writeFile(join(folder, "head"), head, { mode: 0o600 });
    await appendFile(await onlySegment(folder), '{"seq":7,"at":"20');
    await life(folder, 1);
    expect(await verify(folder)).toMatchObject({ ok: true, lines: 8, last: 8 });
  });

  test("keeps the newest segments, and a signed word of where they begin", async () => {
    const folder = join(await freshFolder(), "audit");
    for (let start = 0; start < 12; start++) await life(folder, 4, { segmentBytes: 1_500, segments: 3 });
    expect((await segments(folder)).length).toBe(3);
    const report = await verify(folder);
    expect(report).toMatchObject({ ok: true, last: 60 });
    expect(report.first).toBeGreaterThan(30);
    await rm(join(folder, (await segments(folder))[0] as string));
    expect((await verify(folder)).faults[0]?.fault).toBe("beginning-missing");
  });

  test("shows each line that was removed, changed or moved, and which", async () => {
    const folder = join(await freshFolder(), "audit");
    await life(folder, 6);
    const path = await onlySegment(folder);
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    const tampered = async (changed: readonly string[]) => {
      await writeFile(path, changed.map((line) => `${line}\n`).join(""), { mode: 0o600 });
      return verify(folder);
    };
    for (let index = 0; index < lines.length; index++) {
      const line = lines[index] as string;
      expect(await tampered(lines.toSpliced(index, 1)), `without line ${index + 1}`).toMatchObject({ ok: false });
      const changed = await tampered(lines.toSpliced(index, 1, line.replace('"ok"', '"no"')));
      expect(changed.faults[0]).toEqual({ file: path.slice(folder.length + 1), line: index + 1, fault: "forged" });
    }
    for (let index = 0; index + 1 < lines.length; index++) {
      const [a = "", b = ""] = lines.slice(index, index + 2);
      expect(await tampered(lines.toSpliced(index, 2, b, a)), `line ${index + 1} moved`).toMatchObject({ ok: false });
    }
    expect(await tampered(lines)).toMatchObject({ ok: true });
    expect(await verifyAuditLog(folder, crypto.nodeIdentity(crypto.generateNodeKey()).id, crypto)).toMatchObject({
      ok: false,
    });
  });

  test("shows that its end, or all of it, is gone", async () => {
    const folder = join(await freshFolder(), "audit");
    await life(folder, 6);
    const path = await onlySegment(folder);
    const content = await readFile(path);
    await truncate(path, content.lastIndexOf(10, content.length - 2) + 1);
    expect((await verify(folder)).faults).toEqual([{ file: "head", line: 1, fault: "end-missing" }]);
    await rm(path);
    expect((await verify(folder)).faults).toEqual([{ file: "head", line: 1, fault: "end-missing" }]);
    await rm(join(folder, "head"));
    expect((await verify(folder)).faults).toEqual([{ file: "head", line: 1, fault: "head-invalid" }]);
  });

  test("does not let whoever is denied flood it, says how much it left out, and keeps what succeeded", async () => {
    const folder = join(await freshFolder(), "audit");
    {
      await using audit = await openAt(folder);
      for (let index = 0; index < 5_000; index++)
        audit.record({ action: "signaling.login", actor: "192.0.2.1", outcome: "denied", reason: "token-invalid" });
      audit.record(event("after the flood"));
    }
    const lines = (await readFile(await onlySegment(folder), "utf8")).trimEnd().split("\n");
    expect(lines.length).toBe(502);
    expect(JSON.parse(lines.at(-1) as string)).toMatchObject({ target: "after the flood", suppressed: 4_500 });
    expect(await verify(folder)).toMatchObject({ ok: true });
  });

  test("says once that it cannot be written, and does not take its agent down", async () => {
    const folder = join(await freshFolder(), "audit");
    errors.length = 0;
    {
      await using audit = await openAt(folder);
      // In one step, also while its first line is being written.
      await rename(folder, `${folder}-gone`);
      for (let index = 0; index < 100; index++) audit.record(event(`event ${index}`));
    }
    expect(errors).toEqual(["the audit log cannot be written: nothing is audited any more"]);
  });
});
