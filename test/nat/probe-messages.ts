/** What the probe and its other end say to each other, as JSON in UDP. */

export const PROBE_PORTS = [9_001, 9_002] as const;

export interface ProbeRequest {
  readonly id: number;
  /** `address:port` of the server's socket that is to answer. Default: the one that was asked. */
  readonly via?: string;
  /** Where to answer to. Default: where the request came from. */
  readonly to?: { readonly address: string; readonly port: number };
  readonly delayMs?: number;
}

export interface ProbeAnswer {
  readonly id: number;
  /** Where the request seemed to come from. */
  readonly address: string;
  readonly port: number;
}

/** What a probe saw: where one socket seems to come from to different remote ends, and whose packets reach it. */
export interface Sighting {
  readonly udp: boolean;
  /** TCP to a port that is open everywhere, and to another. */
  readonly tcp: { readonly open: boolean; readonly other: boolean };
  readonly mapping?: "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
  readonly filtering?: "endpoint-independent" | "address-dependent" | "address-and-port-dependent";
  /** Whether a port was kept that a packet of the remote end had come for before. */
  readonly breaksWhenEarly?: boolean;
  readonly keepsPort?: boolean;
}
