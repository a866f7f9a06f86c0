import { MemoryLab } from "./memory-lab.ts";
import { SocketLab } from "./socket-lab.ts";
import { signalingContract } from "./suite.ts";

signalingContract("both cores in memory", async () => new MemoryLab());
signalingContract("both drivers over loopback", async () => new SocketLab());
