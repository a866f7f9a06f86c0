import type { Authority } from "./authority.ts";
import type { Refusal, RoomsInput, RoomsOutput } from "./proto/events.ts";

/** What a signaling server's machine asks its authority and gets the answer of later. */
export type Question = Extract<
  RoomsOutput,
  { type: "authenticate" | "seal-ticket" | "renew" | "exchange" | "decree" | "check-desk" }
>;

const UNAVAILABLE: Refusal = {
  ok: false,
  code: "unavailable",
  detail: "the server cannot check tokens at the moment",
};

/** Puts a question to the authority; the input that carries its answer. Never rejects: `failed` hears why there is none. */
export async function answerTo(
  question: Question,
  authority: Authority,
  failed: (error: unknown) => void,
): Promise<RoomsInput> {
  const or = async <T>(otherwise: T, ask: () => Promise<T>): Promise<T> => {
    try {
      return await ask();
    } catch (error) {
      failed(error);
      return otherwise;
    }
  };
  const { type, connection } = question;
  switch (type) {
    case "authenticate": {
      const verdict = await or(UNAVAILABLE, () => authority.authenticate(question.request));
      return { type: "authenticated", connection, verdict };
    }
    case "seal-ticket": {
      const ticket = await or(undefined, () => authority.sealTicket(question.request));
      return { type: "ticket-sealed", connection, ticket };
    }
    case "renew": {
      const verdict = await or(UNAVAILABLE, () => authority.renew(question.request));
      return { type: "renewed", connection, verdict };
    }
    case "exchange": {
      const bytes = await or(undefined, () => authority.exchange(question.request));
      return { type: "exchanged", connection, bytes };
    }
    case "decree": {
      const verdict = await or({}, () => authority.decree(question.notice));
      return { type: "decreed", connection, verdict };
    }
    case "check-desk": {
      const desk = await or(undefined, () => authority.checkDesk(question.claim));
      return { type: "desk-checked", connection, desk };
    }
  }
}
