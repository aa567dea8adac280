// Records what is spoken, and has it heard piece by piece meanwhile.

import { listen } from "./microphone.js";
import { growing, RATE } from "./samples.js";
import { session } from "./session.js";
import { spelled } from "./transcript.js";

/** Seconds of speech that are sent at once. */
const PIECE = 0.6;
/** Seconds after which a recording ends that nobody ended. */
const LONGEST = 3600;
/** A microphone that never gives more is switched off. */
const SILENT = 0.002;

/** Record, and have it heard at `path`, until `end` of what is returned is called.
 *
 * That returns {samples, words, seconds, whole, silent}: `seconds` is what hearing the pieces took; `whole` tells that all is yet to be heard, for there was no session.
 * `heard` is told all samples, those that are new, and their peak; `said` the final words and those that may change;
 * `refused` an error, and whether recording goes on; `lost` that it cannot go on. Throws if there is none. */
export async function record({ path, heard, said, refused, lost }) {
  const kept = growing(), final = [];
  let pieces = null, sent = 0, loudest = 0, seconds = 0, whole = false, words = [];

  function cut(least) {
    if (!pieces || kept.samples.length - sent < least) return;
    pieces.add(kept.samples.slice(sent));
    sent = kept.samples.length;
  }

  const microphone = await listen((news) => {
    kept.add(news);
    const peak = news.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    loudest = Math.max(loudest, peak);
    heard(kept.samples, news, peak);
    cut(PIECE * RATE);
    if (kept.samples.length > LONGEST * RATE) lost();
  }, lost);
  pieces = session(path, (answer) => {
    const all = spelled(answer.json), until = settled(answer.json);
    final.push(...all.slice(0, until));
    words = [...final, ...all.slice(until)];
    seconds += answer.seconds;
    whole ||= !answer.json.words.length && all.length > 0; // nothing tells which syllables are final
    said(final, all.slice(until));
  });
  const over = pieces.done.catch((error) => {
    whole = error.first && ![401, 403].includes(error.status);
    refused(error, whole);
  });

  async function end() {
    microphone.stop();
    cut(1);
    pieces.end();
    await over;
    return { samples: kept.samples.slice(), words, seconds, whole, silent: loudest < SILENT };
  }

  return { end };
}

/** Return how many of an answer's words are final. */
function settled({ words, final }) {
  let letters = final.length, count = 0;
  while (letters > 0 && count < words.length) letters -= words[count++].text.length;
  return count;
}
