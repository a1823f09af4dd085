// Faults: bars in a lane of their own, and bands through the lanes of whom they struck.
/** Faults as bands through the lanes of whom they struck. */
function drawBands(c) {
  for (const fault of faults) {
    if (fault.until < view.from || fault.from > view.to) continue;
    const x1 = Math.max(GUTTER, xAt(fault.from)),
      x2 = Math.min(width, Math.max(xAt(fault.until), xAt(fault.from) + 1.5));
    for (const lane of memberLanes) {
      if (fault.member !== null && fault.member !== lane.member.place) continue;
      const y = RULER + lane.y - view.scroll;
      c.globalAlpha = 0.55;
      box(c, x1, y + 2, x2 - x1, lane.height - 4, colour["fault-bg"]);
      c.globalAlpha = 0.3;
      hatched(c, fault.family, colour.fault, x1, y + 2, x2 - x1, lane.height - 4);
      c.globalAlpha = 0.8;
      box(c, x1, y + 2, 1, lane.height - 4, colour.fault);
      c.globalAlpha = 1;
    }
  }
}

function drawFaults(c, y) {
  if (!faults.some((fault) => fault.from <= view.to && fault.until >= view.from)) {
    const later = faults.find((fault) => fault.from > view.to),
      earlier = faults.findLast((fault) => fault.until < view.from);
    const words = [
      earlier && `last ended ${duration(view.from - earlier.until)} before: ${faultWords(earlier)}`,
      later && `next begins ${duration(later.from - view.to)} later: ${faultWords(later)}`,
    ];
    c.font = font(11);
    c.fillStyle = colour.muted;
    c.fillText(
      clipped(c, `none in this window; ${words.filter(Boolean).join("; ")}`, chartWidth() - 20),
      GUTTER + 8,
      y + 13,
    );
  }
  // A label may run into the free space behind its bar, up to the next one of its row.
  const next = new Map();
  for (let i = faults.length - 1; i >= 0; i--) {
    const fault = faults[i],
      row = faultLane.rows[i],
      follows = next.get(row) ?? Infinity;
    next.set(row, fault.from);
    if (fault.from > view.to) continue;
    const top = y + 4 + row * FAULT_ROW;
    const start = xAt(fault.from),
      end = Math.max(xAt(fault.until), start + 3);
    const room = Math.min(xAt(follows), width) - 4;
    if (end < GUTTER && room < GUTTER) continue;
    if (end < GUTTER) continue;
    const x1 = Math.max(GUTTER, start),
      x2 = Math.min(width, end);
    box(c, x1, top, x2 - x1, FAULT_ROW - 3, colour["fault-bg"]);
    hatched(c, fault.family, colour.fault, x1, top, x2 - x1, FAULT_ROW - 3);
    c.strokeStyle = colour.fault;
    c.lineWidth = 1;
    c.strokeRect(x1 + 0.5, top + 0.5, x2 - x1 - 1, FAULT_ROW - 4);
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
    c.fillStyle = colour.fault;
    c.fillText(text, left + 3, top + 8);
  }
}
