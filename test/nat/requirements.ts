import { spawnSync } from "node:child_process";

/** What this machine lacks for the lab; undefined when it can run. */
export function missingForLab(): string | undefined {
  if (process.platform !== "linux") return "the NAT lab needs Linux: it is made of network namespaces";
  if (process.getuid?.() !== 0) return "the NAT lab needs root, to make network namespaces";
  const programs = [
    ["ip", ["-V"], "iproute2"],
    ["nft", ["-v"], "nftables"],
    ["openssl", ["version"], "openssl"],
  ] as const;
  const absent = programs.filter(([file, args]) => spawnSync(file, args).error !== undefined);
  if (absent.length > 0)
    return `the NAT lab needs ${absent.map(([file]) => file).join(" and ")}: apt-get install ${absent.map(([, , name]) => name).join(" ")}`;
  return refusalOfKernel();
}

/** What this machine lacks for lines that delay packets; undefined when it has all. */
export function missingForDelay(): string | undefined {
  const name = `starling-${process.pid}-check`;
  spawnSync("ip", ["netns", "add", name]);
  try {
    const lines = [
      "link add near type veth peer name far",
      "link add link near name tap type macvtap mode passthru",
    ].join("\n");
    const made = spawnSync("ip", ["-n", name, "-batch", "-"], { encoding: "utf8", input: lines });
    if (made.status === 0) return undefined;
    return `the NAT lab delays packets by macvtap, which this kernel refuses (leave \`delay\` out of --part): ${made.stderr.trim().split("\n")[0]}`;
  } finally {
    spawnSync("ip", ["netns", "del", name]);
  }
}

/** Containers often have root without what it takes. */
function refusalOfKernel(): string | undefined {
  const name = `starling-${process.pid}-check`;
  const made = spawnSync("ip", ["netns", "add", name], { encoding: "utf8" });
  if (made.status !== 0) return `the NAT lab may not make network namespaces here: ${made.stderr.trim()}`;
  try {
    const rules = `table ip check {
      chain forward { type filter hook forward priority filter; numgen random mod 10 < 1 drop; }
      chain source { type nat hook postrouting priority srcnat; masquerade fully-random; }
    }`;
    const forward = ["netns", "exec", name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
    const steps = [
      spawnSync("ip", forward, { encoding: "utf8" }),
      spawnSync("ip", ["netns", "exec", name, "nft", "-f", "-"], { encoding: "utf8", input: rules }),
      spawnSync("ip", ["-n", name, "link", "add", "b0", "type", "bridge"], { encoding: "utf8" }),
    ];
    const failed = steps.find(({ status }) => status !== 0);
    return failed && `the NAT lab cannot run on this kernel: ${failed.stderr.trim().split("\n")[0]}`;
  } finally {
    spawnSync("ip", ["netns", "del", name]);
  }
}
