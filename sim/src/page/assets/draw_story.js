// What is chosen: the violation with the numbered moments of its story, and the step.
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
  if (x >= GUTTER && x <= width) {
    c.strokeStyle = colour.pin;
    c.lineWidth = 2;
    line(c, x, RULER, x, height);
  }
  const story = storyOf(pin);
  for (const i of new Set(story.filter((item) => item.op !== undefined).map((item) => item.op))) {
    const y = placeOf({ op: i, client: ops.client[i] });
    if (y === undefined) continue;
    const x1 = Math.max(GUTTER, xAt(ops.at[i])),
      x2 = Math.min(width, Math.max(xAt(ops.until[i]), xAt(ops.at[i]) + 3));
    if (x2 < GUTTER || x1 > width) continue;
    c.strokeStyle = colour.pin;
    c.lineWidth = pin.operations.includes(i) ? 2.5 : 1.5;
    c.strokeRect(x1 - 1, RULER + y - view.scroll - (CLIENT_ROW - 4) / 2 - 1, x2 - x1 + 2, CLIENT_ROW - 2);
  }
  c.font = font(10.5, 700);
  c.textAlign = "center";
  // Two numbers at one place would hide each other.
  const put = [];
  for (const item of story) {
    const y = placeOf(item);
    if (y === undefined) continue;
    const px = xAt(item.at),
      py = RULER + y - view.scroll;
    let cx = px + (item.op === undefined ? 0 : item.end ? 9 : -9);
    while (put.some(([ox, oy]) => Math.abs(ox - cx) < 16 && Math.abs(oy - py) < 12)) cx += 16;
    put.push([cx, py, item.number]);
  }
  c.strokeStyle = colour.pin;
  c.lineWidth = 1.2;
  c.setLineDash([2, 3]);
  c.beginPath();
  put.forEach(([cx, py], i) => (i === 0 ? c.moveTo(cx, py) : c.lineTo(cx, py)));
  c.stroke();
  c.setLineDash([]);
  for (const [cx, py, number] of put) {
    if (cx < GUTTER - 8 || cx > width + 8 || py < RULER) continue;
    c.fillStyle = colour.pin;
    c.beginPath();
    c.arc(cx, py, 8, 0, 7);
    c.fill();
    c.strokeStyle = colour.surface;
    c.lineWidth = 1.2;
    c.stroke();
    c.fillStyle = colour.surface;
    c.fillText(number, cx, py + 0.5);
  }
  c.textAlign = "left";
}

function drawSelection(c) {
  const x = xAt(selection.t);
  if (x >= GUTTER - 1 && x <= width) {
    c.strokeStyle = colour.select;
    c.lineWidth = 1;
    c.setLineDash([4, 3]);
    line(c, x, RULER, x, height);
    c.setLineDash([]);
  }
  const kind = steps.kind[selection.step],
    ref = steps.ref[selection.step];
  if (selection.step < 0 || (kind !== INVOKE && kind !== RETURN)) return;
  const y = placeOf({ op: ref, client: ops.client[ref] });
  if (y === undefined) return;
  const x1 = Math.max(GUTTER, xAt(ops.at[ref])),
    x2 = Math.min(width, Math.max(xAt(ops.until[ref]), xAt(ops.at[ref]) + 3));
  c.strokeStyle = colour.select;
  c.lineWidth = 2;
  if (x2 > GUTTER && x1 < width)
    c.strokeRect(x1 - 2, RULER + y - view.scroll - CLIENT_ROW / 2 + 1, x2 - x1 + 4, CLIENT_ROW - 1);
}
