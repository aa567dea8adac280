// Samples of sound, numbers from -1 to 1, as the service hears them: one channel, 16,000 a second.

export const RATE = 16000;

/** How far a sample of another rate reaches, in samples of the lower rate, and how finely that is tabulated. */
const REACH = 16, STEPS = 256;
/** What is higher than this share of what can be told at 16 kHz is left out. */
const PASS = 0.95;

const kernel = Float32Array.from({ length: REACH * STEPS + 1 }, (_, step) => {
  const x = (Math.PI * step * PASS) / STEPS, window = 0.5 + 0.5 * Math.cos((Math.PI * step) / STEPS / REACH);
  return PASS * window * (step ? Math.sin(x) / x : 1);
});

/** Return a function that takes samples of `rate`, part after part, and returns those of 16 kHz that they complete. */
export function resampler(rate) {
  const step = rate / RATE, slower = Math.max(1, step), reach = REACH * slower;
  let kept = new Float32Array(Math.ceil(reach)), place = kept.length;

  function at(samples, middle) {
    let sum = 0;
    for (let near = Math.ceil(middle - reach); near <= middle + reach; near++) {
      sum += samples[near] * kernel[Math.round((Math.abs(near - middle) / slower) * STEPS)];
    }
    return sum / slower;
  }

  return (part) => {
    const all = joined([kept, part]);
    const count = Math.max(0, Math.floor((all.length - 1 - reach - place) / step) + 1);
    const made = Float32Array.from({ length: count }, (_, n) => at(all, place + n * step));
    place += count * step;
    const gone = Math.floor(place - reach);
    kept = all.slice(gone);
    place -= gone;
    return made;
  };
}

/** Return the parts as one. */
export function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let filled = 0;
  for (const part of parts) {
    whole.set(part, filled);
    filled += part.length;
  }
  return whole;
}

/** Return samples as integers of 16 bits, little-endian. */
export function pcm(samples) {
  const bytes = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, n) => bytes.setInt16(2 * n, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return bytes.buffer;
}

/** Return samples as a file. */
export function wav(samples) {
  const data = pcm(samples), head = new DataView(new ArrayBuffer(44));
  const text = (place, letters) => [...letters].forEach((letter, n) => head.setUint8(place + n, letter.charCodeAt()));
  text(0, "RIFF");
  head.setUint32(4, 36 + data.byteLength, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true); // the length of what tells of the format: integers, one channel, their rate and size
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, RATE, true);
  head.setUint32(28, 2 * RATE, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, data.byteLength, true);
  return new Blob([head, data], { type: "audio/wav" });
}

/** Return the samples of a file, as far as this browser can read it. */
export async function decoded(file) {
  const found = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
  const channels = Array.from({ length: found.numberOfChannels }, (_, n) => found.getChannelData(n));
  return channels[0].map((_, n) => channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
}

/** Return a place for samples that become more. */
export function growing() {
  let room = new Float32Array(RATE), length = 0;
  return {
    get samples() {
      return room.subarray(0, length);
    },
    add(part) {
      if (length + part.length > room.length) room = joined([room, new Float32Array(room.length + part.length)]);
      room.set(part, length);
      length += part.length;
    },
  };
}
