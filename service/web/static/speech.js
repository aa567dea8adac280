// The form for models of speech: speak and read along, or have a recording heard.

import { failed } from "./answer.js";
import { ask, complaint } from "./api.js";
import { curl, download, shell } from "./curl.js";
import { choice, element } from "./dom.js";
import { record } from "./recording.js";
import { decoded, RATE, wav } from "./samples.js";
import { spelled, written } from "./transcript.js";
import { wave } from "./wave.js";

/** The level meter begins at so many decibels below the loudest. */
const RANGE = 50;

/** Tell whether the signature is that of a model of speech: samples in, scores of labels out. */
export function fits({ inputs, outputs }) {
  const names = (tensors) => tensors.map(({ name }) => name).sort().join();
  return names(inputs) === "lengths,samples" && names(outputs) === "frames,scores";
}

/** Return the element for a model: what one speaks into, what was said, the recording, and lines for the shell. */
export function create(model) {
  const whole = `v1/transcribe?model=${model}`, pieces = `v1/stream?model=${model}`;
  const asked = asking(toggle, choose), answer = answering(), picture = wave(), lines = shellLines(whole, pieces);
  const pictured = element("section", { class: "recording", hidden: true }, picture.element);
  const place = element("div", { class: "signature speech" }, asked.element, answer.element, pictured, lines.element);
  let recording = null, busy = false;

  function become(state) {
    busy = state === "busy";
    asked.become(state);
    answer.become(state);
  }

  function show(samples, words = []) {
    pictured.hidden = !samples?.length;
    picture.show(samples ?? new Float32Array(0), words);
    lines.offer(samples);
  }

  /** Have a whole recording heard; `samples` are missing if this browser cannot read it. */
  async function transcribe(file, samples) {
    const type = file.type.startsWith("audio/") ? file.type : "audio/wav"; // the service looks itself what it is
    const heard = await ask(whole, file, undefined, { "Content-Type": type });
    if (heard.status !== 200) throw new Error(complaint(heard));
    const words = spelled(heard.json);
    answer.said(words, []);
    answer.took(heard.seconds, heard.json.seconds);
    show(samples, words);
  }

  /** Do something that begins a new answer, or goes on with it, and tell what went wrong. */
  async function attempt(work) {
    become("busy");
    try {
      await work();
    } catch (error) {
      answer.note(failed(error.message));
    }
    become(recording ? "recording" : "idle");
  }

  async function speak() {
    answer.clear();
    show(null);
    recording = await record({ path: pieces, heard, said: answer.said, refused, lost: stop });
    pictured.hidden = false;
  }

  function heard(samples, news, peak) {
    asked.level(peak, samples.length / RATE);
    picture.follow(samples, news);
    if (!place.isConnected) stop(); // another model is looked at
  }

  function refused(error, goesOn) {
    const hint = "There is no text while you speak: the recording is sent as a whole when you stop.";
    answer.note(goesOn ? element("p", { class: "hint" }, `${hint} ${error.message}`) : failed(error.message));
    if (!goesOn) stop();
  }

  function stop() {
    if (!recording) return;
    const { end } = recording;
    recording = null;
    attempt(async () => {
      const { samples, words, seconds, whole, silent } = await end();
      show(samples, words);
      if (silent) throw new Error("Nothing could be heard: the microphone may be switched off.");
      if (whole) await transcribe(wav(samples), samples);
      else answer.took(seconds, samples.length / RATE, " in pieces");
    });
  }

  function toggle() {
    if (recording) stop();
    else if (!busy) attempt(speak);
  }

  function choose(file) {
    if (busy || recording) return;
    answer.clear();
    attempt(async () => {
      const samples = await decoded(file).catch(() => null);
      show(samples);
      await transcribe(file, samples);
    });
  }

  return place;
}

/** Return {element, become, level}: the buttons, the level, and a place to drop a file. */
function asking(toggle, choose) {
  const speak = element("button", { type: "button", class: "primary speak", click: toggle }, "Speak");
  const input = element("input", { type: "file", hidden: true, accept: "audio/*,.wav,.flac,.ogg,.opus,.mp3",
    change: () => {
      if (input.files.length) choose(input.files[0]);
      input.value = ""; // so that the same one can be chosen again
    } });
  const open = element("button", { type: "button", click: () => input.click() }, "Choose a file");
  const filled = element("span", { class: "filled" }), time = element("span", { class: "facts" });
  const meter = element("span", { class: "bar", role: "meter", "aria-label": "Level", "aria-valuemax": 100 }, filled);
  const levels = element("p", { class: "level", hidden: true }, meter, time);
  const made = element("div", { class: "ask" },
    element("p", { class: "row" }, speak, open, input), levels,
    element("p", { class: "hint" }, "Say something in Mandarin and read along, or drop a recording here: WAV, FLAC, OGG or MP3."));

  function become(state) {
    speak.textContent = state === "recording" ? "Stop" : "Speak";
    speak.disabled = state === "busy";
    open.disabled = state !== "idle";
    levels.hidden = state !== "recording";
    made.classList.toggle("recording", state === "recording");
  }

  function level(peak, seconds) {
    const percent = Math.max(0, 100 + (2000 / RANGE) * Math.log10(peak || 1e-9));
    filled.style.inlineSize = `${percent}%`;
    meter.setAttribute("aria-valuenow", Math.round(percent));
    time.textContent = `${seconds.toFixed(1)} s`;
  }

  listenToDrops(made, choose);
  return { element: made, become, level };
}

function listenToDrops(place, choose) {
  const hold = (event) => {
    event.preventDefault();
    place.classList.toggle("target", event.type === "dragover");
  };
  for (const kind of ["dragover", "dragleave", "drop"]) place.addEventListener(kind, hold);
  place.addEventListener("drop", ({ dataTransfer }) => dataTransfer.files.length && choose(dataTransfer.files[0]));
}

/** Return {element, clear, become, said, took, note}: the text, how long it took, and what else is to be told. */
function answering() {
  const hint = element("p", { class: "hint" }, "What you say will stand here.");
  const final = element("span", { class: "final", "aria-live": "polite" }), partial = element("span", { class: "partial" });
  const facts = element("p", { class: "facts", role: "status" }), notes = element("div", { role: "alert" });
  const made = element("div", { class: "answer" }, hint, element("p", { class: "spoken" }, final, partial), facts, notes);
  let count = 0; // of words that are final; what stands there is not read out again

  function said(words, more) {
    hint.hidden = true;
    final.append(...written(words.slice(count)));
    count = words.length;
    partial.replaceChildren(...written(more));
  }

  function took(seconds, length, how = "") {
    if (!final.childElementCount) facts.textContent = "No speech was recognised. ";
    const factor = (seconds / Math.max(length, 0.001)).toFixed(3);
    facts.textContent += `${length.toFixed(1)} s of sound, heard${how} in ${(seconds * 1000).toFixed(0)} ms: real-time factor ${factor}.`;
  }

  function clear() {
    count = 0;
    for (const part of [final, partial, facts, notes]) part.replaceChildren();
  }

  const become = (state) => made.toggleAttribute("aria-busy", state === "busy");
  return { element: made, clear, become, said, took, note: (one) => notes.append(one) };
}

/** Return {element, offer}: the requests for the shell, to both paths; `offer` takes the samples that can be saved for them. */
function shellLines(path, pathOfPieces) {
  const whole = () => `${curl(path)} -H 'Content-Type: audio/wav' \\\n  --data-binary @recording.wav`;
  const pieces = () => "tail -c +45 recording.wav | split -b 32000 - piece-\njar=$(mktemp) n=0\n" +
    `for piece in piece-* /dev/null; do\n  ${curl(pathOfPieces)} -b $jar -c $jar -H "Tfpod-Sequence: $n" \\\n` +
    "  -H 'Content-Type: audio/pcm' --data-binary @$piece\n  n=$((n+1))\ndone";
  let kept = null;
  const save = element("button", { type: "button", hidden: true, click: () => download(wav(kept), "recording.wav") },
    "Save recording.wav");
  const ways = [whole, pieces];
  const lines = shell(choice("Route", ["A recording", "In pieces"], (way) => lines.show(ways[way]())), save);
  lines.show(whole());
  const offer = (samples) => {
    kept = samples;
    save.hidden = !samples?.length;
  };
  return { element: lines.element, offer };
}
