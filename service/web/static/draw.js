// The form for models that take a small picture: draw it.

import { element } from "./dom.js";

export const title = "Draw";

const SMALLEST = 4, LARGEST = 64;
/** The pen is this wide, in pixels of a picture whose longer side has so many: as the strokes are that models learn from. */
const penFor = (longer) => 0.6 + longer / 12;
/** Each pixel tells how much ink is in FINE × FINE finer ones, as the pictures of the digits were made. */
const FINE = 4;
/** A dot is not blown up to fill the picture. */
const MOST = 4;
const DOTS = 640;

/** Tell whether the signature has one input, and that is a small picture: [n, height, width, 1 or 3] of numbers. */
export function fits({ inputs: [{ type, shape }, ...others] }) {
  if (others.length || shape?.length !== 4 || ["string", "bool"].includes(type)) return false;
  const [count, height, width, channels] = shape;
  const small = (size) => SMALLEST <= size && size <= LARGEST;
  return (count ?? 1) === 1 && small(height) && small(width) && (channels === 1 || channels === 3);
}

/** Return {element, read}; `changed` is told of every change, with true at the end of a stroke. */
export function create({ inputs: [{ name, type, shape: [, height, width, channels] }] }, changed) {
  const pen = penFor(Math.max(height, width));
  const board = element("canvas", { class: "board", width: DOTS, height: (DOTS * height) / width, tabindex: 0,
    role: "application", "aria-label": "Drawing board", "aria-describedby": "drawing" });
  const seen = element("canvas", { class: "seen", width, height, role: "img", "aria-label": "What the model sees" });
  const fitted = checkbox("fit the drawing to the picture", true, update);
  const inverted = checkbox("paper is bright, ink is dark", false, update);
  const full = checkbox("values from 0 to 255", type.includes("int"), update);
  let strokes = [], ink = [];

  function render() {
    paint(board, strokes, pen, width);
    ink = coverage(fitted.box.checked ? fit(strokes, height, width, pen) : strokes, height, width, pen);
    show(seen, ink);
  }

  function update(finished = false) {
    render();
    changed(finished);
  }

  function read() {
    if (!strokes.length) throw new Error("Draw something first.");
    const value = (share) => {
      const bright = (inverted.box.checked ? 1 - share : share) * (full.box.checked ? 255 : 1);
      return type.includes("int") ? Math.round(bright) : Number(bright.toFixed(4));
    };
    const rows = ink.map((row) => row.map((share) => Array(channels).fill(value(share))));
    return [{ name, text: JSON.stringify([rows]) }];
  }

  const clear = () => {
    strokes = [];
    update();
  };
  const begin = (point) => strokes.push([point]);
  const extend = (point) => strokes.at(-1).push(point);
  listen(board, width, { begin, extend, update, clear });
  const form = element("div", { class: "draw" },
    element("div", {}, board,
      element("p", { class: "hint", id: "drawing" },
        "Draw with the mouse, a pen or a finger. On the keyboard: arrow keys move the pen, Space lowers and lifts it, " +
        "Delete clears the board.")),
    element("div", { class: "aside" },
      element("figure", {}, seen, element("figcaption", {}, `What the model sees: ${width} × ${height}`)),
      element("button", { type: "button", click: clear }, "Clear"),
      element("details", {}, element("summary", {}, "Options"), fitted.label, inverted.label, full.label)));
  render();
  return { element: form, read };
}

/** Draw by pointer and by keyboard; points are in pixels of the picture. */
function listen(board, width, { begin, extend, update, clear }) {
  const place = ({ clientX, clientY }) => {
    const { left, top, width: shown } = board.getBoundingClientRect();
    return [((clientX - left) * width) / shown, ((clientY - top) * width) / shown];
  };
  let drawing = false;
  board.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    board.setPointerCapture(event.pointerId);
    drawing = true;
    begin(place(event));
    update();
  });
  board.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) extend(place(one));
    update();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    board.addEventListener(end, () => {
      if (drawing) update(true);
      drawing = false;
    });
  }
  listenToKeys(board, width, { begin, extend, update, clear });
}

function listenToKeys(board, width, { begin, extend, update, clear }) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const height = (width * board.height) / board.width, step = Math.max(width, height) / 32;
  let [x, y] = [width / 2, height / 2], down = false;
  const mark = () => ring(board, x, y, width, down);
  board.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (move) {
      [x, y] = [Math.min(width, Math.max(0, x + move[0] * step)), Math.min(height, Math.max(0, y + move[1] * step))];
      if (down) extend([x, y]);
      update();
    } else if (event.key === " ") {
      if (!down) begin([x, y]);
      down = !down;
      update(!down);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      down = false;
      clear();
    } else return;
    event.preventDefault();
    mark();
  });
  board.addEventListener("blur", () => {
    if (down) update(true);
    else update();
    down = false;
  });
}

/** Return the strokes moved and sized so that their ink fills the picture, in the middle and in proportion. */
function fit(strokes, height, width, pen) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.min((width - pen) / (right - left), (height - pen) / (bottom - top), MOST);
  const move = ([x, y]) =>
    [width / 2 + (x - (left + right) / 2) * scale, height / 2 + (y - (top + bottom) / 2) * scale];
  return strokes.map((stroke) => stroke.map(move));
}

/** Return for each pixel, row by row, the share of it that is ink. */
function coverage(strokes, height, width, pen) {
  const canvas = element("canvas", { width: width * FINE, height: height * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.scale(FINE, FINE);
  trace(context, strokes, pen);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const inked = (x, y) => data[(y * canvas.width + x) * 4 + 3] > 127;
  const fine = [...Array(FINE * FINE).keys()];
  const share = (x, y) =>
    fine.filter((n) => inked(x * FINE + (n % FINE), y * FINE + Math.floor(n / FINE))).length / fine.length;
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => share(x, y)));
}

function trace(context, strokes, pen) {
  Object.assign(context, { lineWidth: pen, lineCap: "round", lineJoin: "round" });
  for (const [first, ...points] of strokes) {
    context.beginPath();
    context.moveTo(...first);
    context.lineTo(...first);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
}

/** Show the strokes as they were drawn. */
function paint(board, strokes, pen, width) {
  const context = board.getContext("2d");
  context.setTransform(board.width / width, 0, 0, board.width / width, 0, 0);
  context.clearRect(0, 0, width, board.height);
  context.strokeStyle = "#1b2a33";
  trace(context, strokes, pen);
}

/** Show where the keyboard's pen is. */
function ring(board, x, y, width, down) {
  const context = board.getContext("2d");
  context.beginPath();
  context.arc(x, y, width / 24, 0, 2 * Math.PI);
  Object.assign(context, { lineWidth: width / 80, strokeStyle: down ? "#c2410c" : "#0b6b72" });
  context.stroke();
}

function show(canvas, ink) {
  const context = canvas.getContext("2d");
  ink.forEach((row, y) => row.forEach((share, x) => {
    const [r, g, b] = [255, 255, 255].map((paper, at) => paper + share * ([27, 42, 51][at] - paper));
    context.fillStyle = `rgb(${r} ${g} ${b})`;
    context.fillRect(x, y, 1, 1);
  }));
}

function checkbox(text, checked, changed) {
  const box = element("input", { type: "checkbox", checked, change: () => changed(true) });
  return { box, label: element("label", { class: "option" }, box, text) };
}
