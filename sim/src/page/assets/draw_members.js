// A member's lane: its role, how far its log is behind, its disk, its clock, and what went wrong with them.
function drawRole(c, lane, y) {
  const list = lane.member.stretches;
  let i = Math.max(
      0,
      notAfter(
        list.map((stretch) => stretch.at),
        view.from,
      ) - 1,
    ),
    drawn = -1;
  for (; i < list.length && list[i].at <= view.to; i++) {
    const stretch = list[i];
    const x1 = Math.max(GUTTER, xAt(stretch.at)),
      x2 = Math.min(width, xAt(stretch.until));
    if (x2 - x1 < 0.7 && Math.floor(x1) === drawn) continue;
    drawn = Math.floor(x1);
    const w = Math.max(1, x2 - x1),
      h = ROLE - 3;
    let ink = colour["follower-ink"];
    if (stretch.phase === 0) {
      box(c, x1, y, w, h, colour.raised);
      hatched(c, "down", colour.down, x1, y, w, h);
      ink = colour.ink;
    } else if (stretch.phase === 1) {
      box(c, x1, y, w, h, colour.surface);
      c.strokeStyle = colour.down;
      c.setLineDash([3, 3]);
      c.lineWidth = 1;
      c.strokeRect(x1 + 0.5, y + 0.5, Math.max(0, w - 1), h - 1);
      c.setLineDash([]);
      ink = colour.muted;
    } else if (stretch.role === 1) {
      box(c, x1, y, w, h, colour.leader);
      ink = colour["leader-ink"];
    } else if (stretch.leader) box(c, x1, y, w, h, colour.follower);
    else {
      box(c, x1, y, w, h, colour.none);
      ink = colour["none-ink"];
    }
    if (stretch.paused) hatched(c, "pause", ink, x1, y, w, h);
    box(c, x1, y, 1, h, colour.surface);
    c.font = font(11.5, stretch.role === 1 ? 700 : 500);
    const short =
      stretch.phase === 0
        ? "down"
        : stretch.phase === 1
          ? "starting"
          : stretch.role === 1
            ? `leader t${stretch.term}`
            : stretch.leader
              ? `→ ${memberName(stretch.leader - 1)} t${stretch.term}`
              : `? t${stretch.term}`;
    const long = lifeWords(stretch);
    let text = clipped(c, long, w - 10);
    if (text !== long && w > c.measureText(short).width + 6) text = short;
    else if (text !== long) text = clipped(c, short, w - 6);
    if (!text) continue;
    if (stretch.phase === 0 || stretch.paused)
      box(
        c,
        x1 + 3,
        y + 2,
        c.measureText(text).width + 4,
        h - 4,
        stretch.phase === 0 ? colour.raised : stretch.role === 1 ? colour.leader : colour.follower,
      );
    c.fillStyle = ink;
    c.fillText(text, x1 + 5, y + h / 2 + 0.5);
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
  const at = new Float64Array(points.length),
    value = new Float64Array(points.length);
  points.forEach(([t, v], i) => {
    most = Math.max(most, v);
    at[i] = t;
    value[i] = most;
  });
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
    const behind = ["last", "committed", "applied"].map((name) =>
      columns(member.tracks[name]).map((value, x) => (phase[x] === 2 ? Math.max(0, top[x] - value) : NaN)),
    );
    for (const value of behind[2]) if (value > deepest) deepest = value;
    return behind;
  });
  return { all, deepest };
}

function drawLog(c, lane, y, log) {
  const [last, committed, applied] = log.all[lane.member.place];
  const h = LOG - 6,
    deep = (value) => y + 2 + Math.min(1, Math.sqrt(value / log.deepest)) * h;
  box(c, GUTTER, y + 1.5, chartWidth(), 1, colour.line);
  c.fillStyle = colour["log-fill"];
  // Columns of one height are one box.
  for (let x = 0, end = 0; x < applied.length; x = end) {
    for (end = x + 1; end < applied.length && applied[end] === applied[x]; end++);
    if (applied[x] > 0) c.fillRect(GUTTER + x, y + 2, end - x, Math.round(deep(applied[x]) - y - 2));
  }
  const stroke = (values, dash, widthOf) => {
    c.strokeStyle = colour.log;
    c.lineWidth = widthOf;
    c.setLineDash(dash);
    c.beginPath();
    let down = false;
    for (let x = 0; x < values.length; x++) {
      if (Number.isNaN(values[x])) {
        down = false;
        continue;
      }
      if (down) c.lineTo(GUTTER + x, deep(values[x]));
      else c.moveTo(GUTTER + x, deep(values[x]));
      down = true;
    }
    c.stroke();
    c.setLineDash([]);
  };
  stroke(last, [2, 2], 1);
  stroke(applied, [], 1.4);
  stroke(committed, [5, 2], 1);
}

function drawIncidents(c, lane, yLog, yDisk) {
  const from = { log: -1e9, disk: -1e9 };
  for (const incident of lane.member.incidents) {
    if (incident.at < view.from || incident.at > view.to) continue;
    const x = xAt(incident.at),
      where = incident.log ? "log" : "disk",
      y = incident.log ? yLog + 8 : yDisk + 6;
    if (x < from[where]) {
      box(c, x, y - 6, 2, 12, colour.danger);
      continue;
    }
    c.font = font(11, 700);
    const full = `${incident.sign} ${incident.text}`;
    // At the right edge the words stand before the moment, where there is room for them.
    const needed = c.measureText(full).width + 6;
    const before = x + needed > width && x - needed > Math.max(GUTTER, from[where]);
    const text = before ? full : clipped(c, full, Math.min(width - x, 300)) || incident.sign;
    const w = before ? needed : c.measureText(text).width + 6;
    const left = before ? x - w : x;
    box(c, left, y - 7, w, 14, colour.surface);
    c.fillStyle = colour.danger;
    c.fillText(text, left + 3, y + 1);
    box(c, x, y - 7, 2, 14, colour.danger);
    from[where] = before ? x + 2 : x + w + 2;
  }
}

function drawDisk(c, lane, y) {
  const track = columns(lane.member.tracks["disk-bytes"]);
  const h = DISK - 2;
  c.fillStyle = colour.disk;
  // Three pixels a bucket; the height is logarithmic, from 512 bytes to 1 MiB.
  for (let x = 3; x < track.length; x += 3) {
    const by = track[x] - track[x - 3];
    if (by > 0) {
      const tall = Math.max(1, Math.round(Math.min(1, (Math.log2(by) - 8) / 12) * h));
      c.fillRect(GUTTER + x - 3, y + h - tall, 2, tall);
    }
  }
}

const clockMost = Math.max(
  1e6,
  ...members.flatMap((member) =>
    [...(member.tracks["clock-offset"]?.at ?? []), run.end].map((at) => Math.abs(clockOffset(member, at))),
  ),
);

function drawClock(c, lane, y) {
  const h = CLOCK - 3;
  c.strokeStyle = colour.clock;
  c.lineWidth = 1.2;
  c.beginPath();
  for (let x = 0; x <= chartWidth() && timeAt(GUTTER + x) <= run.end; x += 2) {
    const offset = clockOffset(lane.member, timeAt(GUTTER + x));
    const top = y + h / 2 - (Math.sign(offset) * Math.sqrt(Math.abs(offset) / clockMost) * h) / 2;
    if (x === 0) c.moveTo(GUTTER + x, top);
    else c.lineTo(GUTTER + x, top);
  }
  c.stroke();
}
