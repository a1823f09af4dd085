// The page itself: selection, window, keys, pointer; and what it shows first.
const get = (id) => document.getElementById(id);
const MOST_NEAR_NS = 2e4;

let queued = false;
/** Draws once, however many changes come before the next frame. */
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    drawChart();
    drawOverview();
  });
}

function setWindow(from, to) {
  const span = Math.min(run.end * 1.02, Math.max(MOST_NEAR_NS, to - from));
  const margin = run.end * 0.01;
  const first = Math.max(-margin, Math.min(from, run.end + margin - span));
  view.from = first;
  view.to = first + span;
  redraw();
}
function zoom(factor, around = (view.from + view.to) / 2) {
  setWindow(around - (around - view.from) * factor, around + (view.to - around) * factor);
}
const pan = (part) => {
  const by = (view.to - view.from) * part;
  setWindow(view.from + by, view.to + by);
};
function scrollTo(y) {
  view.scroll = Math.max(0, Math.min(Math.round(y), lanesHeight - (chart.getBoundingClientRect().height - RULER)));
  redraw();
}
/** Moves the window as little as it takes to have a moment, and a height, in it. */
function show(t, y, center) {
  const span = view.to - view.from;
  if (center && (t < view.from + span * 0.08 || t > view.to - span * 0.08)) setWindow(t - span / 2, t + span / 2);
  else if (t < view.from + span * 0.03) setWindow(t - span * 0.2, t + span * 0.8);
  else if (t > view.to - span * 0.03) setWindow(t - span * 0.8, t + span * 0.2);
  const room = chart.getBoundingClientRect().height - RULER;
  if (y !== undefined && (y < view.scroll + 10 || y > view.scroll + room - 30)) scrollTo(y - room / 2);
}

/** How high the lane of a step stands. */
function heightOf(step) {
  const ref = steps.ref[step];
  switch (steps.kind[step]) {
    case INVOKE:
    case RETURN:
      return placeOf({ op: ref, client: ops.client[ref] });
    case RESPONSE:
      return placeOf({ watch: responses.watch[ref], client: watches[responses.watch[ref]].client });
    case FAULT:
    case FAULT_END:
      return faultLane.y + faultLane.rows[ref] * FAULT_ROW;
    case MEMBER:
      return memberLanes[memberSteps[ref].member.place].y + 10;
    case INCIDENT:
      return memberLanes[incidentSteps[ref].member.place].y + 10;
    default:
      return undefined;
  }
}

function select(step, { center = false, still = false } = {}) {
  if (step < 0) return;
  selection.step = step;
  selection.t = steps.at[step];
  if (steps.kind[step] === PIN && steps.ref[step] !== selection.pin) choosePin(steps.ref[step], !still);
  if (!still) show(selection.t, heightOf(step), center);
  get("live").textContent = `${moment(selection.t)}: ${stepWords(step)}`;
  drawPanel();
  redraw();
}
function choosePin(pin, fit = true) {
  selection.pin = pin;
  get("which").textContent = pins.length > 0 ? `${pin + 1} of ${run.violations}` : "no violation";
  get("headline").textContent = pins[pin].sentence;
  layout(pins[pin]);
  if (fit) fitPin();
}
/** The window in which a violation can be read: its story, or the seconds before it. */
function fitPin() {
  const pin = pins[selection.pin];
  if (!pin) return setWindow(0, run.end);
  const near = storyOf(pin)
    .map((item) => item.at)
    .filter((at) => Math.abs(at - pin.at) < 1e9);
  if (near.length === 0) return setWindow(pin.at - 5e9, pin.at + 5e8);
  const first = Math.min(pin.at, ...near),
    last = Math.max(pin.at, ...near),
    span = Math.max(last - first, 2e7);
  setWindow(first - span * 0.45, last + span * 0.35);
}
function goToPin(pin) {
  if (!pins[pin]) return;
  choosePin(pin);
  select(stepOf(PIN, pin), { still: true });
  const story = storyOf(pins[pin])
    .map((item) => placeOf(item))
    .filter((y) => y !== undefined);
  const room = chart.getBoundingClientRect().height - RULER;
  // Members and the lanes of the violation together, if they fit; else the violation's lanes.
  if (story.length > 0) {
    const low = Math.max(...story);
    scrollTo(low + 40 < room ? 0 : low - room + 60);
  } else scrollTo(0);
}
const stepBy = (direction) =>
  select(
    selection.step >= 0
      ? seek(selection.step, direction)
      : seek(notAfter(steps.at, selection.t) - (direction > 0 ? 1 : 0), direction),
    {},
  );
function landmark(direction) {
  const from = selection.step >= 0 ? selection.step : notAfter(steps.at, selection.t) - (direction > 0 ? 1 : 0);
  const step = seek(from, direction, isLandmark);
  if (step >= 0 && steps.kind[step] === PIN) goToPin(steps.ref[step]);
  else select(step, { center: true });
}

function filterBy(text) {
  applyFilter(text);
  layout(pins[selection.pin]);
  get("matches").textContent = filter.active ? `${count(filter.matches)} of ${count(ops.count)} operations` : "";
  scrollTo(view.scroll);
  drawPanel();
  redraw();
}

const keys = {
  ArrowLeft: () => stepBy(-1),
  ArrowRight: () => stepBy(1),
  n: () => landmark(1),
  p: () => landmark(-1),
  a: () => goToPin(Math.max(0, selection.pin)),
  "+": () => zoom(0.5, within(selection.t)),
  "=": () => zoom(0.5, within(selection.t)),
  "-": () => zoom(2, within(selection.t)),
  0: () => setWindow(0, run.end * 1.01),
  ArrowUp: () => scrollTo(view.scroll - 60),
  ArrowDown: () => scrollTo(view.scroll + 60),
  PageUp: () => scrollTo(view.scroll - 500),
  PageDown: () => scrollTo(view.scroll + 500),
  Home: () => select(seek(-1, 1), {}),
  End: () => select(seek(steps.count, -1), {}),
  "/": () => get("filter").focus(),
  "?": () => get("help").showModal(),
  Escape: () => {
    if (filter.active) {
      get("filter").value = "";
      filterBy("");
    }
  },
};
/** The moment if it is in view, else the middle. */
const within = (t) => (t >= view.from && t <= view.to ? t : (view.from + view.to) / 2);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || get("help").open) return;
  if (event.target === get("filter")) {
    if (event.key === "Escape") {
      keys.Escape();
      chart.focus();
    }
    if (event.key === "Enter") chart.focus();
    return;
  }
  // Buttons keep their own keys, and the panel scrolls by its own.
  if (event.target.closest?.("button") && (event.key === "Enter" || event.key === " ")) return;
  if (event.target === panel && /^(Arrow(Up|Down)|Page|Home|End)/.test(event.key)) return;
  const act =
    event.shiftKey && event.key === "ArrowLeft"
      ? () => pan(-0.3)
      : event.shiftKey && event.key === "ArrowRight"
        ? () => pan(0.3)
        : keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

let drag;
chart.addEventListener("pointerdown", (event) => {
  drag = { x: event.offsetX, y: event.offsetY, from: view.from, scroll: view.scroll, moved: false };
  chart.setPointerCapture(event.pointerId);
});
chart.addEventListener("pointermove", (event) => {
  const tip = get("tip");
  if (!drag) {
    const found = hit(event.offsetX, event.offsetY);
    tip.hidden = !found;
    chart.style.cursor = found && found.kind >= 0 ? "pointer" : "default";
    if (!found) return;
    tip.textContent = found.text;
    tip.style.whiteSpace = "pre-line";
    const right = event.offsetX > width - 320;
    tip.style.left = right ? "" : `${event.offsetX + 14}px`;
    tip.style.right = right ? `${width - event.offsetX + 14}px` : "";
    tip.style.top = `${event.offsetY + 58 + 14}px`;
    return;
  }
  tip.hidden = true;
  const dx = event.offsetX - drag.x,
    dy = event.offsetY - drag.y;
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  drag.moved = true;
  const span = view.to - view.from,
    from = drag.from - (dx / chartWidth()) * span;
  setWindow(from, from + span);
  scrollTo(drag.scroll - dy);
});
chart.addEventListener("pointerup", (event) => {
  const dragged = drag?.moved;
  drag = undefined;
  if (dragged) return;
  const found = hit(event.offsetX, event.offsetY);
  if (!found || found.kind < 0) {
    if (event.offsetX < GUTTER) return;
    selection.step = -1;
    selection.t = Math.max(0, Math.min(run.end, timeAt(event.offsetX)));
    drawPanel();
    redraw();
    return;
  }
  if (found.kind === PIN) return goToPin(found.ref);
  const ref =
    found.kind === RESPONSE
      ? responses.watch.findIndex((watch, i) => watch === found.watch && responses.nth[i] === found.nth)
      : found.ref;
  select(stepOf(found.kind, ref), { still: true });
});
chart.addEventListener("pointerleave", () => {
  get("tip").hidden = true;
});
chart.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.0022), timeAt(event.offsetX));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
      pan((event.deltaX || event.deltaY) / 900);
    else scrollTo(view.scroll + event.deltaY);
  },
  { passive: false },
);
const overviewTime = (event) =>
  ((event.offsetX - GUTTER) / (overview.getBoundingClientRect().width - GUTTER)) * run.end;
overview.addEventListener("pointerdown", (event) => {
  overview.setPointerCapture(event.pointerId);
  moveOverview(event);
});
overview.addEventListener("pointermove", (event) => {
  if (event.buttons) moveOverview(event);
});
function moveOverview(event) {
  const t = overviewTime(event),
    span = view.to - view.from;
  setWindow(t - span / 2, t + span / 2);
}

get("previous").onclick = () => landmark(-1);
get("next").onclick = () => landmark(1);
get("anomaly").onclick = () => goToPin(Math.max(0, selection.pin));
get("back").onclick = () => stepBy(-1);
get("forth").onclick = () => stepBy(1);
get("closer").onclick = () => zoom(0.5, within(selection.t));
get("farther").onclick = () => zoom(2, within(selection.t));
get("all").onclick = keys[0];
get("ask").onclick = () => get("help").showModal();
let typing;
get("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => filterBy(get("filter").value), 60);
});

get("class").textContent =
  { pass: "✔ pass", safety: "✖ safety", crash: "✖ crash", liveness: "✖ liveness" }[run.class] ?? `✖ ${run.class}`;
get("class").classList.add(run.class);
get("headline").textContent = "Nothing is wrong in this run";
const facts = [
  ["seed ", run.seed],
  run.mutant ? ["planted bug ", run.mutant, run.breaks ? `: ${run.breaks}` : ""] : undefined,
  ["", `${(run.figures.simulated_ms / 1000).toFixed(1)} s`, " simulated"],
  [
    "",
    count(ops.count),
    ` operations, ${count(ops.outcome.filter((outcome) => outcome === 2).length)} of them unknown`,
  ],
  ["", faults.length, " faults"],
  ["", run.figures.crashes, " ends of processes"],
  ["", run.figures.leader_changes, " leader changes"],
  ["trace ", run.trace.slice(0, 12) || "none", ` over ${count(run.trace_events)} events`],
].filter(Boolean);
get("facts").append(
  ...facts.flatMap(([before, value, after], i) => [
    `${i > 0 ? " · " : ""}${before}`,
    make("b", {}, String(value)),
    after ?? "",
  ]),
);
get("anomaly").disabled = pins.length === 0;

function start() {
  readColours();
  drawChart();
  layout(undefined);
  if (pins.length > 0) goToPin(0);
  else {
    get("which").textContent = "no violation";
    setWindow(0, run.end);
    select(seek(-1, 1), { still: true });
  }
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  drawPanel();
  redraw();
});
addEventListener("resize", redraw);
start();

/** For tests and scripts: how the page stands, and how long a frame takes. */
window.page = {
  state: () => ({
    step: selection.step,
    at: selection.t,
    pin: selection.pin,
    from: view.from,
    to: view.to,
    scroll: view.scroll,
    steps: steps.count,
    operations: ops.count,
    matches: filter.matches,
    lanes: lanes.map((lane) => ({
      type: lane.type,
      title: lane.title,
      involved: lane.involved === true,
      top: RULER + lane.y - view.scroll,
      height: lane.height,
    })),
    words: selection.step >= 0 ? stepWords(selection.step) : "",
    kind: selection.step >= 0 ? steps.kind[selection.step] : -1,
    left: GUTTER,
    top: RULER,
  }),
  place: (t) => xAt(t),
  window: setWindow,
  scroll: scrollTo,
  /** Draws `frames` windows that wander through the run; the milliseconds that each took, its pixels read back. */
  measure: (frames, span) => {
    const took = [];
    for (let i = 0; i < frames; i++) {
      const from = ((run.end - span) * i) / frames,
        before = performance.now();
      setWindow(from, from + span);
      drawChart();
      drawOverview();
      chart.getContext("2d").getImageData(GUTTER + 1, RULER + 1, 1, 1);
      took.push(performance.now() - before);
    }
    return took;
  },
};
