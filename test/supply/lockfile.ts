/**
 * What the lockfile says of everything that is installed: under which licence it is, and that it is the very package that was
 * reviewed. CONTRIBUTING.md has the policy in words.
 */

/** An entry of `packages` in a lockfile of version 3, as far as it is read here. */
export interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  /** A workspace of this repository. */
  readonly link?: boolean;
  /** Not in what is published. */
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
}

export type LockedPackages = Readonly<Record<string, LockedPackage>>;

/** Licences under which anything may be used, and shipped beside this project. */
const PERMISSIVE: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "Unlicense",
]);

/**
 * Weak copyleft, by file: used unchanged and never copied from. Each is named, so that another one is somebody's decision. What is only
 * there for development may have it without being named.
 */
const WEAK_COPYLEFT: ReadonlySet<string> = new Set(["MPL-2.0", "MPL 2.0"]);
const WEAK_COPYLEFT_ALLOWED = /^(mediabunny|node-datachannel|@node-datachannel\/[\w-]+)$/;

/** Native code whose install script is known, and which works without it: scripts are off. */
const INSTALL_SCRIPTS: ReadonlySet<string> = new Set(["lmdb", "msgpackr-extract"]);

/** What is wrong with the packages of a lockfile, one sentence each. */
export function lockfileFaults(packages: LockedPackages): string[] {
  return Object.entries(packages).flatMap(([path, entry]) => {
    const at = path.lastIndexOf("node_modules/");
    // The project itself, and its workspaces.
    if (at < 0 || entry.link === true) return [];
    const name = path.slice(at + "node_modules/".length);
    return faultsOf(name, entry).map((fault) => `${name} ${entry.version ?? ""}: ${fault}`);
  });
}

function faultsOf(name: string, entry: LockedPackage): string[] {
  const faults: string[] = [];
  const { license, integrity, resolved, dev = false, hasInstallScript = false } = entry;
  if (license === undefined) faults.push("no licence is stated");
  else if (!isAllowed(name, license, dev)) faults.push(`the licence ${license} is not on the list`);
  if (!integrity?.startsWith("sha512-")) faults.push("no SHA-512 of it is stated");
  if (resolved !== undefined) faults.push("it comes from elsewhere than the registry");
  if (hasInstallScript && !INSTALL_SCRIPTS.has(name)) faults.push("it wants to run a script when it is installed");
  return faults;
}

/** One of several by choice (`OR`) is enough; of several together (`AND`) all are needed. */
function isAllowed(name: string, license: string, dev: boolean): boolean {
  return license
    .replace(/[()]/g, "")
    .split(/ OR /i)
    .some((choice) =>
      choice
        .split(/ AND /i)
        .every((one) => PERMISSIVE.has(one) || (WEAK_COPYLEFT.has(one) && (dev || WEAK_COPYLEFT_ALLOWED.test(name)))),
    );
}

/** How many packages are under each licence, the most frequent first. */
export function licenceCounts(packages: LockedPackages): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const [path, { license = "none", link }] of Object.entries(packages))
    if (path.includes("node_modules/") && link !== true) counts.set(license, (counts.get(license) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}
