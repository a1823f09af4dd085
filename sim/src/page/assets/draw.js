// Draws the chart and the overview. Only what the window shows is visited, and bars of one pixel are drawn once.
const chart = document.getElementById("chart"), overview = document.getElementById("overview");
const view = { from: 0, to: run.end, scroll: 0 };
const selection = { step: -1, t: 0, pin: -1 };
let width = 0, height = 0;

const chartWidth = () => Math.max(1, width - GUTTER);
const xAt = (t) => GUTTER + (t - view.from) / (view.to - view.from) * chartWidth();
const timeAt = (x) => view.from + (x - GUTTER) / chartWidth() * (view.to - view.from);

function fitted(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const w = Math.round(box.width * ratio), h = Math.round(box.height * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [c, box.width, box.height];
}
const font = (size, weight = 400) => `${weight} ${size}px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif`;

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
function box(c, x, y, w, h, fill) { c.fillStyle = fill; c.fillRect(x, y, w, h); }

function tickStep(span, room) {
  const least = span / Math.max(1, room / 90);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((step) => step >= least);
}

function drawRuler(c) {
  box(c, 0, 0, width, RULER, colour.surface);
  const span = view.to - view.from, step = tickStep(span, chartWidth());
  c.font = font(11); c.textBaseline = "middle"; c.textAlign = "center";
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = xAt(t);
    box(c, x, 20, 1, 5, colour.muted);
    c.fillStyle = colour.muted;
    const digits = Math.max(0, Math.min(6, Math.ceil(9 - Math.log10(step) - 1e-9)));
    if (x > GUTTER + 22 && x < width - 22) c.fillText((t / 1e9).toFixed(digits) + " s", x, 11);
  }
  box(c, 0, RULER - 1, width, 1, colour.line);
  c.textAlign = "left";
  c.font = font(11.5, 600); c.fillStyle = colour.ink;
  c.fillText(`at ${moment(selection.t)}`, 10, 12);
  c.font = font(11); c.fillStyle = colour.muted;
  c.fillText(`window ${duration(span)}`, 10, 32);
  let taken = -1e9;
  const flag = (i) => {
    const x = xAt(pins[i].at), chosen = i === selection.pin;
    if (x < GUTTER - 1 || x > width + 1 || (!chosen && x - taken < 16)) return;
    taken = x;
    c.fillStyle = chosen ? colour.pin : colour.surface;
    c.strokeStyle = colour.pin; c.lineWidth = 1.5;
    const text = chosen && pins.length === 1 ? "violation" : chosen ? `violation ${i + 1}` : `${i + 1}`;
    c.font = font(11, 700);
    const w = c.measureText(text).width + 10;
    const left = Math.min(x, width - w - 2);
    c.beginPath(); c.roundRect(left, 27, w, 15, 3); c.fill(); c.stroke();
    c.fillStyle = chosen ? colour.surface : colour.pin;
    c.fillText(text, left + 5, 35);
  };
  pins.forEach((_, i) => { if (i !== selection.pin) flag(i); });
  if (selection.pin >= 0) flag(selection.pin);
}

/** Faults as bands through the lanes of whom they struck. */
function drawBands(c) {
  for (const fault of faults) {
    if (fault.until < view.from || fault.from > view.to) continue;
    const x1 = Math.max(GUTTER, xAt(fault.from)), x2 = Math.min(width, Math.max(xAt(fault.until), xAt(fault.from) + 1.5));
    for (const lane of memberLanes) {
      if (fault.member !== null && fault.member !== lane.member.place) continue;
      const y = RULER + lane.y - view.scroll;
      c.globalAlpha = .55; box(c, x1, y + 2, x2 - x1, lane.height - 4, colour["fault-bg"]);
      c.globalAlpha = .3; hatched(c, fault.family, colour.fault, x1, y + 2, x2 - x1, lane.height - 4);
      c.globalAlpha = .8; box(c, x1, y + 2, 1, lane.height - 4, colour.fault);
      c.globalAlpha = 1;
    }
  }
}

function drawFaults(c, y) {
  if (!faults.some((fault) => fault.from <= view.to && fault.until >= view.from)) {
    const later = faults.find((fault) => fault.from > view.to), earlier = faults.findLast((fault) => fault.until < view.from);
    const words = [earlier && `last ended ${duration(view.from - earlier.until)} before: ${faultWords(earlier)}`, later && `next begins ${duration(later.from - view.to)} later: ${faultWords(later)}`];
    c.font = font(11); c.fillStyle = colour.muted;
    c.fillText(clipped(c, `none in this window; ${words.filter(Boolean).join("; ")}`, chartWidth() - 20), GUTTER + 8, y + 13);
  }
  // A label may run into the free space behind its bar, up to the next one of its row.
  const next = new Map();
  for (let i = faults.length - 1; i >= 0; i--) {
    const fault = faults[i], row = faultLane.rows[i], follows = next.get(row) ?? Infinity;
    next.set(row, fault.from);
    if (fault.from > view.to) continue;
    const top = y + 4 + row * FAULT_ROW;
    const start = xAt(fault.from), end = Math.max(xAt(fault.until), start + 3);
    const room = Math.min(xAt(follows), width) - 4;
    if (end < GUTTER && room < GUTTER) continue;
    if (end < GUTTER) continue;
    const x1 = Math.max(GUTTER, start), x2 = Math.min(width, end);
    box(c, x1, top, x2 - x1, FAULT_ROW - 3, colour["fault-bg"]);
    hatched(c, fault.family, colour.fault, x1, top, x2 - x1, FAULT_ROW - 3);
    c.strokeStyle = colour.fault; c.lineWidth = 1; c.strokeRect(x1 + .5, top + .5, x2 - x1 - 1, FAULT_ROW - 4);
    c.font = font(11, 600);
    const who = fault.member === null ? "" : ` ${memberName(fault.member)}`;
    const label = `${signs[fault.family] ?? "•"} ${fault.kind}${who}`;
    const full = `${label}: ${fault.what}`;
    const inside = x2 - x1 - 10;
    const spare = Math.max(inside, room - x1 - 8);
    let text = clipped(c, full, spare);
    if (text.length < 3) continue;
    const w = Math.min(c.measureText(text).width + 6, spare + 6);
    // On a bar the words need ground of their own, or the hatch eats them.
    const left = inside >= w - 6 || x2 - x1 > 60 ? x1 + 3 : x2 + 2;
    if (left + 20 > width) continue;
    text = clipped(c, full, Math.max(0, room - left));
    box(c, left, top + 1, Math.min(c.measureText(text).width + 6, room - left + 6), FAULT_ROW - 5, colour["fault-bg"]);
    c.fillStyle = colour.fault; c.fillText(text, left + 3, top + 8);
  }
}

function drawRole(c, lane, y) {
  const list = lane.member.stretches;
  let i = Math.max(0, notAfter(list.map((stretch) => stretch.at), view.from) - 1), drawn = -1;
  for (; i < list.length && list[i].at <= view.to; i++) {
    const stretch = list[i];
    const x1 = Math.max(GUTTER, xAt(stretch.at)), x2 = Math.min(width, xAt(stretch.until));
    if (x2 - x1 < .7 && Math.floor(x1) === drawn) continue;
    drawn = Math.floor(x1);
    const w = Math.max(1, x2 - x1), h = ROLE - 3;
    let ink = colour["follower-ink"];
    if (stretch.phase === 0) { box(c, x1, y, w, h, colour.raised); hatched(c, "down", colour.down, x1, y, w, h); ink = colour.ink; }
    else if (stretch.phase === 1) { box(c, x1, y, w, h, colour.surface); c.strokeStyle = colour.down; c.setLineDash([3, 3]); c.lineWidth = 1; c.strokeRect(x1 + .5, y + .5, Math.max(0, w - 1), h - 1); c.setLineDash([]); ink = colour.muted; }
    else if (stretch.role === 1) { box(c, x1, y, w, h, colour.leader); ink = colour["leader-ink"]; }
    else if (stretch.leader) box(c, x1, y, w, h, colour.follower);
    else { box(c, x1, y, w, h, colour.none); ink = colour["none-ink"]; }
    if (stretch.paused) hatched(c, "pause", ink, x1, y, w, h);
    box(c, x1, y, 1, h, colour.surface);
    c.font = font(11.5, stretch.role === 1 ? 700 : 500);
    const short = stretch.phase === 0 ? "down" : stretch.phase === 1 ? "starting" : stretch.role === 1 ? `leader t${stretch.term}` : stretch.leader ? `→ ${memberName(stretch.leader - 1)} t${stretch.term}` : `? t${stretch.term}`;
    const long = lifeWords(stretch);
    let text = clipped(c, long, w - 10);
    if (text !== long && w > c.measureText(short).width + 6) text = short; else if (text !== long) text = clipped(c, short, w - 6);
    if (!text) continue;
    if (stretch.phase === 0 || stretch.paused) box(c, x1 + 3, y + 2, c.measureText(text).width + 4, h - 4, stretch.phase === 0 ? colour.raised : stretch.role === 1 ? colour.leader : colour.follower);
    c.fillStyle = ink; c.fillText(text, x1 + 5, y + h / 2 + .5);
  }
}

/** The newest log index in the cluster, up to each moment. */
const newest = (() => {
  const points = [];
  for (const member of members) {
    const track = member.tracks.last;
    if (track) track.at.forEach((at, i) => points.push([at, track.value[i]]));
  }
  points.sort((a, b) => a[0] - b[0]);
  let most = 0;
  const at = new Float64Array(points.length), value = new Float64Array(points.length);
  points.forEach(([t, v], i) => { most = Math.max(most, v); at[i] = t; value[i] = most; });
  return { at, value };
})();

/** A track at every column of the window; NaN where it is not known. */
function columns(track) {
  const out = new Float64Array(Math.ceil(chartWidth()) + 1).fill(NaN);
  if (!track) return out;
  let known = notAfter(track.at, view.from);
  for (let x = 0; x < out.length; x++) {
    const t = timeAt(GUTTER + x);
    if (t > run.end) break;
    while (known < track.at.length && track.at[known] <= t) known++;
    if (known > 0) out[x] = track.value[known - 1];
  }
  return out;
}

/** How far behind the newest entry each member's log, commit and state are; what hangs down is behind. */
function logColumns() {
  const top = columns(newest);
  let deepest = 12;
  const all = memberLanes.map(({ member }) => {
    const phase = columns(member.tracks.phase);
    const behind = ["last", "committed", "applied"].map((name) => columns(member.tracks[name]).map((value, x) => (phase[x] === 2 ? Math.max(0, top[x] - value) : NaN)));
    for (const value of behind[2]) if (value > deepest) deepest = value;
    return behind;
  });
  return { all, deepest };
}

function drawLog(c, lane, y, log) {
  const [last, committed, applied] = log.all[lane.member.place];
  const h = LOG - 6, deep = (value) => y + 2 + Math.min(1, Math.sqrt(value / log.deepest)) * h;
  box(c, GUTTER, y + 1.5, chartWidth(), 1, colour.line);
  c.fillStyle = colour["log-fill"];
  // Columns of one height are one box.
  for (let x = 0, end = 0; x < applied.length; x = end) {
    for (end = x + 1; end < applied.length && applied[end] === applied[x]; end++);
    if (applied[x] > 0) c.fillRect(GUTTER + x, y + 2, end - x, Math.round(deep(applied[x]) - y - 2));
  }
  const stroke = (values, dash, widthOf) => {
    c.strokeStyle = colour.log; c.lineWidth = widthOf; c.setLineDash(dash); c.beginPath();
    let down = false;
    for (let x = 0; x < values.length; x++) {
      if (Number.isNaN(values[x])) { down = false; continue; }
      if (down) c.lineTo(GUTTER + x, deep(values[x])); else c.moveTo(GUTTER + x, deep(values[x]));
      down = true;
    }
    c.stroke(); c.setLineDash([]);
  };
  stroke(last, [2, 2], 1); stroke(applied, [], 1.4); stroke(committed, [5, 2], 1);
}

function drawIncidents(c, lane, yLog, yDisk) {
  const from = { log: -1e9, disk: -1e9 };
  for (const incident of lane.member.incidents) {
    if (incident.at < view.from || incident.at > view.to) continue;
    const x = xAt(incident.at), where = incident.log ? "log" : "disk", y = incident.log ? yLog + 8 : yDisk + 6;
    if (x < from[where]) { box(c, x, y - 6, 2, 12, colour.danger); continue; }
    c.font = font(11, 700);
    const room = Math.min(width - x, 260), text = clipped(c, `${incident.sign} ${incident.text}`, room) || incident.sign;
    const w = c.measureText(text).width + 6;
    box(c, x, y - 7, w, 14, colour.surface);
    c.fillStyle = colour.danger; c.fillText(text, x + 3, y + 1);
    box(c, x, y - 7, 2, 14, colour.danger);
    from[where] = x + w + 2;
  }
}

function drawDisk(c, lane, y) {
  const track = columns(lane.member.tracks["disk-bytes"]);
  const h = DISK - 2;
  c.fillStyle = colour.disk;
  // Three pixels a bucket; the height is logarithmic, from 512 bytes to 1 MiB.
  for (let x = 3; x < track.length; x += 3) {
    const by = track[x] - track[x - 3];
    if (by > 0) { const tall = Math.max(1, Math.round(Math.min(1, (Math.log2(by) - 8) / 12) * h)); c.fillRect(GUTTER + x - 3, y + h - tall, 2, tall); }
  }
}

const clockMost = Math.max(1e6, ...members.flatMap((member) => [...(member.tracks["clock-offset"]?.at ?? []), run.end].map((at) => Math.abs(clockOffset(member, at)))));
function drawClock(c, lane, y) {
  const h = CLOCK - 3;
  c.strokeStyle = colour.clock; c.lineWidth = 1.2; c.beginPath();
  for (let x = 0; x <= chartWidth() && timeAt(GUTTER + x) <= run.end; x += 2) {
    const offset = clockOffset(lane.member, timeAt(GUTTER + x));
    const top = y + h / 2 - Math.sign(offset) * Math.sqrt(Math.abs(offset) / clockMost) * h / 2;
    if (x === 0) c.moveTo(GUTTER + x, top); else c.lineTo(GUTTER + x, top);
  }
  c.stroke();
}

// Bars of one pixel, by what they look like: category, outcome, and whether the filter holds them back.
const thin = Array.from({ length: 24 }, () => []);
function drawClient(c, lane, y) {
  const { list, rows, reach } = lane, taken = new Int32Array(CLIENT_ROWS_MAX).fill(-1);
  const h = CLIENT_ROW - 4, scale = chartWidth() / (view.to - view.from);
  c.font = font(11, 500);
  for (let k = firstReaching(reach, view.from); k < list.length; k++) {
    const i = list[k], at = ops.at[i];
    if (at > view.to) break;
    const until = ops.until[i];
    if (until < view.from) continue;
    const faint = filter.active && filter.ops[i] === 0;
    const x = GUTTER + (at - view.from) * scale, w = (until - at) * scale, top = y + 3 + rows[k] * CLIENT_ROW;
    if (w < 2) {
      // A place is taken once, by the first that passes the filter.
      const column = (x | 0) * 2 + (faint ? 0 : 1);
      if (taken[rows[k]] >= column) continue;
      taken[rows[k]] = column;
      thin[opCategory[i] * 6 + ops.outcome[i] * 2 + (faint ? 1 : 0)].push(x | 0, top);
      continue;
    }
    const left = x < GUTTER ? GUTTER : x, right = x + w > width ? width : x + w;
    drawOperation(c, i, left, top, Math.max(1.6, right - left - (w > 4 ? 1 : 0)), h, faint);
  }
  thin.forEach((places, look) => {
    if (places.length === 0) return;
    c.fillStyle = colour[categories[Math.floor(look / 6)]];
    if (look % 2 === 1) c.globalAlpha = .14;
    for (let n = 0; n < places.length; n += 2) thinBar(c, Math.floor(look / 2) % 3, places[n], places[n + 1], 1, h);
    c.globalAlpha = 1;
    places.length = 0;
  });
}
/** A bar too thin for words: whole when answered, low when refused, broken when unknown. */
function thinBar(c, outcome, x, y, w, h) {
  if (outcome === 0) c.fillRect(x, y, w, h);
  else if (outcome === 1) c.fillRect(x, y + h - 5, w, 5);
  else for (const part of [0, 6, 12]) c.fillRect(x, y + part, w, 3);
}
function drawOperation(c, i, x, y, w, h, faint) {
  const ink = colour[categories[opCategory[i]]], outcome = ops.outcome[i];
  if (faint) c.globalAlpha = .14;
  if (w < 5) {
    c.fillStyle = ink;
    thinBar(c, outcome, x, y, w, h);
    if (faint) c.globalAlpha = 1;
    return;
  }
  if (outcome === 0) box(c, x, y, w, h, ink);
  else {
    box(c, x, y, w, h, colour.surface);
    if (outcome === 2) { c.globalAlpha = faint ? .1 : .5; hatched(c, "unknown", ink, x, y, w, h); c.globalAlpha = faint ? .14 : 1; }
    c.strokeStyle = ink; c.lineWidth = 1.3; c.strokeRect(x + .6, y + .6, w - 1.2, h - 1.2);
  }
  if (w > 20 && !faint) {
    const revision = ops.revision[i] ? `@${ops.revision[i]}` : "";
    const sign = outcome === 1 ? "✕ " : outcome === 2 ? "? " : "";
    const brief = run.texts[ops.request[i]];
    const long = `${sign}${brief} ${revision}`;
    let text = clipped(c, long, w - 8);
    if (text !== long) text = w > 110 ? `${clipped(c, sign + brief, w - 16 - revision.length * 7)} ${revision}` : clipped(c, sign + (revision || brief), w - 6);
    if (text) {
      if (outcome !== 0) box(c, x + 2, y + 2, Math.min(w - 4, c.measureText(text).width + 4), h - 4, colour.surface);
      c.fillStyle = outcome === 0 ? colour["bar-ink"] : ink;
      c.fillText(text, x + 4, y + h / 2 + .5);
    }
  }
  if (faint) c.globalAlpha = 1;
}

function drawWatch(c, lane, y) {
  lane.list.forEach((place, k) => {
    const watch = watches[place];
    if (watch.until < view.from || watch.from > view.to) return;
    const faint = filter.active && filter.watches[place] === 0;
    const x1 = Math.max(GUTTER, xAt(watch.from)), x2 = Math.min(width, Math.max(xAt(watch.until), x1 + 2));
    const top = y + 3 + lane.rows[k] * WATCH_ROW, h = WATCH_ROW - 4;
    if (faint) c.globalAlpha = .14;
    c.strokeStyle = colour.muted; c.lineWidth = 1; c.strokeRect(x1 + .5, top + .5, x2 - x1 - 1, h - 1);
    let taken = -1;
    for (let n = notAfter(watch.at, view.from); n < watch.at.length && watch.at[n] <= view.to; n++) {
      const x = xAt(watch.at[n]);
      if ((x | 0) === taken) continue;
      taken = x | 0;
      box(c, x | 0, top, 1, h, watch.events[n] > 0 ? colour.write : colour.muted);
      if (n + 1 < watch.at.length && xAt(watch.at[n + 1]) - x > 40 && watch.events[n] > 0 && !faint) { c.font = font(10); c.fillStyle = colour.muted; c.fillText(`@${watch.revision[n]}`, x + 4, top + h / 2 + .5); }
    }
    c.globalAlpha = 1;
  });
}

/** Where an item of a story stands on the chart, from the top of all lanes. */
function placeOf(item) {
  for (const lane of lanes) {
    if (item.op !== undefined && lane.type === "client" && lane.client === item.client) {
      const k = lane.list.indexOf(item.op);
      if (k >= 0) return lane.y + 3 + lane.rows[k] * CLIENT_ROW + (CLIENT_ROW - 4) / 2;
    }
    if (item.watch !== undefined && lane.type === "watch" && lane.client === item.client) {
      const k = lane.list.indexOf(item.watch);
      if (k >= 0) return lane.y + 3 + lane.rows[k] * WATCH_ROW + (WATCH_ROW - 4) / 2;
    }
  }
  return undefined;
}

function drawPin(c) {
  const pin = pins[selection.pin];
  if (!pin) return;
  const x = xAt(pin.at);
  if (x >= GUTTER && x <= width) { c.strokeStyle = colour.pin; c.lineWidth = 2; line(c, x, RULER, x, height); }
  const story = storyOf(pin);
  for (const i of new Set(story.filter((item) => item.op !== undefined).map((item) => item.op))) {
    const y = placeOf({ op: i, client: ops.client[i] });
    if (y === undefined) continue;
    const x1 = Math.max(GUTTER, xAt(ops.at[i])), x2 = Math.min(width, Math.max(xAt(ops.until[i]), xAt(ops.at[i]) + 3));
    if (x2 < GUTTER || x1 > width) continue;
    c.strokeStyle = colour.pin; c.lineWidth = pin.operations.includes(i) ? 2.5 : 1.5;
    c.strokeRect(x1 - 1, RULER + y - view.scroll - (CLIENT_ROW - 4) / 2 - 1, x2 - x1 + 2, CLIENT_ROW - 2);
  }
  c.font = font(10.5, 700); c.textAlign = "center";
  // Two numbers at one place would hide each other.
  const put = [];
  for (const item of story) {
    const y = placeOf(item);
    if (y === undefined) continue;
    const px = xAt(item.at), py = RULER + y - view.scroll;
    let cx = px + (item.op === undefined ? 0 : item.end ? 9 : -9);
    while (put.some(([ox, oy]) => Math.abs(ox - cx) < 16 && Math.abs(oy - py) < 12)) cx += 16;
    put.push([cx, py, item.number]);
  }
  c.strokeStyle = colour.pin; c.lineWidth = 1.2; c.setLineDash([2, 3]); c.beginPath();
  put.forEach(([cx, py], i) => (i === 0 ? c.moveTo(cx, py) : c.lineTo(cx, py)));
  c.stroke(); c.setLineDash([]);
  for (const [cx, py, number] of put) {
    if (cx < GUTTER - 8 || cx > width + 8 || py < RULER) continue;
    c.fillStyle = colour.pin; c.beginPath(); c.arc(cx, py, 8, 0, 7); c.fill();
    c.strokeStyle = colour.surface; c.lineWidth = 1.2; c.stroke();
    c.fillStyle = colour.surface; c.fillText(number, cx, py + .5);
  }
  c.textAlign = "left";
}

function drawSelection(c) {
  const x = xAt(selection.t);
  if (x >= GUTTER - 1 && x <= width) { c.strokeStyle = colour.select; c.lineWidth = 1; c.setLineDash([4, 3]); line(c, x, RULER, x, height); c.setLineDash([]); }
  const kind = steps.kind[selection.step], ref = steps.ref[selection.step];
  if (selection.step < 0 || (kind !== INVOKE && kind !== RETURN)) return;
  const y = placeOf({ op: ref, client: ops.client[ref] });
  if (y === undefined) return;
  const x1 = Math.max(GUTTER, xAt(ops.at[ref])), x2 = Math.min(width, Math.max(xAt(ops.until[ref]), xAt(ops.at[ref]) + 3));
  c.strokeStyle = colour.select; c.lineWidth = 2;
  if (x2 > GUTTER && x1 < width) c.strokeRect(x1 - 2, RULER + y - view.scroll - CLIENT_ROW / 2 + 1, x2 - x1 + 4, CLIENT_ROW - 1);
}

function drawGutter(c) {
  box(c, 0, RULER, GUTTER, height, colour.surface);
  box(c, GUTTER - 1, 0, 1, height, colour.line);
  const t = selection.t;
  for (const lane of lanes) {
    const y = RULER + lane.y - view.scroll;
    if (y > height || y + lane.height < RULER) continue;
    box(c, 0, y, GUTTER, 1, colour.faint);
    c.fillStyle = colour.ink; c.font = font(13, 650);
    if (lane.type === "heading") { c.font = font(11, 650); c.fillStyle = lane.title === "In this violation" ? colour.pin : colour.muted; c.fillText(lane.title.toUpperCase(), 10, y + 14); continue; }
    if (lane.type === "watch") { const member = memberName(watches[lane.list[0]].member); c.font = font(12, 500); c.fillText(`${lane.title} watches ${member}`, 10, y + 11); continue; }
    if (lane.type === "client") {
      c.font = font(12, 600); c.fillText(lane.title, 10, y + 13);
      c.font = font(11); c.fillStyle = colour.muted; c.textAlign = "right"; c.fillText(`${count(lane.list.length)} ops`, GUTTER - 8, y + 13); c.textAlign = "left";
      continue;
    }
    if (lane.type === "faults") { c.fillText(lane.title, 10, y + 14); c.font = font(11); c.fillStyle = colour.muted; c.textAlign = "right"; c.fillText(`${faults.length}`, GUTTER - 8, y + 14); c.textAlign = "left"; continue; }
    const { member } = lane, value = (track) => valueAt(member, track, t) ?? 0;
    const stretch = member.stretches[notAfter(member.stretches.map((stretch) => stretch.at), t) - 1];
    c.fillText(member.name, 10, y + 16);
    c.font = font(11.5, 500); c.fillText(clipped(c, stretch ? lifeWords(stretch) : "", GUTTER - 46), 36, y + 16);
    c.font = font(11); c.fillStyle = colour.muted;
    c.fillText(`commit ${value("committed")}, last ${value("last")}`, 10, y + 6 + ROLE + 9);
    const behind = Math.max(0, (newest.value[notAfter(newest.at, t) - 1] ?? 0) - value("applied"));
    c.fillText(`applied ${value("applied")}${stretch?.phase === 2 && behind > 0 ? `, ${behind} behind` : ""}`, 10, y + 6 + ROLE + 22);
    c.fillText(`disk ${bytes(value("disk-bytes"))}, ${count(value("disk-syncs"))} syncs`, 10, y + 9 + ROLE + LOG + 6);
    const rate = value("clock-rate"), offset = clockOffset(member, t);
    c.fillText(`clock ${offset < 0 ? "−" : "+"}${duration(Math.abs(offset))}, ${rate < 0 ? "−" : "+"}${Math.abs(rate)} ppm`, 10, y + 10 + ROLE + LOG + DISK + 7);
  }
}

function drawChart() {
  const [c, w, h] = fitted(chart);
  width = w; height = h;
  c.textBaseline = "middle"; c.textAlign = "left"; c.globalAlpha = 1;
  box(c, 0, 0, w, h, colour.bg);
  c.save();
  c.beginPath(); c.rect(GUTTER, RULER, chartWidth(), h - RULER); c.clip();
  const step = tickStep(view.to - view.from, chartWidth());
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) box(c, xAt(t), RULER, 1, h, colour.faint);
  const inView = (lane) => lane.y - view.scroll < h - RULER && lane.y + lane.height - view.scroll > 0;
  const log = memberLanes.some(inView) ? logColumns() : undefined;
  drawBands(c);
  for (const lane of lanes) {
    if (!inView(lane)) continue;
    const y = RULER + lane.y - view.scroll;
    box(c, GUTTER, y, chartWidth(), 1, colour.faint);
    if (lane.involved) { c.globalAlpha = .07; box(c, GUTTER, y, chartWidth(), lane.height, colour.pin); c.globalAlpha = 1; }
    if (lane.type === "faults") drawFaults(c, y);
    else if (lane.type === "client") drawClient(c, lane, y);
    else if (lane.type === "watch") drawWatch(c, lane, y);
    else if (lane.type === "member") {
      drawRole(c, lane, y + 6);
      drawLog(c, lane, y + 6 + ROLE, log);
      drawDisk(c, lane, y + 6 + ROLE + LOG);
      drawClock(c, lane, y + 8 + ROLE + LOG + DISK);
      drawIncidents(c, lane, y + 6 + ROLE, y + 6 + ROLE + LOG);
    }
  }
  drawPin(c);
  drawSelection(c);
  c.restore();
  drawGutter(c);
  drawRuler(c);
  if (lanesHeight > h - RULER) {
    const room = h - RULER, thumb = Math.max(24, room * room / lanesHeight), top = RULER + view.scroll / (lanesHeight - room) * (room - thumb);
    c.globalAlpha = .35; box(c, w - 6, top, 4, thumb, colour.muted); c.globalAlpha = 1;
  }
}

const overviewX = (t, w) => GUTTER + t / run.end * (w - GUTTER);
let density;
function drawOverview() {
  const [c, w, h] = fitted(overview);
  const room = Math.max(1, Math.floor(w - GUTTER));
  if (!density || density.length !== room) {
    density = new Uint32Array(room);
    for (let i = 0; i < ops.count; i++) density[Math.min(room - 1, Math.floor(ops.at[i] / run.end * room))]++;
  }
  box(c, 0, 0, w, h, colour.surface);
  c.font = font(11); c.textBaseline = "middle"; c.fillStyle = colour.muted;
  c.fillText("whole run", 10, 13); c.fillText(`${moment(run.end, 1e10)}, ${count(ops.count)} ops`, 10, 30);
  const rows = Math.max(1, faultLane.height / FAULT_ROW);
  for (const [i, fault] of faults.entries()) {
    const x1 = overviewX(fault.from, w), x2 = Math.max(overviewX(fault.until, w), x1 + 1.5);
    box(c, x1, 4 + faultLane.rows[i] / rows * 20, x2 - x1, Math.max(2, 18 / rows), colour.fault);
  }
  const most = density.reduce((a, b) => Math.max(a, b), 1);
  c.fillStyle = colour.read;
  for (let x = 0; x < room; x++) if (density[x]) { const tall = Math.max(1, density[x] / most * (h - 30)); c.fillRect(GUTTER + x, h - 2 - tall, 1, tall); }
  pins.forEach((pin, i) => { c.globalAlpha = i === selection.pin ? 1 : .55; box(c, overviewX(pin.at, w) - 1, 0, i === selection.pin ? 3 : 1.5, h, colour.pin); });
  c.globalAlpha = .5;
  const x1 = Math.max(GUTTER, overviewX(view.from, w)), x2 = Math.min(w, Math.max(overviewX(view.to, w), x1 + 3));
  box(c, GUTTER, 0, x1 - GUTTER, h, colour.raised); box(c, x2, 0, w - x2, h, colour.raised);
  c.globalAlpha = 1; c.strokeStyle = colour.focus; c.lineWidth = 2; c.strokeRect(x1, 1, x2 - x1, h - 2);
  box(c, GUTTER - 1, 0, 1, h, colour.line);
}
