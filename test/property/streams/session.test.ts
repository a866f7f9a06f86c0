import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LinkOutput } from "../../../src/proto/streams/events.ts";
import { Lane } from "../../../src/proto/streams/lanes.ts";
import { Model, side, step } from "./model.ts";
import { other, type Side } from "./pipe.ts";

const SIDES: readonly Side[] = ["dialer", "answerer"];

/** What happens to channels. */
type Turn =
  /** Everything on its way is lost, and nothing passes any more. */
  | { readonly do: "break" }
  /** A side finds out that its channel is gone. */
  | { readonly do: "notice"; readonly side: Side }
  /** A new channel is open and both sides have said what they have. */
  | { readonly do: "meet" }
  /** A side begins to use it. */
  | { readonly do: "attach"; readonly side: Side };

const turn: fc.Arbitrary<Turn> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("break", "meet") }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("notice", "attach"), side }) },
);

/** What two sides agreed on over a channel that neither may use yet. */
interface Meeting {
  readonly stated: Readonly<Record<Side, number>>;
  readonly lanes: "kept" | "cut";
  readonly attached: Set<Side>;
}

/** Applications over links whose channels come and go. */
class SessionModel extends Model {
  readonly detached = new Set<Side>();
  meeting: Meeting | undefined;
  channels = 0;
  swaps = 0;
  gaps = 0;

  protected override output(at: Side, output: LinkOutput): void {
    if (output.type === "detached") this.#lost(at);
    else super.output(at, output);
  }

  override mayLose(stream: number): boolean {
    return stream === Lane.probe ? this.channels > 0 : stream <= Lane.data && this.gaps > 0;
  }

  turn(change: Turn): void {
    switch (change.do) {
      case "break":
        this.pipe.broken = this.channels;
        break;
      case "notice":
        this.#notice(change.side);
        break;
      case "meet":
        this.meet();
        break;
      case "attach":
        this.attach(change.side);
    }
  }

  #notice(at: Side): void {
    const isBroken = this.pipe.channel[at] <= this.pipe.broken;
    if (isBroken && !this.detached.has(at)) this.pipe.handle(at, { type: "detach" });
  }

  meet(): void {
    if (this.meeting !== undefined) return;
    const { dialer, answerer } = this.pipe.links;
    this.meeting = {
      stated: { dialer: dialer.framesReceived, answerer: answerer.framesReceived },
      lanes: this.detached.size > 0 ? "cut" : "kept",
      attached: new Set(),
    };
  }

  attach(at: Side): void {
    const { meeting } = this;
    if (meeting === undefined || meeting.attached.has(at)) return;
    // Lost its channel after it had said that it has one: its mesh was told, so the other side must begin afresh, too.
    if (meeting.lanes === "kept" && this.detached.has(at)) {
      this.meeting = undefined;
      for (const side of meeting.attached) this.pipe.handle(side, { type: "detach" });
      return;
    }
    if (meeting.attached.size === 0) this.channels++;
    meeting.attached.add(at);
    this.detached.delete(at);
    this.pipe.channel[at] = this.channels;
    const { stated, lanes } = meeting;
    this.pipe.handle(at, { type: "attach", role: at, received: stated[other(at)], lanes });
    if (meeting.attached.size < 2) return;
    this.meeting = undefined;
    this.swaps++;
  }

  #lost(at: Side): void {
    this.detached.add(at);
    this.gaps++;
  }

  /** One last channel that works, and everything runs out. */
  override finish(): void {
    for (const at of SIDES) this.attach(at);
    for (const at of SIDES) this.#notice(at);
    this.meet();
    for (const at of SIDES) this.attach(at);
    super.finish();
  }
}

describe("a session over channels that come and go", () => {
  test("loses, doubles and reorders nothing on streams, and on lanes loses nothing but with a gap", () => {
    const totals = { swaps: 0, gaps: 0 };
    const act = fc.oneof(
      { weight: 3, arbitrary: step.map((action) => ({ action })) },
      { weight: 1, arbitrary: turn.map((change) => ({ change })) },
    );
    fc.assert(
      fc.property(fc.array(act, { minLength: 20, maxLength: 200, size: "max" }), (acts) => {
        const model = new SessionModel();
        for (const next of acts) {
          if ("action" in next) model.apply(next.action);
          else model.turn(next.change);
        }
        model.finish();
        for (const [key, messages] of model.sent) {
          const stream = Number(key.split(" ")[1]);
          if (!model.resets.has(stream) && !model.mayLose(stream))
            expect([key, model.came.get(key) ?? 0]).toEqual([key, messages.length]);
        }
        const { dialer, answerer } = model.pipe.links;
        expect([dialer.framesSent, dialer.framesAcknowledged]).toEqual(Array(2).fill(answerer.framesReceived));
        expect([answerer.framesSent, answerer.framesAcknowledged]).toEqual(Array(2).fill(dialer.framesReceived));
        expect(dialer.streamCount).toBe(answerer.streamCount);
        totals.swaps += model.swaps;
        totals.gaps += model.gaps;
      }),
      { numRuns: 300 },
    );
    expect(totals.swaps).toBeGreaterThan(300);
    expect(totals.gaps).toBeGreaterThan(100);
  });
});
