import { nativeStack } from "../../src/drivers/rtc.native.ts";
import { weriftStack } from "../../src/drivers/rtc.werift.ts";
import { rtcContract } from "./rtc-contract.ts";

rtcContract("werift", async () => {
  const stack = weriftStack();
  return { initiator: stack, answerer: stack };
});

rtcContract("native", async () => {
  const stack = await nativeStack();
  return { initiator: stack, answerer: stack };
});

rtcContract("native to werift", async () => ({ initiator: await nativeStack(), answerer: weriftStack() }));

rtcContract("werift to native", async () => ({ initiator: weriftStack(), answerer: await nativeStack() }));
