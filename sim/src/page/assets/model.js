// The run's tables, out of the compact form that data.rs writes: times from differences, columns into typed arrays.
const run = JSON.parse(document.getElementById("data").textContent);

function times(differences) {
  const out = new Float64Array(differences.length);
  let at = 0;
  for (let i = 0; i < out.length; i++) out[i] = at += differences[i];
  return out;
}

const ops = (() => {
  const table = run.operations;
  const at = times(table.at);
  const until = Float64Array.from(at, (from, i) => from + table.took[i]);
  return { ...table, at, until, count: at.length };
})();

const watches = run.watches.map((watch) => ({ ...watch, at: times(watch.at) }));
const faults = run.faults.map((fault) => ({
  ...fault,
  family: fault.kind.split("/")[0],
  until: fault.until ?? run.healed ?? run.end,
}));
const members = run.members.map((member, place) => {
  const tracks = {};
  for (const [name, [at, value]] of Object.entries(member.tracks)) tracks[name] = { at: times(at), value };
  return { name: member.name, place, tracks };
});
const pins = run.pins;

/** The number of items of a sorted array that are not after `t`. */
function notAfter(sorted, t) {
  let low = 0,
    high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What a track of a member showed at a moment; undefined before its first point. */
function valueAt(member, track, t) {
  const points = member.tracks[track];
  if (!points) return undefined;
  const known = notAfter(points.at, t);
  return known === 0 ? undefined : points.value[known - 1];
}

/** How far a member's monotonic clock is ahead at a moment, nanoseconds: it drifts between two points. */
function clockOffset(member, t) {
  const points = member.tracks["clock-offset"];
  if (!points) return 0;
  const known = notAfter(points.at, t);
  if (known === 0) return 0;
  const rate = valueAt(member, "clock-rate", t) ?? 0;
  return points.value[known - 1] + ((t - points.at[known - 1]) * rate) / 1e6;
}

/** Stretches of a member's life in which phase, role, term and leader stay the same. */
function stretches(member) {
  const tracks = ["phase", "paused", "role", "term", "leader"].map((name) => member.tracks[name]).filter(Boolean);
  const moments = [...new Set(tracks.flatMap((track) => [...track.at]))].sort((a, b) => a - b);
  const out = [];
  for (const at of moments) {
    const phase = valueAt(member, "phase", at) ?? 0;
    const up = phase === 2;
    const next = {
      at,
      phase,
      paused: phase !== 0 && valueAt(member, "paused", at) === 1,
      role: up ? valueAt(member, "role", at) : undefined,
      term: up ? valueAt(member, "term", at) : undefined,
      leader: up ? valueAt(member, "leader", at) : undefined,
    };
    const last = out[out.length - 1];
    const same = last && ["phase", "paused", "role", "term", "leader"].every((name) => last[name] === next[name]);
    if (!same) out.push(next);
  }
  out.forEach((stretch, i) => {
    stretch.until = i + 1 < out.length ? out[i + 1].at : run.end;
  });
  return out;
}

/** Moments at which something happened to what a member has stored: damage, errors, a log that got shorter. */
function incidents(member) {
  const out = [];
  const grow = (name, word, sign) => {
    const track = member.tracks[name];
    for (let i = 1; track && i < track.at.length; i++) {
      const by = track.value[i] - track.value[i - 1];
      if (by > 0) out.push({ at: track.at[i], sign, text: word(by) });
    }
  };
  const many = (n, one, more) => `${n} ${n === 1 ? one : more}`;
  grow("disk-errors", (n) => many(n, "disk call failed", "disk calls failed"), "✕");
  grow("disk-stalls", (n) => many(n, "disk call stood still", "disk calls stood still"), "‖");
  grow("power-losses", () => "power lost", "⚡");
  grow("sectors-lost", (n) => many(n, "unsynced sector lost", "unsynced sectors lost"), "⚡");
  grow("sectors-torn", (n) => many(n, "sector torn", "sectors torn"), "⚡");
  const last = member.tracks["last"];
  for (let i = 1; last && i < last.at.length; i++) {
    const by = last.value[i - 1] - last.value[i];
    if (by > 0)
      out.push({
        at: last.at[i],
        sign: "▼",
        text: `log shorter by ${by}: ${last.value[i - 1]} → ${last.value[i]}`,
        log: true,
      });
  }
  out.sort((a, b) => a.at - b.at);
  // What one look shows belongs together.
  const merged = [];
  for (const incident of out) {
    const before = merged[merged.length - 1];
    if (before && before.at === incident.at && !before.log === !incident.log) before.text += ", " + incident.text;
    else merged.push({ ...incident });
  }
  return merged;
}

for (const member of members) {
  member.stretches = stretches(member);
  member.incidents = incidents(member);
}

const count = (n) => n.toLocaleString("en-US").replaceAll(",", " ");
/** A moment in seconds, with as many digits as `span` nanoseconds of view need. */
function moment(t, span = 1e6) {
  const digits = span > 2e10 ? 1 : span > 2e9 ? 2 : span > 1e8 ? 3 : span > 1e7 ? 4 : 6;
  return (t / 1e9).toFixed(digits) + " s";
}
function duration(ns) {
  const size = Math.abs(ns);
  if (size >= 1e9) return (ns / 1e9).toFixed(2) + " s";
  if (size >= 1e6) return (ns / 1e6).toFixed(size >= 1e8 ? 0 : 1) + " ms";
  return (ns / 1e3).toFixed(0) + " µs";
}
function bytes(n) {
  return n >= 1 << 20 ? (n / (1 << 20)).toFixed(1) + " MiB" : n >= 1024 ? (n / 1024).toFixed(0) + " KiB" : n + " B";
}
const outcomes = ["answered", "refused", "unknown"];
const memberName = (place) => members[place]?.name ?? `m${place + 1}`;
const category = (kind) =>
  ({ read: "read", put: "write", delete: "write", transaction: "write" })[kind] ??
  (kind.includes("lease") || kind === "keep-alive" || kind === "time-to-live" ? "lease" : "admin");
const opCategory = Uint8Array.from(ops.kind, (place, i) => {
  const kind = run.texts[place];
  if (kind === "transaction") return ops.changes[i] ? 1 : 0;
  return ["read", "write", "lease", "admin"].indexOf(category(kind));
});
