import { type Observation, serveObservation } from "../drivers/observation.ts";
import { readApiKeys } from "../drivers/state/api-keys.ts";
import { checkApiKey } from "../proto/trust/api-key.ts";
import { scopeFor } from "../proto/trust/rights.ts";
import { parseListen, say } from "./output.ts";

/**
 * Answers Prometheus at `listen` (`host:port`), and says where; undefined when nothing was asked for. Keys for other machines are those
 * of `stateDirectory`, read anew for each request, so that a key that was revoked is refused at once.
 */
export async function observe(
  listen: string | undefined,
  stateDirectory: string,
  subject: {
    readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
    readonly isReady: () => boolean;
  },
): Promise<Observation | undefined> {
  if (listen === undefined) return undefined;
  const observation = await serveObservation({
    ...subject,
    listen: parseListen(listen),
    isAllowed: async (key) =>
      checkApiKey(key, await readApiKeys(stateDirectory), scopeFor("read-metrics"), Date.now()).ok,
  });
  const host = observation.host.includes(":") ? `[${observation.host}]` : observation.host;
  say(`metrics on http://${host}:${observation.port}/metrics`);
  return observation;
}
