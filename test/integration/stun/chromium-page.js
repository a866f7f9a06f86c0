// Runs in a page of chromium.test.ts: one end of a connection, with all its candidates in the description.

/** @type {RTCPeerConnection} */
let peer;
/** @type {RTCDataChannel} */
let channel;

async function described() {
  const gathered = new Promise((resolve) => {
    peer.onicegatheringstatechange = () => {
      if (peer.iceGatheringState === "complete") resolve();
    };
  });
  await peer.setLocalDescription();
  await gathered;
  return peer.localDescription.sdp;
}

globalThis.offer = (ice) => {
  peer = new RTCPeerConnection(ice);
  channel = peer.createDataChannel("echo");
  channel.binaryType = "arraybuffer";
  return described();
};

/** What comes on the channel goes back. */
globalThis.answer = async (ice, sdp) => {
  peer = new RTCPeerConnection(ice);
  peer.ondatachannel = (event) => {
    event.channel.binaryType = "arraybuffer";
    event.channel.onmessage = ({ data }) => event.channel.send(data);
  };
  await peer.setRemoteDescription({ type: "offer", sdp });
  return described();
};

/** Sends a message of this size: the size of what came back, and the kinds of candidates that it went through. */
globalThis.echo = async (sdp, size) => {
  const echoed = new Promise((resolve) => {
    channel.onmessage = ({ data }) => resolve(data.byteLength);
  });
  const open = new Promise((resolve) => {
    channel.onopen = resolve;
  });
  await peer.setRemoteDescription({ type: "answer", sdp });
  await open;
  channel.send(new Uint8Array(size));
  const back = await echoed;
  const stats = await peer.getStats();
  const pair = [...stats.values()].find(({ type, nominated }) => type === "candidate-pair" && nominated);
  const kindOf = (id) => stats.get(id).candidateType;
  return { size: back, kinds: [kindOf(pair.localCandidateId), kindOf(pair.remoteCandidateId)] };
};
