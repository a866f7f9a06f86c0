import { parseDocument } from "yaml";
import { StarlingError } from "../errors.ts";

/**
 * The values of a configuration file in YAML, as plain data. `source`: how errors call it. Throws `config-invalid` for whatever is
 * not YAML, names a key twice, or unfolds aliases without end; prints nothing.
 */
export function parseYaml(text: string, source: string): unknown {
  const document = parseDocument(text, { uniqueKeys: true, logLevel: "error" });
  const error = document.errors[0];
  if (error) throw new StarlingError("config-invalid", `${source}: ${error.message}`);
  try {
    // A bounded alias count: a few lines of YAML must not unfold into gigabytes.
    return document.toJS({ maxAliasCount: 32 });
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new StarlingError("config-invalid", `${source}: ${detail}`, { cause });
  }
}
