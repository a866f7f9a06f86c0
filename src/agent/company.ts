import { Runner } from "../host/runner.ts";
import type { Instant } from "../proto/machine.ts";
import { Company, type CompanyInput, type CompanyOutput } from "../proto/overlay/company.ts";
import type { Servers } from "./servers.ts";

/** Looks for other members as {@link Company} says: `recall` is called when it is time for those of an earlier life. */
export function keepCompany(
  links: { readonly size: number },
  servers: Pick<Servers, "introduce" | "nudge" | "ready">,
  now: () => Instant,
  recall: () => void,
): Runner<CompanyInput, CompanyOutput> {
  const perform = (output: CompanyOutput): void => {
    if (output.type === "introduce") servers.introduce();
    else if (output.type === "recall") recall();
    else if (!(output.unlessReady && servers.ready)) servers.nudge();
  };
  return new Runner(new Company(links, now()), now, () => TIMEOUT, perform);
}

const TIMEOUT = { type: "timeout" } as const;
