// Sends speech in pieces while it is spoken, each in its turn, and again if it did not arrive.

import { ask, complaint } from "./api.js";
import { joined, pcm } from "./samples.js";

/** What passes by itself: the service is full or not ready, or something on the way to it failed. */
const PASSING = [0, 429, 502, 503, 504];
/** How often a piece is sent, and how many seconds are waited for the next time. */
const TRIES = 8, SOON = 10;
/** If the service falls behind, so many pieces are sent as one. */
const MOST = 8;

/** A piece was refused for good; `first` if nothing was heard before. */
export class Refused extends Error {
  constructor(answer, number) {
    super(answer.status ? complaint(answer) : `The service cannot be reached: ${answer.text}`);
    this.status = answer.status;
    this.first = number === 0;
  }
}

/** Begin a session at `path`: {add, end, done}. `add` takes samples; `done` is settled when all is said after `end`, or at a fault.
 *
 * `said` is told each answer: {json, seconds}. Speech may be added before the service has answered. */
export function session(path, said) {
  const waiting = [];
  let ended = false, wake = () => {};

  async function run() {
    for (let number = 0; ; number++) {
      while (!waiting.length && !ended) await new Promise((resolve) => (wake = resolve));
      const piece = joined(waiting.splice(0, MOST));
      if (!piece.length && number === 0) return;
      said(await send(path, number, pcm(piece)));
      if (!piece.length) return;
    }
  }

  function add(samples) {
    if (samples.length) waiting.push(samples);
    wake();
  }

  function end() {
    ended = true;
    wake();
  }

  return { add, end, done: alone(path, run) };
}

/** Run what needs the session to itself: a browser has one cookie for all its tabs. */
function alone(path, run) {
  const name = new URL(path, document.baseURI).pathname;
  return navigator.locks.request(name, { ifAvailable: true }, (lock) => {
    if (lock) return run();
    throw new Refused({ status: 0, text: "another tab of this browser is listening" }, 0);
  });
}

async function send(path, number, body) {
  const headers = { "Content-Type": "audio/pcm", "Tfpod-Sequence": `${number}` };
  if (number === 0) headers["Tfpod-Session"] = "new"; // the cookie of an earlier one would be sent along
  for (let tries = 1; ; tries++) {
    const answer = await ask(path, body, undefined, headers).catch(({ message }) => ({ status: 0, text: message, after: 1 }));
    if (answer.status === 200) return answer;
    if (!PASSING.includes(answer.status) || tries === TRIES || answer.after > SOON) throw new Refused(answer, number);
    await new Promise((resolve) => setTimeout(resolve, 1000 * (answer.after || 1)));
  }
}
