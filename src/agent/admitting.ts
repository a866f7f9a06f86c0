import { Runner } from "../host/runner.ts";
import type { Instant } from "../proto/machine.ts";
import type { PeerId } from "../proto/peer-id.ts";
import type { Random } from "../proto/random.ts";
import {
  Admission,
  type AdmissionInput,
  type AdmissionOptions,
  type AdmissionOutput,
} from "../proto/session/admission.ts";
import type { Trust } from "./trust.ts";

/** What an agent brings to an admission beside what {@link Trust} holds. */
export interface AdmittingContext {
  readonly trust: Trust;
  readonly random: Random;
  readonly now: () => Instant;
}

/** What is left of an admission's outputs once this agent's keys have answered for it. */
export type AdmittingOutput = Exclude<AdmissionOutput, { readonly type: "sign" | "verify" }>;

/** The channel in question, and who must be at its other end. */
export type AdmittingChannel = Pick<AdmissionOptions, "role" | "localFingerprint" | "remoteFingerprint" | "session"> & {
  readonly expected: PeerId;
};

/** Runs the {@link Admission} of one channel with what this agent holds. It begins with the input `open`. */
export function admitting(
  { trust, random, now }: AdmittingContext,
  channel: AdmittingChannel,
  perform: (output: AdmittingOutput) => void,
): Runner<AdmissionInput, AdmissionOutput> {
  const admission = new Admission({ ...trust.admissionFacts(), ...channel, self: trust.id, random });
  const runner: Runner<AdmissionInput, AdmissionOutput> = new Runner(
    admission,
    now,
    () => ({ type: "timeout" }),
    (output) => {
      if (output.type === "sign") {
        runner.input({ type: "signed", signature: trust.sign(output.label, output.body), resume: output.resume });
      } else if (output.type === "verify") {
        void trust.verify(output).then((verdict) => {
          if (!verdict.ok) runner.input({ type: "rejected", reason: verdict.reason });
          else if (verdict.token) runner.input({ type: "verified", resume: output.resume, token: verdict.token });
        });
      } else perform(output);
    },
  );
  return runner;
}
