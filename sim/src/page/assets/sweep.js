// The sweep page: figures into tables, seeds into a plot, failures into groups with the command that shows each.
const sweep = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const count = (n) => Math.round(n).toLocaleString("en-US").replaceAll(",", " ");

function make(tag, attributes = {}, ...children) {
  const drawn = ["svg", "line", "text", "circle", "path", "title", "g"].includes(tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}
function commandLine(text) {
  const copy = make(
    "button",
    {
      "aria-label": `Copy: ${text}`,
      click: () =>
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
const showing = (seed) =>
  `cargo sim page --seed ${seed}${sweep.mutant ? ` --mutant ${sweep.mutant}` : ""} --out seed-${seed}.html`;

function head() {
  const failed = sweep.seeds.filter((seed) => seed.class !== "pass").length;
  get("class").textContent = `${sweep.class === "pass" ? "✔" : "✖"} ${sweep.class}`;
  get("class").classList.add(sweep.class);
  get("headline").textContent =
    failed === 0
      ? `${count(sweep.seeds.length)} seeds, none failed`
      : `${count(failed)} of ${count(sweep.seeds.length)} seeds failed, in ${count(sweep.groups.length)} ${sweep.groups.length === 1 ? "way" : "ways"}`;
  const hours = sweep.totals.simulated_ms / 3.6e6,
    wall = sweep.wall_ms / 1000;
  const facts = [
    ["seeds ", `${sweep.first}..${sweep.end}`],
    sweep.mutant && ["planted bug ", sweep.mutant],
    ["", hours >= 1 ? `${hours.toFixed(1)} h` : `${(hours * 60).toFixed(1)} min`, " simulated"],
    [
      "in ",
      wall >= 120 ? `${(wall / 60).toFixed(1)} min` : `${wall.toFixed(0)} s`,
      ` (${(sweep.totals.simulated_ms / Math.max(1, sweep.wall_ms)).toFixed(1)} s a second)`,
    ],
    ["", count(sweep.totals.operations), " operations"],
    ["", count(sweep.totals.faults), " faults"],
    ["", count(sweep.totals.crashes), " ends of processes"],
    ["", count(sweep.totals.leader_changes), " leader changes"],
    ["", count(sweep.totals.messages), " messages"],
    ["", count(sweep.doubled), " run twice for determinism"],
  ].filter(Boolean);
  get("facts").append(
    ...facts.flatMap(([before, value, after], i) => [
      `${i > 0 ? " · " : ""}${before}`,
      make("b", {}, value),
      after ?? "",
    ]),
  );
}

function failures() {
  if (sweep.groups.length === 0) return [make("p", { class: "enough" }, "✔ No seed failed.")];
  return sweep.groups.map((group) =>
    make(
      "div",
      { class: "group" },
      make(
        "div",
        { class: "top" },
        make("span", { class: `badge ${group.class}` }, `✖ ${group.class}`),
        make("span", { class: "sentence" }, group.sentence),
        make("span", { class: "count" }, `${count(group.count)} ${group.count === 1 ? "seed" : "seeds"}`),
      ),
      make(
        "div",
        { class: "seeds" },
        `seeds ${group.seeds.join(", ")}${group.count > group.seeds.length ? ` and ${count(group.count - group.seeds.length)} more` : ""}`,
      ),
      group.count > 1 && make("div", { class: "signature" }, `alike: ${group.signature}`),
      commandLine(group.command),
    ),
  );
}

const fields = {
  wall_ms: ["host time, ms", (n) => `${count(n)} ms`],
  operations: ["operations", count],
  faults: ["faults", count],
};
let field = "wall_ms",
  chosen = -1;
function plot() {
  const width = 1200,
    height = 250,
    left = 62,
    bottom = 26,
    top = 14,
    seeds = sweep.seeds;
  const most = Math.max(1, ...seeds.map((seed) => seed[field])) * 1.06;
  const x = (i) => left + ((i + 0.5) / Math.max(1, seeds.length)) * (width - left - 14),
    y = (value) => top + (1 - value / most) * (height - top - bottom);
  const power = 10 ** Math.floor(Math.log10(most / 4)),
    step = [1, 2, 5, 10].map((n) => n * power).find((n) => most / n <= 5);
  const svg = make("svg", {
    viewBox: `0 0 ${width} ${height}`,
    role: "listbox",
    tabindex: 0,
    "aria-label": `${fields[field][0]} of each seed; arrow keys choose a seed`,
  });
  for (let value = 0; value <= most; value += step) {
    svg.append(
      make("line", { class: "grid", x1: left, x2: width - 10, y1: y(value), y2: y(value) }),
      make("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, count(value)),
    );
  }
  const sorted = seeds.map((seed) => seed[field]).sort((a, b) => a - b),
    median = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  svg.append(make("line", { class: "median", x1: left, x2: width - 10, y1: y(median), y2: y(median) }));
  legend(`${fields[field][0]}; median ${fields[field][1](median)} (dashed)`);
  const every = Math.max(1, Math.ceil(seeds.length / 12));
  const size = seeds.length > 400 ? 2.2 : seeds.length > 100 ? 3.2 : 4.5;
  seeds.forEach((seed, i) => {
    if (i % every === 0) svg.append(make("text", { x: x(i), y: height - 8, "text-anchor": "middle" }, seed.seed));
    const px = x(i),
      py = y(seed[field]),
      say = `seed ${seed.seed}: ${seed.class}, ${fields[field][1](seed[field])}`;
    const options = {
      role: "option",
      "aria-label": say,
      "aria-selected": i === chosen,
      "data-seed": seed.seed,
      click: () => choose(i),
    };
    const chosenClass = i === chosen ? " chosen" : "",
      d = size + 2;
    svg.append(
      seed.class === "pass"
        ? make("circle", { ...options, class: `pass${chosenClass}`, cx: px, cy: py, r: size }, make("title", {}, say))
        : make(
            "path",
            {
              ...options,
              class: `fail${chosenClass}`,
              d: `M${px - d} ${py - d}L${px + d} ${py + d}M${px - d} ${py + d}L${px + d} ${py - d}`,
            },
            make("title", {}, say),
          ),
    );
  });
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(seeds.length - 1, chosen + by)));
    get("plot").firstChild.focus();
  });
  get("plot").replaceChildren(svg);
}
function legend(what) {
  const failed = Object.entries(sweep.classes)
    .filter(([name]) => name !== "pass")
    .map(([name, n]) => `✕ ${name} ${count(n)}`);
  get("keys").textContent = [`● pass ${count(sweep.classes.pass ?? 0)}`, ...failed, what].join(" · ");
}
function choose(i) {
  chosen = i;
  const seed = sweep.seeds[i];
  get("seed").replaceChildren(
    make(
      "div",
      {},
      make("b", {}, `seed ${seed.seed}`),
      `: ${seed.class}, ${count(seed.operations)} operations, ${seed.faults} faults, ${(seed.simulated_ms / 1000).toFixed(1)} s simulated in ${count(seed.wall_ms)} ms. ${seed.headline ?? ""}`,
    ),
    commandLine(showing(seed.seed)),
  );
  plot();
}

function medians() {
  return make(
    "table",
    {},
    make(
      "thead",
      {},
      make("tr", {}, ...["", "median", "due", ""].map((name) => make("th", { scope: "col", class: "figure" }, name))),
    ),
    make(
      "tbody",
      {},
      ...sweep.medians.map(({ name, median, due }) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, name),
          make("td", { class: "figure" }, count(median)),
          make("td", { class: "figure muted" }, count(due)),
          make("td", { class: median < due ? "short" : "enough" }, median < due ? "✖ too few" : "✔"),
        ),
      ),
    ),
  );
}
function counted(entries, kind, scale = (n) => n) {
  const most = scale(Math.max(1, ...entries.map(([, n]) => n)));
  return make(
    "table",
    {},
    make(
      "tbody",
      {},
      ...entries.map(([name, n]) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, name),
          make("td", { class: "figure" }, count(n)),
          make(
            "td",
            { style: "width:34%", "aria-hidden": "true" },
            make("div", { class: `bar ${kind}`, style: `width:${(scale(n) / most) * 100}%` }),
          ),
        ),
      ),
    ),
  );
}
function marks() {
  const all = Object.entries(sweep.marks),
    never = all.filter(([, n]) => n === 0),
    reached = all.filter(([, n]) => n > 0).sort((a, b) => a[1] - b[1]);
  const summary = make(
    "p",
    { style: "margin-bottom:6px" },
    `${reached.length} of ${all.length} reached, the rarest first (bars are logarithmic)`,
  );
  return [
    never.length > 0 &&
      make(
        "div",
        { class: "never" },
        `Never reached: ${never.length}`,
        make("ul", {}, ...never.map(([name]) => make("li", {}, name))),
      ),
    summary,
    counted(reached, "mark", (n) => Math.log2(n + 1)),
  ].filter(Boolean);
}

head();
get("failures").append(...failures());
get("medians").append(medians());
get("faults").append(
  counted(
    Object.entries(sweep.faults).sort((a, b) => b[1] - a[1]),
    "fault",
  ),
);
get("marks").append(...marks());
for (const button of document.querySelectorAll("[data-field]")) {
  button.addEventListener("click", () => {
    field = button.dataset.field;
    for (const other of document.querySelectorAll("[data-field]")) other.setAttribute("aria-pressed", other === button);
    plot();
  });
}
plot();
