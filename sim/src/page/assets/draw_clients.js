// Operations and watches as bars. Only what the window shows is visited, and bars of one pixel are drawn once.
// Bars of one pixel, by what they look like: category, outcome, and whether the filter holds them back.
const thin = Array.from({ length: 24 }, () => []);

function drawClient(c, lane, y) {
  const { list, rows, reach } = lane,
    taken = new Int32Array(CLIENT_ROWS_MAX).fill(-1);
  const h = CLIENT_ROW - 4,
    scale = chartWidth() / (view.to - view.from);
  c.font = font(11, 500);
  for (let k = firstReaching(reach, view.from); k < list.length; k++) {
    const i = list[k],
      at = ops.at[i];
    if (at > view.to) break;
    const until = ops.until[i];
    if (until < view.from) continue;
    const faint = filter.active && filter.ops[i] === 0;
    const x = GUTTER + (at - view.from) * scale,
      w = (until - at) * scale,
      top = y + 3 + rows[k] * CLIENT_ROW;
    if (w < 2) {
      // A place is taken once, by the first that passes the filter.
      const column = (x | 0) * 2 + (faint ? 0 : 1);
      if (taken[rows[k]] >= column) continue;
      taken[rows[k]] = column;
      const places = thin[opCategory[i] * 6 + ops.outcome[i] * 2 + (faint ? 1 : 0)];
      const last = places.length - 3;
      // Neighbours that look the same are one bar.
      if (last >= 0 && places[last + 1] === top && places[last] + places[last + 2] === (x | 0)) places[last + 2]++;
      else places.push(x | 0, top, 1);
      continue;
    }
    const left = x < GUTTER ? GUTTER : x,
      right = x + w > width ? width : x + w;
    drawOperation(c, i, left, top, Math.max(1.6, right - left - (w > 4 ? 1 : 0)), h, faint);
  }
  thin.forEach((places, look) => {
    if (places.length === 0) return;
    c.fillStyle = colour[categories[Math.floor(look / 6)]];
    if (look % 2 === 1) c.globalAlpha = 0.14;
    for (let n = 0; n < places.length; n += 3)
      thinBar(c, Math.floor(look / 2) % 3, places[n], places[n + 1], places[n + 2], h);
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
  const ink = colour[categories[opCategory[i]]],
    outcome = ops.outcome[i];
  if (faint) c.globalAlpha = 0.14;
  if (w < 5) {
    c.fillStyle = ink;
    thinBar(c, outcome, x, y, w, h);
    if (faint) c.globalAlpha = 1;
    return;
  }
  if (outcome === 0) box(c, x, y, w, h, ink);
  else {
    box(c, x, y, w, h, colour.surface);
    if (outcome === 2) {
      c.globalAlpha = faint ? 0.1 : 0.5;
      hatched(c, "unknown", ink, x, y, w, h);
      c.globalAlpha = faint ? 0.14 : 1;
    }
    c.strokeStyle = ink;
    c.lineWidth = 1.3;
    c.strokeRect(x + 0.6, y + 0.6, w - 1.2, h - 1.2);
  }
  if (w > 20 && !faint) {
    const revision = ops.revision[i] ? `@${ops.revision[i]}` : "";
    const sign = outcome === 1 ? "✕ " : outcome === 2 ? "? " : "";
    const brief = run.texts[ops.request[i]];
    const long = `${sign}${brief} ${revision}`;
    let text = clipped(c, long, w - 8);
    if (text !== long)
      text =
        w > 110
          ? `${clipped(c, sign + brief, w - 16 - revision.length * 7)} ${revision}`
          : clipped(c, sign + (revision || brief), w - 6);
    if (text) {
      if (outcome !== 0) box(c, x + 2, y + 2, Math.min(w - 4, c.measureText(text).width + 4), h - 4, colour.surface);
      c.fillStyle = outcome === 0 ? colour["bar-ink"] : ink;
      c.fillText(text, x + 4, y + h / 2 + 0.5);
    }
  }
  if (faint) c.globalAlpha = 1;
}

function drawWatch(c, lane, y) {
  lane.list.forEach((place, k) => {
    const watch = watches[place];
    if (watch.until < view.from || watch.from > view.to) return;
    const faint = filter.active && filter.watches[place] === 0;
    const x1 = Math.max(GUTTER, xAt(watch.from)),
      x2 = Math.min(width, Math.max(xAt(watch.until), x1 + 2));
    const top = y + 3 + lane.rows[k] * WATCH_ROW,
      h = WATCH_ROW - 4;
    if (faint) c.globalAlpha = 0.14;
    c.strokeStyle = colour.muted;
    c.lineWidth = 1;
    c.strokeRect(x1 + 0.5, top + 0.5, x2 - x1 - 1, h - 1);
    let taken = -1;
    for (let n = notAfter(watch.at, view.from); n < watch.at.length && watch.at[n] <= view.to; n++) {
      const x = xAt(watch.at[n]);
      if ((x | 0) === taken) continue;
      taken = x | 0;
      box(c, x | 0, top, 1, h, watch.events[n] > 0 ? colour.write : colour.muted);
      if (n + 1 < watch.at.length && xAt(watch.at[n + 1]) - x > 40 && watch.events[n] > 0 && !faint) {
        c.font = font(10);
        c.fillStyle = colour.muted;
        c.fillText(`@${watch.revision[n]}`, x + 4, top + h / 2 + 0.5);
      }
    }
    c.globalAlpha = 1;
  });
}
