import { spawnSync } from "node:child_process";
import { openSync, read, readdirSync, readFileSync, unlinkSync, writeSync } from "node:fs";

/**
 * A wire that takes its time: `delay-mover.ts INTERFACE INTERFACE ONE_WAY_MS JITTER_MS`. What comes in at one of two macvtap interfaces goes
 * out at the other so much later, each direction for itself and in order.
 *
 * A macvtap interface is a character device as well: a read is a frame, a write is a frame, with no ioctl in between, so that
 * plain file operations move it. It is what a kernel without netem has to delay packets with.
 */

/** A frame of Ethernet, one that the kernel has not cut yet at most, and the header (virtio) that comes before it. */
const MAX_FRAME_BYTES = 66_000;
/** Frames under way in one direction; what comes then is lost, as in any queue that is full. */
const MAX_UNDER_WAY = 8_192;

const [near = "", far = "", oneWay = "", jitter = ""] = process.argv.slice(2);
const [oneWayMs, jitterMs] = [Number(oneWay), Number(jitter)];

/** Opens the device of an interface by a node of our own: those of the system are called by numbers that are not unique here. */
function openTap(name: string): number {
  const folder = `/sys/class/net/${name}/macvtap`;
  const [tap] = readdirSync(folder);
  const [major = "", minor = ""] = readFileSync(`${folder}/${tap}/dev`, "utf8").trim().split(":");
  const node = `/dev/starling-nat-${process.pid}-${name}`;
  const made = spawnSync("mknod", [node, "c", major, minor], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`mknod: ${made.stderr}`);
  try {
    return openSync(node, "r+");
  } finally {
    unlinkSync(node);
  }
}

function move(from: number, to: number): void {
  const underWay: { readonly frame: Buffer; readonly dueAt: number }[] = [];
  let lastDueAt = 0;
  const deliver = (): void => {
    for (;;) {
      const [next] = underWay;
      if (!next) return;
      const leftMs = next.dueAt - performance.now();
      if (leftMs > 0) {
        setTimeout(deliver, leftMs);
        return;
      }
      underWay.shift();
      send(to, next.frame);
    }
  };
  const buffer = Buffer.allocUnsafe(MAX_FRAME_BYTES);
  const receive = (): void =>
    read(from, buffer, 0, MAX_FRAME_BYTES, null, (error, bytes) => {
      if (error) throw error;
      lastDueAt = Math.max(lastDueAt, performance.now() + oneWayMs + Math.random() * jitterMs);
      const frame = Buffer.from(buffer.subarray(0, bytes));
      if (underWay.length < MAX_UNDER_WAY && underWay.push({ frame, dueAt: lastDueAt }) === 1) deliver();
      receive();
    });
  receive();
}

function send(to: number, frame: Buffer): void {
  try {
    writeSync(to, frame);
  } catch {
    // The other end is unplugged: lost, as on any wire.
  }
}

const [one, other] = [openTap(near), openTap(far)];
move(one, other);
move(other, one);
process.stdout.write("ready\n");
