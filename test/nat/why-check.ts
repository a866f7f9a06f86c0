import type { PathAccount, WhyReport } from "../../src/why.ts";
import type { Cell } from "./cells.ts";
import { NAT_TYPES, type NatName } from "./nat-types.ts";
import { verdictOn } from "./netcheck.ts";

/** What `starling why` has to say in a cell, known from the NATs that the lab has built there, and whether it does. */

/** What of a report is not so; undefined when all of it is right. `path`: the one that the link has. */
export function falsehoodOf(cell: Cell, report: WhyReport, path: string | undefined): string | undefined {
  const [there, here] = cell.nats;
  if (report.path !== path) return `why says that the path is ${report.path}, and it is ${path}`;
  const reason = reasonFor(cell, report.path);
  if (!report.why.startsWith(reason)) return `why says ${JSON.stringify(report.why)}, and it is ${reason}`;
  if ((report.remedy === null) !== (report.path === "direct")) return `why names as a remedy: ${report.remedy}`;
  return misjudged(here, report.ours) ?? misjudged(there, report.theirs);
}

/** How the sentence begins that the second host has to be told. */
function reasonFor({ nats: [there, here], shared, expected }: Cell, path: string): string {
  if (path === "direct") return "The link is direct.";
  const [udpThere, udpHere] = [NAT_TYPES[there].behaviour.udp, NAT_TYPES[here].behaviour.udp];
  if (!udpThere || !udpHere)
    return `UDP is blocked ${udpThere ? "on our side" : udpHere ? "on their side" : "on both sides"}, so`;
  if (shared) return "Both are behind the same NAT (";
  if (expected === "either") return "By their NATs the two could be linked directly, and are not";
  const [hardThere, hardHere] = [verdictOn(there).kind === "hard", verdictOn(here).kind === "hard"];
  if (hardThere && hardHere) return "Both NATs change the port with the destination";
  return hardHere ? "Our NAT changes the port with" : "Their NAT changes the port with";
}

function misjudged(nat: NatName, account: PathAccount | null): string | undefined {
  if (!account) return "why has nothing from the other side";
  const { udp, mapping, filtering, kind } = verdictOn(nat);
  const said = [account.udp, account.mapping, account.filtering, account.nat].join(", ");
  const known = [udp, mapping, filtering, kind].join(", ");
  return said === known ? undefined : `why says that ${nat} is ${said}, and it is ${known}`;
}
