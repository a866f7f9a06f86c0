import { networkInterfaces } from "node:os";
import type { InterfaceAddress } from "../proto/negotiation/own-candidates.ts";

/** The addresses of this machine at this moment. */
export function readInterfaces(): readonly InterfaceAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, internal }) => ({ name, address, internal })),
  );
}
