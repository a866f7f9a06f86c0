import { type Instant, NOTHING } from "../machine.ts";
import { wantedLinks } from "../overlay/neighbours.ts";
import type { PeerId } from "../peer-id.ts";
import { fraction } from "../random.ts";
import { type Context, Meter } from "./context.ts";
import { helpersFor } from "./helpers.ts";
import {
  INDIRECT_LEAST_MS,
  MAX_ASKERS,
  PROBE_INTERVAL_MS,
  REPEAT_MS,
  REPEATS,
  REQUEST_RATE,
  ROUTED_LEAST_MS,
  ROUTED_UNPROVEN_MS,
  SPREAD_MS,
  STALL_MS,
  SWEEP_SPACING_MS,
} from "./limits.ts";
import type { Link } from "./links.ts";
import { newProbe, OpenProbes, type Probe } from "./open-probe.ts";
import { decodeProbeFrame, encodeProbe, encodeReport, encodeRequest, type Verdict } from "./probe-frames.ts";
import { Rotation } from "./rotation.ts";
import { isThere, isUnheard } from "./table.ts";

/**
 * Probing: SWIM's failure detector without its verdict.
 *
 * Every 500 ms one target, in rotation: the peers at the other end of our links, and neighbours whom we have no link
 * with. A probe goes through at most two stages. *Direct*: over the link, for the link's own time-out. Unanswered, it makes
 * us probe all our links at once, for the missing answer may be our own network's, and it turns *wide*: over the link
 * again, three times (a link finds out by what follows that a packet is lost, long before its time-out), and by up to three helpers, chosen among our links that the rings say are linked with the target. A target without
 * a link starts wide; when no helper has one either, and there is routing, an envelope looks for it: last, because a search
 * for what is gone costs a dozen times as much. A peer's request for an indirect probe is a direct probe whose outcome is
 * reported and which goes no further.
 *
 * What comes out is a {@link Finding}. Whether silence leads to an accusation is decided elsewhere; so is which silence
 * counts: `by` says what was tried. Time-outs follow the link's round trips and stalls, stretched by local health.
 */
export class Prober {
  readonly #context: Context;
  readonly #rotation: Rotation;
  readonly #probes = new OpenProbes();
  readonly #routedRate = new Meter(REQUEST_RATE);
  #sequence: number;
  #tickAt: Instant;
  #sweptAt: Instant = Number.NEGATIVE_INFINITY;
  #ringVersion = -1;
  #linksChanged = true;
  #isolated = false;
  #stopped = false;
  #findings: Finding[] = [];

  constructor(context: Context, now: Instant) {
    this.#context = context;
    this.#rotation = new Rotation(context.random.fork("rotation"));
    this.#sequence = context.random.u32();
    this.#tickAt = now + PROBE_INTERVAL_MS * fraction(context.random);
  }

  /** What was found since the last call. */
  take(): readonly Finding[] {
    if (this.#findings.length === 0) return NOTHING;
    const findings = this.#findings;
    this.#findings = [];
    return findings;
  }

  deadline(): Instant {
    return Math.min(this.#probes.nextAt(), this.#stopped ? Number.POSITIVE_INFINITY : this.#tickAt);
  }

  /** The link is new or another: what was tried without it says nothing. */
  linkUp(peer: PeerId): void {
    this.#linksChanged = true;
    const probe = this.#probes.of(peer);
    if (probe !== undefined) this.#end(probe, "no-link");
  }

  /** The path of a probe that may be under way is gone. */
  linkDown(peer: PeerId): void {
    this.#linksChanged = true;
    const probe = this.#probes.of(peer);
    if (probe !== undefined) this.#end(probe, "no-link");
  }

  /** Probes a member at once: a closed channel, a suspicion or a dispute is a hint, and no more than that. */
  investigate(peer: PeerId, now: Instant): void {
    if (this.#stopped || !this.#isProbed(peer)) return;
    const probe = this.#probes.of(peer);
    if (probe !== undefined) {
      if (probe.stage === "errand") probe.stage = "urgent";
      return;
    }
    const link = this.#context.links.of(peer);
    if (link === undefined) this.#widen(peer, now);
    else this.#probe(link, "urgent", SPREAD_MS * fraction(this.#context.random), now);
  }

  /** We have not run for a while: what is outstanding says nothing about others. */
  thaw(now: Instant): void {
    this.#probes.clear();
    this.#tickAt = now + PROBE_INTERVAL_MS * fraction(this.#context.random);
    this.#sweptAt = now;
  }

  /** No more probes from here; those of others are answered. */
  stop(): void {
    this.#stopped = true;
    this.#probes.clear();
  }

  timeout(now: Instant): void {
    for (const probe of this.#probes.due(now)) {
      if (probe.dueAt <= now) this.#expire(probe, now);
      else this.#repeat(probe, now);
    }
    if (this.#tickAt > now || this.#stopped) return;
    this.#tickAt = now + PROBE_INTERVAL_MS * this.#context.health.stretch;
    this.#retarget();
    for (let tries = this.#rotation.size; tries > 0; tries--) {
      const target = this.#rotation.next() as PeerId;
      if (this.#probes.of(target) !== undefined) continue;
      const link = this.#context.links.of(target);
      if (link === undefined) this.#widen(target, now);
      else this.#probe(link, "direct", 0, now);
      return;
    }
  }

  /** A frame of the probe lane. */
  frame(link: Link, bytes: Uint8Array, now: Instant): void {
    const { out } = this.#context;
    const from = link.peer;
    const frame = decodeProbeFrame(bytes);
    switch (frame?.type) {
      case "probe":
        if (link.mayAnswer(now)) out.probe(from, encodeProbe("answer", frame.sequence));
        else out.fault("flood", from);
        break;
      case "answer":
        this.#answered(link, frame.sequence, now);
        break;
      case "request":
        this.#requested(link, frame.sequence, frame.target, now);
        break;
      case "report":
        this.#reported(from, frame.sequence, frame.verdict, now);
        break;
      default:
        out.fault("malformed", from);
    }
  }

  /** A frame out of a routed envelope: a probe or the answer to one. */
  routed(from: PeerId, bytes: Uint8Array, now: Instant): void {
    const frame = decodeProbeFrame(bytes);
    if (frame?.type === "probe") {
      if (this.#routedRate.admits(from, now)) this.#context.out.route(from, encodeProbe("answer", frame.sequence));
    } else if (frame?.type === "answer") {
      const probe = this.#probes.of(from);
      if (probe?.routedSequence === frame.sequence) this.#reached(probe);
    } else this.#context.out.fault("malformed", from);
  }

  /** The peers of our links and our neighbours, as far as they count as there; strangers on a link are probed too. */
  #retarget(): void {
    const { table, links } = this.#context;
    if (!this.#linksChanged && this.#ringVersion === table.rings.version) return;
    this.#linksChanged = false;
    this.#ringVersion = table.rings.version;
    const seat = table.rings.seat(this.#context.self);
    const targets = seat === undefined ? new Set<PeerId>() : wantedLinks(table.rings, seat);
    for (const { peer } of links.all()) if (this.#isProbed(peer)) targets.add(peer);
    this.#rotation.update(targets);
  }

  #isProbed(peer: PeerId): boolean {
    const state = this.#context.table.stateOf(peer);
    return state === undefined ? this.#context.links.has(peer) : isThere(state);
  }

  #probe(link: Link, stage: "direct" | "urgent" | "errand", spreadMs: number, now: Instant): Probe | undefined {
    if (this.#probes.isFull) return undefined;
    const dueAt = now + spreadMs + this.#timeoutMs(link, now);
    const probe = newProbe(link.peer, stage, link, now, dueAt);
    this.#probes.put(probe);
    this.#sendProbe(probe, link, now);
    return probe;
  }

  #sendProbe(probe: Probe, link: Link, now: Instant): void {
    probe.sequence = this.#nextSequence();
    probe.sentAt = now;
    this.#context.out.probe(link.peer, encodeProbe("probe", probe.sequence));
  }

  /** The same probe again, as a reason for the link to look after what it has lost. */
  #repeat(probe: Probe, now: Instant): void {
    const { link } = probe;
    probe.repeatAt = ++probe.repeats < REPEATS ? now + REPEAT_MS : Number.POSITIVE_INFINITY;
    if (link !== undefined) this.#context.out.probe(link.peer, encodeProbe("probe", probe.sequence));
  }

  /** The second stage, or the first for a target without a link. */
  #widen(target: PeerId, now: Instant): void {
    const { links, out, random } = this.#context;
    const old = this.#probes.of(target);
    if ((old === undefined && this.#probes.isFull) || this.#stopped) return;
    const link = links.of(target);
    const directMs = link === undefined ? 0 : this.#timeoutMs(link, now);
    const waitMs = Math.max(INDIRECT_LEAST_MS * this.#context.health.stretch, 2 * directMs);
    const dueAt = now + waitMs + SPREAD_MS * fraction(random);
    const startedAt = old?.startedAt ?? now;
    const probe = newProbe(target, "wide", link, startedAt, dueAt);
    probe.directUntil = now + directMs;
    this.#probes.put(probe);
    if (link !== undefined) {
      this.#sendProbe(probe, link, now);
      probe.repeatAt = now + REPEAT_MS;
    }
    for (const peer of helpersFor(this.#context, target)) {
      const sequence = this.#nextSequence();
      probe.helpers.push({ peer, sequence, verdict: "none" });
      out.probe(peer, encodeRequest(sequence, target));
    }
    if (probe.helpers.length === 0) this.#routeProbe(probe, now);
  }

  /**
   * The last resort for a target that neither we nor a helper has a link with; false when it is out of reach, or tried, or
   * so new that its silence would prove nothing.
   */
  #routeProbe(probe: Probe, now: Instant): boolean {
    const { routing, out, health, table } = this.#context;
    if (!routing || probe.link !== undefined || probe.routedSequence >= 0) return false;
    const member = table.get(probe.target);
    if (member !== undefined && isUnheard(member) && now - member.knownSince < ROUTED_UNPROVEN_MS) return false;
    probe.routedSequence = this.#nextSequence();
    probe.dueAt = Math.max(probe.dueAt, now + ROUTED_LEAST_MS * health.stretch);
    out.route(probe.target, encodeProbe("probe", probe.routedSequence));
    return true;
  }

  #answered(link: Link, sequence: number, now: Instant): void {
    const { links, health, table } = this.#context;
    const record = table.recordOf(link.peer);
    if (record !== link.provenBy && record !== undefined) {
      link.provenBy = record;
      table.proven(link.peer, record.boot);
    }
    link.misses = 0;
    link.deaf = false;
    this.#isolated = false;
    const probe = this.#probes.of(link.peer);
    if (probe !== undefined && probe.link === link && probe.sequence === sequence) {
      links.answered(link, now - probe.sentAt, now);
      if (now <= probe.dueAt) health.better();
      this.#reached(probe);
    } else if (link.missedSequence === sequence) {
      links.answered(link, now - link.missedSentAt, now);
      if (probe !== undefined) this.#reached(probe);
    }
  }

  #requested(link: Link, sequence: number, target: PeerId, now: Instant): void {
    const { out, links } = this.#context;
    if (!link.mayRequest(now)) {
      out.fault("flood", link.peer);
      return;
    }
    const path = links.of(target);
    const probe = this.#probes.of(target) ?? (path && this.#probe(path, "errand", 0, now));
    if (path === undefined || probe === undefined || probe.askers.length >= MAX_ASKERS)
      out.probe(link.peer, encodeReport(sequence, "no-link"));
    else probe.askers.push({ peer: link.peer, sequence });
  }

  #reported(from: PeerId, sequence: number, verdict: Verdict, now: Instant): void {
    for (const probe of this.#probes.all()) {
      const helper = probe.helpers.find((other) => other.peer === from && other.sequence === sequence);
      if (helper === undefined) continue;
      helper.verdict = verdict;
      if (verdict === "reached") this.#reached(probe);
      else if (probe.routedSequence >= 0 || probe.helpers.some((other) => other.verdict === "none")) return;
      else if (probe.helpers.some((other) => other.verdict === "silent") || !this.#routeProbe(probe, now)) {
        // Everybody has spoken: only our own second probe is still awaited.
        probe.dueAt = Math.min(
          probe.dueAt,
          Math.max(now, probe.directUntil) + SPREAD_MS * fraction(this.#context.random),
        );
      }
      return;
    }
  }

  #expire(probe: Probe, now: Instant): void {
    const { link, target } = probe;
    if (link !== undefined) this.#missed(link, probe);
    if (probe.stage === "errand") {
      this.#end(probe, "silent");
      // Whoever sent us may not be one of its observers. We are, and now we know as much.
      if (this.#context.table.mayAccuse(this.#context.self, target, now)) this.#widen(target, now);
    } else if (probe.stage === "urgent") {
      this.#end(probe, "silent");
      this.#findings.push({ type: "silent", peer: target, startedAt: probe.startedAt, by: "link" });
    } else if (probe.stage === "direct") {
      this.#end(probe, "silent");
      this.#widen(target, now);
      if (now - this.#sweptAt >= SWEEP_SPACING_MS) this.#sweep(now);
    } else if (
      !probe.extended &&
      probe.helpers.length > 0 &&
      probe.helpers.every(({ verdict }) => verdict === "none")
    ) {
      // Not one helper speaks, not even to say that it has no link: that looks like a stall of our own.
      probe.extended = true;
      probe.dueAt = now + STALL_MS;
      this.#context.health.worse();
    } else this.#conclude(probe);
  }

  #missed(link: Link, probe: Probe): void {
    if (link.misses++ === 0) {
      link.missedSequence = probe.sequence;
      link.missedSentAt = probe.sentAt;
    }
    if (link.misses === 2) this.#context.out.push({ type: "link-silent", peer: link.peer });
    if (this.#isolated) return;
    for (const other of this.#context.links.all()) if (other.misses === 0) return;
    this.#isolated = true;
    this.#context.out.push({ type: "isolated" });
  }

  /** One missed answer: is it that peer, or is it us? */
  #sweep(now: Instant): void {
    this.#sweptAt = now;
    for (const link of this.#context.links.all()) {
      if (this.#probes.of(link.peer) === undefined && this.#isProbed(link.peer)) this.#probe(link, "direct", 0, now);
    }
  }

  #conclude(probe: Probe): void {
    // One silent helper may be unwell itself; that none of them speaks points at us.
    if (probe.helpers.length > 0 && probe.helpers.every(({ verdict }) => verdict === "none")) {
      this.#context.health.worse();
    }
    this.#end(probe, "silent");
    const tried = probe.helpers.some((helper) => helper.verdict === "silent");
    const by = probe.link !== undefined ? "link" : tried ? "helper" : probe.routedSequence >= 0 ? "route" : "no-path";
    this.#findings.push({ type: "silent", peer: probe.target, startedAt: probe.startedAt, by });
  }

  #reached(probe: Probe): void {
    this.#end(probe, "reached");
    if (probe.stage !== "direct" && probe.stage !== "errand")
      this.#findings.push({ type: "reached", peer: probe.target });
  }

  #end(probe: Probe, verdict: Verdict): void {
    this.#probes.remove(probe.target);
    for (const { peer, sequence } of probe.askers) {
      if (this.#context.links.has(peer)) this.#context.out.probe(peer, encodeReport(sequence, verdict));
    }
  }

  #timeoutMs(link: Link, now: Instant): number {
    return this.#context.links.timeoutMs(link, now) * this.#context.health.stretch;
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

/** What a probe has shown. */
export type Finding =
  /** It answered, to us or to a helper, after we had begun to wonder. */
  | { readonly type: "reached"; readonly peer: PeerId }
  /** It answered nobody. `by`: the strongest thing that was tried; `no-path`: nothing could be tried. */
  | {
      readonly type: "silent";
      readonly peer: PeerId;
      readonly startedAt: Instant;
      readonly by: "link" | "helper" | "route" | "no-path";
    };
