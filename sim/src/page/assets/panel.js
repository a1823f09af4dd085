// The panel: the violation with its story, the chosen step, what it changed, and how the members stand.
const panel = document.getElementById("panel");

/** An element with children; strings become text, so nothing of the run is ever taken for markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}
const section = (title, ...children) => make("section", { "aria-label": title }, make("h2", {}, title), ...children);
const definitions = (pairs) =>
  make(
    "dl",
    {},
    ...pairs
      .filter(([, value]) => value !== undefined && value !== "")
      .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
const hex = (value) => value.toString(16).padStart(13, "0");

function commandLine(text) {
  const copy = make(
    "button",
    {
      "aria-label": `Copy: ${text}`,
      onclick: () =>
        navigator.clipboard?.writeText(text).then(
          () => {
            copy.textContent = "Copied";
          },
          () => {},
        ),
    },
    "Copy",
  );
  return make("div", { class: "command" }, make("code", {}, text), copy);
}

const jump = (step, text) => make("button", { onclick: () => select(step, { center: true }) }, text);
const timed = (at, child, number) =>
  make(
    "li",
    {},
    make("span", { class: number ? "number" : undefined }, number ? String(number) : ""),
    make("time", {}, moment(at, number ? 1e6 : 1e9)),
    child,
  );

function violationSection() {
  const pin = pins[selection.pin];
  if (!pin) return undefined;
  const story = storyOf(pin).map((item) =>
    timed(item.at, item.step >= 0 ? jump(item.step, item.text) : item.text, item.number),
  );
  return make(
    "section",
    { "aria-label": "Violation" },
    make(
      "div",
      { class: "violation", id: "violation" },
      make(
        "div",
        { class: "by" },
        `violation ${selection.pin + 1} of ${run.violations}: ${pin.class}, found by ${pin.by}, at ${moment(pin.at)}`,
      ),
      make("div", { class: "sentence" }, pin.sentence),
      pin.details.length > 0 && make("ul", {}, ...pin.details.map((detail) => make("li", {}, detail))),
    ),
    story.length > 0 && make("ol", { class: "story", "aria-label": "What it is made of" }, ...story),
  );
}

function beforeSection() {
  const before = cameBefore(7).map((step) => timed(steps.at[step], jump(step, stepWords(step))));
  return before.length > 0
    ? section("Faults and changes before", make("ol", { class: "story" }, ...before))
    : undefined;
}

function stepSection() {
  const step = selection.step;
  if (step < 0) return section("This moment", make("p", { class: "muted" }, moment(selection.t)));
  const kind = steps.kind[step],
    ref = steps.ref[step];
  // A violation has said all above.
  if (kind === PIN) return undefined;
  const head = make("p", { class: "step-title", id: "step" }, stepWords(step));
  let facts = [["at", moment(steps.at[step])]];
  if (kind === INVOKE || kind === RETURN) {
    facts = [
      ["operation", `#${ops.id[ref]}`],
      ["client", `${run.clients[ops.client[ref]]} → ${memberName(ops.member[ref])}`],
      ["request", run.texts[ops.request[ref]]],
      ["sent", moment(ops.at[ref])],
      ["returned", `${moment(ops.until[ref])}, after ${duration(ops.until[ref] - ops.at[ref])}`],
      ["outcome", `${outcomes[ops.outcome[ref]]}${ops.revision[ref] ? ` at rev ${ops.revision[ref]}` : ""}`],
      ["answer", run.texts[ops.answer[ref]]],
    ];
  } else if (kind === RESPONSE) {
    const watch = watches[responses.watch[ref]],
      nth = responses.nth[ref];
    facts = [
      ...facts,
      ["watch", `w${watch.id}, ${run.clients[watch.client]} on ${memberName(watch.member)}`],
      ["request", run.texts[watch.request]],
      ["response", `number ${nth + 1} of ${watch.at.length}, to rev ${watch.revision[nth]}`],
      ["content", run.texts[watch.text[nth]]],
      ["watch's end", watch.end],
    ];
  } else if (kind === FAULT || kind === FAULT_END) {
    const fault = faults[ref];
    facts = [
      ["fault", fault.kind],
      ["struck", fault.member === null ? "the cluster" : memberName(fault.member)],
      ["what", fault.what],
      ["from", moment(fault.from)],
      ["until", `${moment(fault.until)}, after ${duration(fault.until - fault.from)}`],
    ];
  }
  return section("This step", head, definitions(facts));
}

/** Numbers of a member that the panel compares, with how they read. */
const shownTracks = [
  ["term", "term", String],
  ["last", "last entry", String],
  ["committed", "committed", String],
  ["applied", "applied", String],
  ["snapshot", "snapshot", String],
  ["purged", "purged", String],
  ["revision", "revision", String],
  ["hash", "state hash", hex],
  ["disk-bytes", "written", bytes],
  ["disk-syncs", "syncs", String],
  ["disk-errors", "disk errors", String],
  ["sectors-lost", "sectors lost", String],
  ["sectors-torn", "sectors torn", String],
  ["clock-rate", "clock ppm", String],
  ["wall-offset", "wall clock ms", String],
];
const life = (member, t) => {
  const stretch =
    member.stretches[
      notAfter(
        member.stretches.map((stretch) => stretch.at),
        t,
      ) - 1
    ];
  return stretch ? lifeWords(stretch) : "not started";
};

function differenceSection() {
  if (selection.step < 0) return undefined;
  const t = selection.t,
    pin = steps.kind[selection.step] === PIN ? pins[steps.ref[selection.step]] : undefined;
  const before = seek(selection.step, -1);
  // A violation is held against the moment at which its story begins, any other step against the one before.
  const from = pin ? Math.min(storyOf(pin)[0]?.at ?? t - 1e9, t) - 1 : before < 0 ? -1 : steps.at[before];
  const rows = [];
  for (const member of members) {
    const was = life(member, from),
      is = life(member, t);
    if (was !== is) rows.push([member.name, "state", was, is]);
    for (const [track, title, words] of shownTracks) {
      const old = valueAt(member, track, from),
        now = valueAt(member, track, t);
      if (old !== now && now !== undefined)
        rows.push([member.name, title, old === undefined ? "–" : words(old), words(now)]);
    }
  }
  const span = pin
    ? `in the ${duration(t - from)} up to the violation`
    : before < 0
      ? "since the run began"
      : `in the ${duration(t - from)} since the step before`;
  const told = make(
    "p",
    { class: "muted" },
    rows.length === 0
      ? `Nothing seen to change on members ${span}.`
      : `Seen to change ${span}; members are looked at every 20 ms.`,
  );
  if (rows.length === 0)
    return make("section", { "aria-label": "State difference" }, make("h2", {}, "State difference"), told);
  return section(
    "State difference",
    told,
    make(
      "table",
      { id: "difference" },
      make(
        "thead",
        {},
        make("tr", {}, ...["member", "what", "before", "after"].map((name) => make("th", { scope: "col" }, name))),
      ),
      make(
        "tbody",
        {},
        ...rows.map((row) =>
          make("tr", {}, ...row.map((cell, i) => make("td", { class: i > 1 ? "mono" : undefined }, cell))),
        ),
      ),
    ),
  );
}

function membersSection() {
  const t = selection.t;
  const rows = [
    make("tr", {}, make("th", { scope: "row" }, "state"), ...members.map((member) => make("td", {}, life(member, t)))),
  ];
  const applied = members.map((member) => valueAt(member, "applied", t)),
    hashes = members.map((member) => valueAt(member, "hash", t));
  for (const [track, title, words] of shownTracks) {
    const values = members.map((member) => valueAt(member, track, t));
    if (
      values.every(
        (value) =>
          value === undefined ||
          (value === 0 &&
            ["disk-errors", "sectors-lost", "sectors-torn", "clock-rate", "wall-offset", "purged", "snapshot"].includes(
              track,
            )),
      )
    )
      continue;
    rows.push(
      make(
        "tr",
        {},
        make("th", { scope: "row" }, title),
        ...values.map((value, i) => {
          // Equal entries applied and another hash: the states have come apart.
          const wrong =
            track === "hash" && hashes.some((other, k) => k !== i && applied[k] === applied[i] && other !== value);
          const text = value === undefined ? "–" : track === "hash" ? hex(value).slice(0, 8) : words(value);
          return make("td", { class: wrong ? "mono wrong" : "mono" }, wrong ? `≠ ${text}` : text);
        }),
      ),
    );
  }
  rows.push(
    make(
      "tr",
      {},
      make("th", { scope: "row" }, "clock"),
      ...members.map((member) => make("td", { class: "mono" }, duration(clockOffset(member, t)))),
    ),
  );
  const struck = faults.filter((fault) => fault.from <= t && t <= fault.until);
  return section(
    `Members at ${moment(t)}`,
    make(
      "table",
      { id: "members" },
      make(
        "thead",
        {},
        make("tr", {}, make("td"), ...members.map((member) => make("th", { scope: "col" }, member.name))),
      ),
      make("tbody", {}, ...rows),
    ),
    make(
      "p",
      { style: "margin-top:6px", class: struck.length > 0 ? undefined : "muted" },
      struck.length > 0 ? `Faults in force: ${struck.map(faultWords).join("; ")}` : "No fault in force.",
    ),
  );
}

function legend() {
  const swatch = (draw) => {
    const canvas = make("canvas", { width: 52, height: 28, "aria-hidden": "true" });
    const c = canvas.getContext("2d");
    c.scale(2, 2);
    draw(c);
    return canvas;
  };
  const bar = (name, outcome) =>
    swatch((c) => {
      c.lineWidth = 1.3;
      c.strokeStyle = colour[name];
      if (outcome === 0) return box(c, 0, 0, 26, 14, colour[name]);
      if (outcome === 2) hatched(c, "unknown", colour[name], 0, 0, 26, 14);
      c.strokeRect(0.6, 0.6, 24.8, 12.8);
    });
  const items = [
    [bar("read", 0), "read"],
    [bar("write", 0), "write, transaction"],
    [bar("lease", 0), "lease"],
    [bar("admin", 0), "compaction, other"],
    [bar("write", 2), "? unknown outcome"],
    [bar("write", 1), "✕ refused"],
    ...[...new Set(faults.map((fault) => fault.family))].map((family) => [
      swatch((c) => {
        box(c, 0, 0, 26, 14, colour["fault-bg"]);
        hatched(c, family, colour.fault, 0, 0, 26, 14);
      }),
      `${signs[family] ?? ""} ${family}`,
    ]),
  ];
  return section(
    "Legend",
    make("div", { class: "legend" }, ...items.flatMap(([sample, text]) => [sample, make("span", {}, text)])),
    make(
      "p",
      { class: "muted", style: "margin-top:6px;font-size:12.5px" },
      "A member's lane, from above: its role; how far it is behind the newest log entry of the cluster (filled: applied, dashes: committed, dots: last in its log); bytes written to disk; how far its monotonic clock is off. ",
      make("span", { class: "mono" }, "@84"),
      " is revision 84.",
    ),
  );
}

function drawPanel() {
  // Where no operation tells the story, what came before does.
  const story = pins[selection.pin] ? storyOf(pins[selection.pin]).length : 1;
  const parts = [
    violationSection(),
    story === 0 && beforeSection(),
    stepSection(),
    differenceSection(),
    membersSection(),
    story > 0 && beforeSection(),
    section("Again", make("div", { class: "commands" }, ...run.commands.map(commandLine))),
    legend(),
  ];
  const top = panel.scrollTop;
  panel.replaceChildren(...parts.filter(Boolean));
  panel.scrollTop = top;
}
