// Colours from the style sheet, and a hatch for every family of faults: no state is told by colour alone.
const colour = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of [
    "bg",
    "surface",
    "raised",
    "ink",
    "muted",
    "line",
    "faint",
    "danger",
    "danger-bg",
    "read",
    "write",
    "lease",
    "admin",
    "bar-ink",
    "leader",
    "leader-ink",
    "follower",
    "follower-ink",
    "none",
    "none-ink",
    "down",
    "fault",
    "fault-bg",
    "log",
    "log-fill",
    "disk",
    "clock",
    "pin",
    "focus",
    "select",
  ]) {
    colour[name] = style.getPropertyValue("--" + name).trim();
  }
  hatches.clear();
}

const categories = ["read", "write", "lease", "admin"];
const signs = {
  kill: "✖",
  power: "⚡",
  pause: "‖",
  partition: "↮",
  loss: "∴",
  delay: "≈",
  clock: "◷",
  "disk-death": "☠",
  "disk-error": "✕",
  "disk-stall": "▣",
  space: "▬",
  rot: "☣",
  latent: "⊘",
  astray: "↷",
  edge: "⊣",
};
const strokes = {
  kill: (c) => {
    line(c, 0, 8, 8, 0);
    line(c, -2, 2, 2, -2);
    line(c, 6, 10, 10, 6);
  },
  power: (c) => {
    line(c, 0, 8, 8, 0);
    line(c, 0, 0, 8, 8);
  },
  pause: (c) => {
    line(c, 2, 0, 2, 8);
    line(c, 6, 0, 6, 8);
  },
  partition: (c) => {
    line(c, 0, 2, 8, 2);
    line(c, 0, 6, 8, 6);
  },
  loss: (c) => {
    dot(c, 2, 2);
    dot(c, 6, 6);
  },
  delay: (c) => {
    line(c, 0, 0, 8, 8);
    line(c, -2, 6, 2, 10);
    line(c, 6, -2, 10, 2);
  },
  clock: (c) => {
    c.beginPath();
    c.arc(4, 4, 2.4, 0, 7);
    c.stroke();
  },
  "disk-death": (c) => {
    line(c, 0, 4, 8, 4);
    line(c, 4, 0, 4, 8);
  },
  "disk-error": (c) => {
    line(c, 2, 2, 6, 6);
    line(c, 2, 6, 6, 2);
  },
  "disk-stall": (c) => {
    c.strokeRect(2, 2, 4, 4);
  },
  space: (c) => {
    c.fillRect(0, 4, 8, 4);
  },
  rot: (c) => {
    dot(c, 2, 6);
    dot(c, 6, 2);
    line(c, 0, 0, 8, 8);
  },
  latent: (c) => {
    line(c, 0, 4, 8, 4);
    dot(c, 4, 0);
  },
  astray: (c) => {
    line(c, 0, 2, 4, 2);
    line(c, 4, 6, 8, 6);
  },
  edge: (c) => {
    line(c, 0, 4, 6, 4);
    line(c, 6, 0, 6, 8);
  },
  unknown: (c) => {
    line(c, 0, 8, 8, 0);
    line(c, -2, 2, 2, -2);
    line(c, 6, 10, 10, 6);
  },
  down: (c) => {
    line(c, 0, 8, 8, 0);
  },
};
function line(c, x1, y1, x2, y2) {
  c.beginPath();
  c.moveTo(x1, y1);
  c.lineTo(x2, y2);
  c.stroke();
}
function dot(c, x, y) {
  c.beginPath();
  c.arc(x, y, 1, 0, 7);
  c.fill();
}

const hatches = new Map();
/** A hatch of this kind in this colour. */
function hatch(kind, ink) {
  const key = kind + ink;
  if (!hatches.has(key)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const c = tile.getContext("2d");
    c.strokeStyle = c.fillStyle = ink;
    c.lineWidth = 1.1;
    (strokes[kind] ?? strokes.kill)(c);
    hatches.set(key, c.createPattern(tile, "repeat"));
  }
  return hatches.get(key);
}
/** Fills a box with a hatch that moves with it. */
function hatched(c, kind, ink, x, y, width, height) {
  c.save();
  c.translate(x, y);
  c.fillStyle = hatch(kind, ink);
  c.fillRect(0, 0, width, height);
  c.restore();
}
