import { readApiKeys } from "../drivers/state/api-keys.ts";
import { checkApiKey } from "../proto/trust/api-key.ts";
import { SCOPE_JOIN } from "../proto/trust/scopes.ts";
import type { Granted, WayIn } from "./ways-in.ts";

const PREFIX = "starling-key-";
const ROLE = "member";

/**
 * Admits whoever shows an API key of `stateDirectory` that allows joining; the member gets the key's scopes. The file is read anew each
 * time, so that a key that was revoked admits nobody from then on.
 */
export function apiKeyWay(stateDirectory: string): WayIn {
  return {
    async admit(credential, _asker, now): Promise<Granted | undefined> {
      if (!credential.startsWith(PREFIX)) return undefined;
      const checked = checkApiKey(credential, await readApiKeys(stateDirectory), SCOPE_JOIN, now);
      if (checked.ok)
        return { ok: true, scopes: checked.record.scopes, role: ROLE, who: `apikey:${checked.record.id}` };
      const fault =
        checked.fault === "expired" ? "expired" : checked.fault === "scope" ? "missing-scope" : "bad-credential";
      return { ok: false, fault };
    },
  };
}
