// Listens to the microphone, and plays what was heard.

import { RATE, resampler } from "./samples.js";

/** Why a browser gives no microphone, by the name of its error. */
const REASONS = {
  NotAllowedError: "The microphone is not allowed to this page: allow it in the browser's settings of this page.",
  NotFoundError: "No microphone was found.",
  NotReadableError: "The microphone cannot be used: another program may hold it.",
};
/** Speech is to come as it is spoken; only its level may be raised. */
const AS_IT_IS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };

/** Listen until `stop` of what is returned is called. Throws an Error that tells a person why that cannot be.
 *
 * `heard` is told samples, some twenty times a second; `lost` that the microphone is gone. */
export async function listen(heard, lost) {
  const stream = await allowed();
  const context = new AudioContext();
  const stop = () => {
    for (const track of stream.getTracks()) track.stop();
    if (context.state !== "closed") context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "microphone"), convert = resampler(context.sampleRate);
    node.port.onmessage = ({ data }) => heard(convert(data));
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // to which it gives silence
    stream.getAudioTracks()[0].addEventListener("ended", lost);
    await context.resume();
  } catch (error) {
    stop();
    throw error;
  }
  return { stop };
}

async function allowed() {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give the microphone only to pages that came by HTTPS, or from the same machine. A file works.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The microphone cannot be used: ${error.message}`);
  }
}

/** Return {play, stop}; `moved` is told the second that is being played, and null at the end. */
export function player(moved) {
  let source = null, context = null;

  function stop() {
    source?.stop();
    source = null;
    moved(null);
  }

  /** Play the samples from second `begin` until `end`. */
  function play(samples, begin, end) {
    stop();
    context ??= new AudioContext();
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: RATE });
    buffer.copyToChannel(samples, 0);
    const mine = (source = new AudioBufferSourceNode(context, { buffer }));
    mine.connect(context.destination);
    mine.start(0, begin, end - begin);
    mine.onended = () => source === mine && stop();
    const begun = context.currentTime;
    const follow = () => {
      if (source !== mine) return;
      moved(Math.min(end, begin + Math.max(0, context.currentTime - begun)));
      requestAnimationFrame(follow);
    };
    follow();
  }

  return { play, stop };
}
