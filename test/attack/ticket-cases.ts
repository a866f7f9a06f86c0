import { encodeClientMessage } from "../../src/proto/signaling/client-messages.ts";
import { HELLO_HEADER } from "../../src/proto/signaling/messages.ts";
import { encodeResumption, TICKET_HEADER } from "../../src/proto/signaling/resumption.ts";
import { crypto, type Field } from "./field.ts";
import { type Ending, type SignalingCase, served } from "./signaling-cases.ts";

/** Connections that come with a ticket that is none: the server challenges them as if they had none. */

/** A hello in the request, with what else is said of coming back; what the server answers first. */
async function comingBack(field: Field, ticket: Uint8Array | string): Promise<Ending> {
  const { id } = field.identity();
  const { clusterId } = field.cluster;
  const instance = crypto.randomBytes(16);
  const hello = { type: "hello", cluster: clusterId, peer: id, instance, serverName: field.serverName } as const;
  const client = await field.stranger(field.address(), {
    [HELLO_HEADER]: Buffer.from(encodeClientMessage(hello)).toString("base64url"),
    [TICKET_HEADER]: typeof ticket === "string" ? ticket : Buffer.from(ticket).toString("base64url"),
  });
  const answer = await client.next();
  client.socket.terminate();
  if (answer?.type === "welcome") throw new Error("a ticket was taken that nobody has sealed");
  return answer?.type === "challenge" ? "served" : "closed";
}

const forged = (ticketBytes: number, at: number): Uint8Array =>
  encodeResumption({ ticket: crypto.randomBytes(ticketBytes), at, proof: crypto.randomBytes(32) });

export const TICKET_CASES: readonly SignalingCase[] = [
  {
    name: "a ticket that nobody has sealed",
    ending: "served",
    counter: "ticketsRefused",
    attack: (field) => comingBack(field, forged(300, Date.now())),
  },
  {
    name: "a ticket of one byte, from the end of time",
    ending: "served",
    counter: "ticketsRefused",
    attack: (field) => comingBack(field, forged(1, Number.MAX_SAFE_INTEGER)),
  },
  {
    name: "a depth bomb in the place of a ticket",
    ending: "served",
    counter: "ticketsRefused",
    attack: (field) => comingBack(field, new Uint8Array(1_500).fill(0x91)),
  },
  {
    name: "a ticket beyond the size",
    ending: "served",
    attack: (field) => comingBack(field, "A".repeat(6_000)),
  },
  {
    name: "a question for a ticket with a share that the login has not signed",
    ending: "served",
    counter: "ticketsRefused",
    attack: async (field) => {
      const identity = field.identity();
      const client = await field.member(identity);
      const { publicKey } = crypto.boxKeyPair();
      client.say({ type: "seek", share: publicKey, token: await field.token(identity.id) });
      return served(client);
    },
  },
];
