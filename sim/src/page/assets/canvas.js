// The canvases, the window and what is chosen; and the few strokes that everything is drawn with.
const chart = document.getElementById("chart"),
  overview = document.getElementById("overview");

const view = { from: 0, to: run.end, scroll: 0 };

const selection = { step: -1, t: 0, pin: -1 };

let width = 0,
  height = 0;

const chartWidth = () => Math.max(1, width - GUTTER);

const xAt = (t) => GUTTER + ((t - view.from) / (view.to - view.from)) * chartWidth();

const timeAt = (x) => view.from + ((x - GUTTER) / chartWidth()) * (view.to - view.from);

function fitted(canvas) {
  const box = canvas.getBoundingClientRect(),
    ratio = devicePixelRatio || 1;
  const w = Math.round(box.width * ratio),
    h = Math.round(box.height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [c, box.width, box.height];
}

const font = (size, weight = 400) =>
  `${weight} ${size}px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif`;

const letters = new Map();

/** The text as far as it fits; empty when hardly any of it does. */
function clipped(c, text, room) {
  if (room < 14) return "";
  const key = c.font;
  if (!letters.has(key)) letters.set(key, c.measureText("abcdefghij0123456789 k=").width / 23);
  const most = Math.floor(room / letters.get(key));
  if (text.length <= most) return text;
  return most < 4 ? "" : text.slice(0, most - 1) + "…";
}

function box(c, x, y, w, h, fill) {
  c.fillStyle = fill;
  c.fillRect(x, y, w, h);
}

function tickStep(span, room) {
  const least = span / Math.max(1, room / 90);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= least);
}
