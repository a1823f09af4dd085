// A frame: the chart from its lanes, with the ruler above and the members' figures at the left; and the overview.
function drawRuler(c) {
  box(c, 0, 0, width, RULER, colour.surface);
  const span = view.to - view.from,
    step = tickStep(span, chartWidth());
  c.font = font(11);
  c.textBaseline = "middle";
  c.textAlign = "center";
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = xAt(t);
    box(c, x, 20, 1, 5, colour.muted);
    c.fillStyle = colour.muted;
    const digits = Math.max(0, Math.min(6, Math.ceil(9 - Math.log10(step) - 1e-9)));
    if (x > GUTTER + 22 && x < width - 22) c.fillText((t / 1e9).toFixed(digits) + " s", x, 11);
  }
  box(c, 0, RULER - 1, width, 1, colour.line);
  c.textAlign = "left";
  c.font = font(11.5, 600);
  c.fillStyle = colour.ink;
  c.fillText(`at ${moment(selection.t)}`, 10, 12);
  c.font = font(11);
  c.fillStyle = colour.muted;
  c.fillText(`window ${duration(span)}`, 10, 32);
  let taken = -1e9;
  const flag = (i) => {
    const x = xAt(pins[i].at),
      chosen = i === selection.pin;
    if (x < GUTTER - 1 || x > width + 1 || (!chosen && x - taken < 16)) return;
    taken = x;
    c.fillStyle = chosen ? colour.pin : colour.surface;
    c.strokeStyle = colour.pin;
    c.lineWidth = 1.5;
    const text = chosen && pins.length === 1 ? "violation" : chosen ? `violation ${i + 1}` : `${i + 1}`;
    c.font = font(11, 700);
    const w = c.measureText(text).width + 10;
    const left = Math.min(x, width - w - 2);
    c.beginPath();
    c.roundRect(left, 27, w, 15, 3);
    c.fill();
    c.stroke();
    c.fillStyle = chosen ? colour.surface : colour.pin;
    c.fillText(text, left + 5, 35);
  };
  pins.forEach((_, i) => {
    if (i !== selection.pin) flag(i);
  });
  if (selection.pin >= 0) flag(selection.pin);
}

function drawGutter(c) {
  box(c, 0, RULER, GUTTER, height, colour.surface);
  box(c, GUTTER - 1, 0, 1, height, colour.line);
  const t = selection.t;
  for (const lane of lanes) {
    const y = RULER + lane.y - view.scroll;
    if (y > height || y + lane.height < RULER) continue;
    box(c, 0, y, GUTTER, 1, colour.faint);
    c.fillStyle = colour.ink;
    c.font = font(13, 650);
    if (lane.type === "heading") {
      c.font = font(11, 650);
      c.fillStyle = lane.title === "In this violation" ? colour.pin : colour.muted;
      c.fillText(lane.title.toUpperCase(), 10, y + 14);
      continue;
    }
    if (lane.type === "watch") {
      const member = memberName(watches[lane.list[0]].member);
      c.font = font(12, 500);
      c.fillText(`${lane.title} watches ${member}`, 10, y + 11);
      continue;
    }
    if (lane.type === "client") {
      c.font = font(12, 600);
      c.fillText(lane.title, 10, y + 13);
      c.font = font(11);
      c.fillStyle = colour.muted;
      c.textAlign = "right";
      c.fillText(`${count(lane.list.length)} ops`, GUTTER - 8, y + 13);
      c.textAlign = "left";
      continue;
    }
    if (lane.type === "faults") {
      c.fillText(lane.title, 10, y + 14);
      c.font = font(11);
      c.fillStyle = colour.muted;
      c.textAlign = "right";
      c.fillText(`${faults.length}`, GUTTER - 8, y + 14);
      c.textAlign = "left";
      continue;
    }
    const { member } = lane,
      value = (track) => valueAt(member, track, t) ?? 0;
    const stretch =
      member.stretches[
        notAfter(
          member.stretches.map((stretch) => stretch.at),
          t,
        ) - 1
      ];
    c.fillText(member.name, 10, y + 16);
    c.font = font(11.5, 500);
    c.fillText(clipped(c, stretch ? lifeWords(stretch) : "", GUTTER - 46), 36, y + 16);
    c.font = font(11);
    c.fillStyle = colour.muted;
    c.fillText(`commit ${value("committed")}, last ${value("last")}`, 10, y + 6 + ROLE + 9);
    const behind = Math.max(0, (newest.value[notAfter(newest.at, t) - 1] ?? 0) - value("applied"));
    c.fillText(
      `applied ${value("applied")}${stretch?.phase === 2 && behind > 0 ? `, ${behind} behind` : ""}`,
      10,
      y + 6 + ROLE + 22,
    );
    c.fillText(`disk ${bytes(value("disk-bytes"))}, ${count(value("disk-syncs"))} syncs`, 10, y + 9 + ROLE + LOG + 6);
    const rate = value("clock-rate"),
      offset = clockOffset(member, t);
    c.fillText(
      `clock ${offset < 0 ? "−" : "+"}${duration(Math.abs(offset))}, ${rate < 0 ? "−" : "+"}${Math.abs(rate)} ppm`,
      10,
      y + 10 + ROLE + LOG + DISK + 7,
    );
  }
}

function drawChart() {
  const [c, w, h] = fitted(chart);
  width = w;
  height = h;
  c.textBaseline = "middle";
  c.textAlign = "left";
  c.globalAlpha = 1;
  box(c, 0, 0, w, h, colour.bg);
  c.save();
  c.beginPath();
  c.rect(GUTTER, RULER, chartWidth(), h - RULER);
  c.clip();
  const step = tickStep(view.to - view.from, chartWidth());
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) box(c, xAt(t), RULER, 1, h, colour.faint);
  const inView = (lane) => lane.y - view.scroll < h - RULER && lane.y + lane.height - view.scroll > 0;
  const log = memberLanes.some(inView) ? logColumns() : undefined;
  drawBands(c);
  for (const lane of lanes) {
    if (!inView(lane)) continue;
    const y = RULER + lane.y - view.scroll;
    box(c, GUTTER, y, chartWidth(), 1, colour.faint);
    if (lane.involved) {
      c.globalAlpha = 0.07;
      box(c, GUTTER, y, chartWidth(), lane.height, colour.pin);
      c.globalAlpha = 1;
    }
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
    const room = h - RULER,
      thumb = Math.max(24, (room * room) / lanesHeight),
      top = RULER + (view.scroll / (lanesHeight - room)) * (room - thumb);
    c.globalAlpha = 0.35;
    box(c, w - 6, top, 4, thumb, colour.muted);
    c.globalAlpha = 1;
  }
}

const overviewX = (t, w) => GUTTER + (t / run.end) * (w - GUTTER);

let density;

function drawOverview() {
  const [c, w, h] = fitted(overview);
  const room = Math.max(1, Math.floor(w - GUTTER));
  if (!density || density.length !== room) {
    density = new Uint32Array(room);
    for (let i = 0; i < ops.count; i++) density[Math.min(room - 1, Math.floor((ops.at[i] / run.end) * room))]++;
  }
  box(c, 0, 0, w, h, colour.surface);
  c.font = font(11);
  c.textBaseline = "middle";
  c.fillStyle = colour.muted;
  c.fillText("whole run", 10, 13);
  c.fillText(`${moment(run.end, 1e10)}, ${count(ops.count)} ops`, 10, 30);
  const rows = Math.max(1, faultLane.height / FAULT_ROW);
  for (const [i, fault] of faults.entries()) {
    const x1 = overviewX(fault.from, w),
      x2 = Math.max(overviewX(fault.until, w), x1 + 1.5);
    box(c, x1, 4 + (faultLane.rows[i] / rows) * 20, x2 - x1, Math.max(2, 18 / rows), colour.fault);
  }
  const most = density.reduce((a, b) => Math.max(a, b), 1);
  c.fillStyle = colour.read;
  for (let x = 0; x < room; x++)
    if (density[x]) {
      const tall = Math.max(1, (density[x] / most) * (h - 30));
      c.fillRect(GUTTER + x, h - 2 - tall, 1, tall);
    }
  pins.forEach((pin, i) => {
    c.globalAlpha = i === selection.pin ? 1 : 0.55;
    box(c, overviewX(pin.at, w) - 1, 0, i === selection.pin ? 3 : 1.5, h, colour.pin);
  });
  c.globalAlpha = 0.5;
  const x1 = Math.max(GUTTER, overviewX(view.from, w)),
    x2 = Math.min(w, Math.max(overviewX(view.to, w), x1 + 3));
  box(c, GUTTER, 0, x1 - GUTTER, h, colour.raised);
  box(c, x2, 0, w - x2, h, colour.raised);
  c.globalAlpha = 1;
  c.strokeStyle = colour.focus;
  c.lineWidth = 2;
  c.strokeRect(x1, 1, x2 - x1, h - 2);
  box(c, GUTTER - 1, 0, 1, h, colour.line);
}
