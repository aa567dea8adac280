// The picture of a recording: how loud it is, and below it what is said when. A click plays from there, or a word.

import { element } from "./dom.js";
import { player } from "./microphone.js";
import { RATE } from "./samples.js";

/** Pixels that a second takes at least, so that there is room for its words. */
const SECOND = 160;
const HEIGHT = 96, BAR = 2, GAP = 1;
/** What is softer than this is not drawn as if it were loud. */
const SOFT = 0.02;
/** Seconds that an arrow key goes. */
const STEP = 0.25;

/** Return {element, show, follow}; `show` takes samples and their words, `follow` samples that become more. */
export function wave() {
  let samples = new Float32Array(0), words = [], at = 0, loudest = SOFT;
  const canvas = element("canvas", { role: "slider", tabindex: 0, "aria-label": "Recording: arrow keys move, Space plays",
    "aria-valuemin": 0 });
  const track = element("div", { class: "track" }), line = element("div", { class: "said", "aria-hidden": "true" });
  const frame = element("div", { class: "wave", scroll: () => paint() }, track);
  const button = element("button", { type: "button", click: () => toggle() }, "Play");
  const sound = player((second) => {
    button.textContent = second === null ? "Play" : "Stop";
    at = second ?? 0;
    move();
  });
  track.append(canvas, line);
  const seconds = () => samples.length / RATE;
  const scale = () => Math.max(SECOND, frame.clientWidth / Math.max(1, seconds()));

  function toggle(begin = at) {
    if (button.hidden) return;
    if (button.textContent === "Stop") sound.stop();
    else sound.play(samples, begin, seconds());
  }

  function move() {
    canvas.setAttribute("aria-valuenow", at.toFixed(2));
    canvas.setAttribute("aria-valuetext", `${at.toFixed(1)} s ${words.find(({ end }) => end > at)?.text ?? ""}`);
    const x = at * scale();
    if (x < frame.scrollLeft || x > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = x;
    paint();
  }

  function paint() {
    draw(canvas, { samples, loudest, at, scale: scale(), left: frame.scrollLeft, width: frame.clientWidth });
  }

  function lay() {
    track.style.inlineSize = `${seconds() * scale()}px`;
    [...line.children].forEach(({ style }, n) => {
      style.insetInlineStart = `${words[n].begin * scale()}px`;
      style.maxInlineSize = `${((words[n + 1]?.begin ?? Infinity) - words[n].begin) * scale() - 1}px`;
    });
    paint();
  }

  function show(given, said) {
    sound.stop();
    button.hidden = false;
    [samples, words] = [given, said];
    loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), SOFT);
    canvas.setAttribute("aria-valuemax", seconds().toFixed(2));
    line.replaceChildren(...words.map(({ text, begin, end }) =>
      element("span", { click: () => sound.play(samples, begin, end) }, text)));
    lay();
  }

  function follow(given, news) {
    samples = given;
    button.hidden = true; // not until it is whole
    loudest = news.reduce((most, sample) => Math.max(most, Math.abs(sample)), loudest);
    lay();
    frame.scrollLeft = frame.scrollWidth;
  }

  canvas.addEventListener("click", ({ offsetX }) => {
    const second = (frame.scrollLeft + offsetX) / scale();
    if (second < seconds() && !button.hidden) sound.play(samples, second, seconds());
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (step) {
      const next = Math.max(0, Math.min(seconds(), at + step));
      sound.stop();
      at = next;
      move();
    } else if (event.key === " " || event.key === "Enter") toggle(at);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(lay).observe(frame);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  return { element: element("div", {}, frame, element("p", { class: "row" }, button)), show, follow };
}

/** Draw what is in view, a bar for every few samples; what has been played, in another colour. */
function draw(canvas, { samples, loudest, at, scale, left, width }) {
  const fine = devicePixelRatio, context = canvas.getContext("2d"), { color, accentColor } = getComputedStyle(canvas);
  [canvas.width, canvas.height] = [width * fine, HEIGHT * fine];
  context.scale(fine, fine);
  const step = BAR + GAP, first = Math.floor(left / step);
  for (let bar = first; bar * step < left + width; bar++) {
    const [begin, end] = [bar, bar + 1].map((place) => Math.round(((place * step) / scale) * RATE));
    if (begin >= samples.length) break;
    const peak = samples.subarray(begin, end).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    const tall = Math.max(BAR, (peak / loudest) ** 0.7 * HEIGHT);
    context.fillStyle = (bar * step) / scale < at ? accentColor : color;
    context.fillRect(bar * step - left, (HEIGHT - tall) / 2, BAR, tall);
  }
}
