import { expect, test } from "vitest";
import type { PeerId } from "../../../src/proto/peer-id.ts";
import { SeededRandom } from "../../../src/proto/random.ts";
import { type Answer, encodeMessage, parseMessage, type Request } from "../../../src/proto/reconcile/messages.ts";
import { rootOf } from "../../../src/proto/reconcile/root.ts";
import type { ReplicationInput, ReplicationOutput } from "../../../src/proto/replication/effects.ts";
import type { Entry } from "../../../src/proto/replication/entry.ts";
import { MAX_INLINE_VALUE_BYTES, MAX_UNSAVED_BYTES } from "../../../src/proto/replication/limits.ts";
import { encodeBatchMessage, encodeSurvey, encodeSurveyed } from "../../../src/proto/replication/messages.ts";
import { decodeMessage } from "../../../src/proto/replication/parse-message.ts";
import { SLOTS } from "../../../src/proto/replication/placement.ts";
import { DEFAULT_POLICY, encodePolicy, POLICY_BUCKET } from "../../../src/proto/replication/policy.ts";
import { Replication } from "../../../src/proto/replication/replication.ts";
import { packSlots, Versions } from "../../../src/proto/replication/versions.ts";
import { RowDisk } from "../../sim/row-disk.ts";
import { makeBatch } from "./make.ts";
import { check, peerNumber, START, tokenFor } from "./world.ts";

const ALL = new Uint8Array(SLOTS).fill(1);
const SALT = new Uint8Array(8);
const peer = peerNumber(1);

/** A replica with a disk, linked with members 1 to 9. */
class Victim {
  now = START;
  readonly versions = new Versions(new SeededRandom(2));
  readonly replication = new Replication({
    self: peerNumber(0),
    random: new SeededRandom(1),
    tokenOf: (member) => tokenFor(member),
    restoration: new RowDisk(new Map()).restore(),
    storers: () => [3, 4].map((number) => ({ id: peerNumber(number), capacity: 100 })),
  });
  #sequence = 0;
  #stored = 0;

  constructor() {
    for (let number = 1; number < 10; number++) this.input({ type: "link-up", peer: peerNumber(number) });
    this.stored();
  }

  input(input: ReplicationInput): ReplicationOutput[] {
    const outputs = [...this.replication.handle(input, this.now)];
    for (const output of outputs) {
      if (output.type === "store") this.#sequence = output.sequence;
      if (output.type !== "verify") continue;
      const token = check(output, this.now);
      if (token !== undefined) outputs.push(...this.input({ type: "verified", resume: output.resume, token }));
    }
    return outputs;
  }

  /** Its disk has everything. */
  stored(): ReplicationOutput[] {
    const outputs: ReplicationOutput[] = [];
    while (this.#stored < this.#sequence) outputs.push(...this.input({ type: "stored", sequence: ++this.#stored }));
    return outputs;
  }

  /** Is told of an entry by its author. */
  learn(key: string, value: string | Uint8Array, bucket = "app"): void {
    const { batch, entries } = makeBatch(2, [[bucket, key, value]]);
    this.input({ type: "message", peer: peerNumber(2), bytes: encodeBatchMessage(batch, entries) });
    this.versions.add(entries[0] as Entry);
  }

  survey(from: PeerId, message: Request): ReplicationOutput[] {
    const bytes = encodeSurvey("app", packSlots(ALL), encodeMessage(message));
    const outputs = this.input({ type: "message", peer: from, bytes });
    for (let round = 0; round < 20; round++) outputs.push(...this.input({ type: "timeout" }));
    return outputs;
  }

  open(from: PeerId, root: Uint8Array, size = 1): ReplicationOutput[] {
    return this.survey(from, { type: "open", seq: 1, salt: SALT, root, size });
  }
}

function said(outputs: readonly ReplicationOutput[], to: PeerId): (Answer | Request | undefined)[] {
  return outputs.flatMap((output) => {
    if (output.type !== "send" || output.peer !== to) return [];
    const message = decodeMessage(output.bytes);
    return typeof message !== "string" && message.type === "surveyed" ? [parseMessage(message.bytes)] : [];
  });
}

function faults(outputs: readonly ReplicationOutput[]): string[] {
  return outputs.flatMap((output) => (output.type === "fault" ? [output.fault] : []));
}

test("that a replica holds the same is said when it is on its disk, and not before", () => {
  const victim = new Victim();
  victim.learn("a", "x");
  const root = rootOf(victim.versions.ids(ALL), SALT);
  expect(said(victim.open(peer, root), peer)).toEqual([]);
  expect(said(victim.stored(), peer)).toEqual([{ type: "equal", seq: 1 }]);
  expect(said(victim.open(peer, root), peer)).toEqual([{ type: "equal", seq: 1 }]);
});

test("eight members survey a replica at once, others are asked to wait, and none for longer than a silence takes", () => {
  const victim = new Victim();
  victim.learn("a", "x");
  victim.stored();
  const strange = new Uint8Array(16);
  for (let number = 1; number < 9; number++) {
    expect(said(victim.open(peerNumber(number), strange), peerNumber(number))).toMatchObject([{ type: "differ" }]);
  }
  expect(said(victim.open(peerNumber(9), strange), peerNumber(9))).toEqual([{ type: "busy", seq: 1 }]);
  victim.now += 10_000;
  for (let round = 0; round < 20; round++) victim.input({ type: "timeout" });
  victim.stored();
  expect(said(victim.open(peerNumber(9), strange), peerNumber(9))).toMatchObject([{ type: "differ" }]);
});

test("one member that surveys again and again is answered so much, and then told to wait", () => {
  const victim = new Victim();
  victim.learn("a", "x");
  victim.stored();
  const answers = Array.from({ length: 200 }, () => said(victim.open(peer, new Uint8Array(16)), peer)[0]?.type);
  expect(answers.slice(0, 5)).toEqual(Array(5).fill("differ"));
  expect(answers.at(-1)).toBe("busy");
  expect(answers.filter((answer) => answer === "differ").length).toBeLessThan(20);
  expect(said(victim.open(peerNumber(3), new Uint8Array(16)), peerNumber(3))).toMatchObject([{ type: "differ" }]);
});

test("a survey that never decodes ends all dealings with its member, and what was not begun or not asked is no news", () => {
  const victim = new Victim();
  for (let number = 0; number < 500; number++) victim.learn(`key ${number}`, "x");
  victim.stored();
  expect(said(victim.survey(peer, { type: "next", seq: 7 }), peer)).toEqual([{ type: "busy", seq: 7 }]);
  const answer = encodeSurveyed("app", encodeMessage({ type: "equal", seq: 1 }));
  expect(victim.input({ type: "message", peer, bytes: answer })).toEqual([]);
  expect(said(victim.open(peer, new Uint8Array(16), 500), peer)).toMatchObject([{ type: "differ" }]);
  const random = new SeededRandom(3);
  const all: string[] = [];
  for (let round = 0; round < 100 && all.length === 0; round++) {
    const cells = new Uint8Array(28 * 64).map(() => random.u32());
    all.push(...faults(victim.survey(peer, { type: "cells", seq: 1, level: 6, bits: 0, section: 0, cells })));
  }
  expect(all).toEqual(["no-progress"]);
  expect(victim.open(peer, new Uint8Array(16))).toEqual([]);
});

test("a replica whose disk is behind waits for it, and does not turn in place", () => {
  const victim = new Victim();
  victim.learn("app", encodePolicy({ ...DEFAULT_POLICY, replicas: 2 }), POLICY_BUCKET);
  const value = new Uint8Array(MAX_INLINE_VALUE_BYTES);
  for (let bytes = 0; bytes <= MAX_UNSAVED_BYTES; bytes += value.length) victim.learn(`key ${bytes}`, value);
  victim.now += 1_000;
  for (let turn = 0; turn < 10; turn++) victim.input({ type: "timeout" });
  expect(victim.replication.deadline()).toBeGreaterThan(victim.now);
}, 30_000);

test("what is no survey is malformed", () => {
  const victim = new Victim();
  const wrong = [
    encodeSurvey("app", new Uint8Array(31), new Uint8Array(4)),
    encodeSurvey("no bucket", packSlots(ALL), new Uint8Array(4)),
    encodeSurvey("app", packSlots(ALL), new Uint8Array(4)),
    encodeSurvey("app", packSlots(ALL), new Uint8Array(200_001)),
  ];
  for (const bytes of wrong) expect(faults(victim.input({ type: "message", peer, bytes }))).toEqual(["malformed"]);
});
