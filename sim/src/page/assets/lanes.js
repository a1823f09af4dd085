// The lanes: which there are, in which order, how high; and what lies under a point of the chart.
const GUTTER = 206,
  RULER = 46,
  FAULT_ROW = 18,
  CLIENT_ROW = 19,
  WATCH_ROW = 15;
const ROLE = 20,
  LOG = 26,
  DISK = 14,
  CLOCK = 13,
  MEMBER_HEIGHT = ROLE + LOG + DISK + CLOCK + 15;
const CLIENT_ROWS_MAX = 6;

/** Puts spans, in order of their starts, into as few rows as keep them apart. */
function packed(count, from, until, most) {
  const rows = new Uint8Array(count),
    free = [];
  for (let i = 0; i < count; i++) {
    let row = free.findIndex((end) => end <= from(i));
    if (row < 0) row = free.length < most ? free.length : most - 1;
    free[row] = Math.max(free[row] ?? 0, until(i));
    rows[i] = row;
  }
  return { rows, height: Math.max(1, free.length) };
}
/** For each place, the latest end so far: what lets a window find where to begin. */
function reaches(count, until) {
  const reach = new Float64Array(count);
  let latest = 0;
  for (let i = 0; i < count; i++) reach[i] = latest = Math.max(latest, until(i));
  return reach;
}
/** The first place whose reach is not before `t`. */
function firstReaching(reach, t) {
  let low = 0,
    high = reach.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reach[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

const clientLanes = (() => {
  const lists = run.clients.map(() => []);
  for (let i = 0; i < ops.count; i++) lists[ops.client[i]].push(i);
  return lists
    .map((list, client) => {
      const { rows, height } = packed(
        list.length,
        (i) => ops.at[list[i]],
        (i) => ops.until[list[i]],
        CLIENT_ROWS_MAX,
      );
      return {
        type: "client",
        client,
        title: run.clients[client],
        list: Uint32Array.from(list),
        rows,
        reach: reaches(list.length, (i) => ops.until[list[i]]),
        height: height * CLIENT_ROW + 7,
      };
    })
    .filter((lane) => lane.list.length > 0);
})();
const watchLanes = (() => {
  const lists = new Map();
  watches.forEach((watch, i) => lists.set(watch.client, [...(lists.get(watch.client) ?? []), i]));
  return [...lists]
    .sort((a, b) => a[0] - b[0])
    .map(([client, list]) => {
      list.sort((a, b) => watches[a].from - watches[b].from);
      const { rows, height } = packed(
        list.length,
        (i) => watches[list[i]].from,
        (i) => watches[list[i]].until,
        4,
      );
      return { type: "watch", client, title: run.clients[client], list, rows, height: height * WATCH_ROW + 6 };
    });
})();
const faultLane = (() => {
  const { rows, height } = packed(
    faults.length,
    (i) => faults[i].from,
    (i) => faults[i].until,
    9,
  );
  return { type: "faults", title: "Faults", rows, height: height * FAULT_ROW + 8 };
})();
const memberLanes = members.map((member) => ({ type: "member", member, title: member.name, height: MEMBER_HEIGHT }));
const heading = (title) => ({ type: "heading", title, height: 24 });

let lanes = [],
  lanesHeight = 0;
/** Puts the lanes in order: faults, members, the clients and watchers of the violation, all others. */
function layout(pin) {
  const involved = new Set();
  if (pin) for (const item of storyOf(pin)) if (item.client !== undefined) involved.add(item.client);
  const shown = (lane) =>
    !filter.active ||
    (lane.type === "client" ? lane.list.some((i) => filter.ops[i]) : lane.list.some((i) => filter.watches[i]));
  const own = [...clientLanes, ...watchLanes].filter((lane) => involved.has(lane.client));
  const clients = clientLanes.filter((lane) => !involved.has(lane.client) && shown(lane));
  const watchers = watchLanes.filter((lane) => !involved.has(lane.client) && shown(lane));
  const group = (title, list) => (list.length > 0 ? [heading(title), ...list] : []);
  lanes = [
    ...(faults.length > 0 ? [faultLane] : []),
    ...memberLanes,
    ...group("In this violation", own),
    ...group(own.length > 0 ? "Other clients" : "Clients", clients),
    ...group(own.some((lane) => lane.type === "watch") ? "Other watchers" : "Watchers", watchers),
  ];
  for (const lane of lanes) lane.involved = own.includes(lane);
  let y = 0;
  for (const lane of lanes) {
    lane.y = y;
    y += lane.height;
  }
  lanesHeight = y + 12;
}

/** What a violation is made of, by time: every operation and watch response that it names, and the writes of the revisions that its sentence speaks of. */
const stories = new Map();
function storyOf(pin) {
  if (stories.has(pin)) return stories.get(pin);
  const items = [];
  const answerItem = (i, text) =>
    items.push({ at: ops.until[i], step: stepOf(RETURN, i), op: i, client: ops.client[i], end: true, text });
  const opItems = (i) => {
    items.push({
      at: ops.at[i],
      step: stepOf(INVOKE, i),
      op: i,
      client: ops.client[i],
      text: `${run.clients[ops.client[i]]} asks ${memberName(ops.member[i])}: ${run.texts[ops.request[i]]}`,
    });
    answerItem(
      i,
      `${run.clients[ops.client[i]]} is ${outcomes[ops.outcome[i]] === "unknown" ? "left without an answer" : outcomes[ops.outcome[i]]}${ops.revision[i] ? ` at rev ${ops.revision[i]}` : ""}: ${run.texts[ops.answer[i]]}`,
    );
  };
  for (const i of pin.operations) opItems(i);
  for (const [place, nth] of pin.watches) {
    const watch = watches[place];
    if (nth === null) {
      items.push({
        at: watch.from,
        step: -1,
        watch: place,
        client: watch.client,
        text: `w${watch.id} on ${memberName(watch.member)}: ${run.texts[watch.request]}`,
      });
      continue;
    }
    for (const n of pin.operations.length > 0 ? [nth] : [nth - 1, nth]) {
      if (n < 0) continue;
      const ref = responses.watch.findIndex((at, i) => at === place && responses.nth[i] === n);
      items.push({
        at: watch.at[n],
        step: stepOf(RESPONSE, ref),
        watch: place,
        client: watch.client,
        text: `w${watch.id} on ${memberName(watch.member)} receives rev ${watch.revision[n]}: ${run.texts[watch.text[n]]}`,
      });
    }
  }
  const spoken = [...pin.sentence.matchAll(/revision (\d+)/g)].map((found) => Number(found[1]));
  for (const revision of new Set(spoken)) {
    for (let i = 0; i < ops.count; i++) {
      if (ops.changes[i] !== 2 || ops.revision[i] !== revision || pin.operations.includes(i)) continue;
      answerItem(i, `${run.clients[ops.client[i]]}'s ${run.texts[ops.request[i]]} is acknowledged as rev ${revision}`);
      break;
    }
  }
  items.sort((a, b) => a.at - b.at || a.step - b.step);
  items.forEach((item, i) => {
    item.number = i + 1;
  });
  stories.set(pin, items);
  return items;
}

/** The last faults, incidents and changes of members before what is chosen. */
function cameBefore(most) {
  const found = [];
  const first = selection.step >= 0 ? selection.step - 1 : notAfter(steps.at, selection.t) - 1;
  for (let i = first; i >= 0 && found.length < most; i--) {
    if ([FAULT, FAULT_END, MEMBER, INCIDENT].includes(steps.kind[i])) found.push(i);
  }
  return found.reverse();
}

const laneAt = (y) => lanes.find((lane) => y >= lane.y && y < lane.y + lane.height);
/** The step under a point of the chart, and what there is to say of it; undefined where nothing is. */
function hit(x, y) {
  if (x < GUTTER) return undefined;
  const near = ((view.to - view.from) / chartWidth()) * 4;
  const t = timeAt(x);
  if (y < RULER) {
    const pin = pins.findIndex((pin) => Math.abs(pin.at - t) < near * 2);
    return pin < 0 ? undefined : { kind: PIN, ref: pin, text: pins[pin].sentence };
  }
  const inside = y - RULER + view.scroll;
  const lane = laneAt(inside);
  if (!lane) return undefined;
  const row = (height, pad) => Math.floor((inside - lane.y - pad) / height);
  const better = (best, gap, made) => (gap <= near && (!best || gap < best.gap) ? { ...made(), gap } : best);
  const distance = (from, until) => (t < from ? from - t : t > until ? t - until : 0);
  let best;
  if (lane.type === "client") {
    for (let k = firstReaching(lane.reach, t - near); k < lane.list.length && ops.at[lane.list[k]] <= t + near; k++) {
      const i = lane.list[k];
      if (lane.rows[k] !== row(CLIENT_ROW, 3)) continue;
      best = better(best, distance(ops.at[i], ops.until[i]), () => ({
        kind: Math.abs(t - ops.at[i]) < Math.abs(t - ops.until[i]) ? INVOKE : RETURN,
        ref: i,
        text: `#${ops.id[i]} ${run.clients[ops.client[i]]} → ${memberName(ops.member[i])}: ${run.texts[ops.request[i]]}\n${outcomes[ops.outcome[i]]}${revisionWords(ops.revision[i])}: ${run.texts[ops.answer[i]]}`,
      }));
    }
  } else if (lane.type === "faults") {
    faults.forEach((fault, i) => {
      if (faultLane.rows[i] === row(FAULT_ROW, 4))
        best = better(best, distance(fault.from, fault.until), () => ({
          kind: FAULT,
          ref: i,
          text: faultWords(fault),
        }));
    });
  } else if (lane.type === "watch") {
    lane.list.forEach((place, k) => {
      const watch = watches[place];
      if (lane.rows[k] !== row(WATCH_ROW, 3) || distance(watch.from, watch.until) > near) return;
      const after = notAfter(watch.at, t);
      for (const n of [after - 1, after]) {
        if (n >= 0 && n < watch.at.length)
          best = better(best, Math.abs(watch.at[n] - t), () => ({
            kind: RESPONSE,
            watch: place,
            nth: n,
            text: `w${watch.id} on ${memberName(watch.member)}, rev ${watch.revision[n]}\n${run.texts[watch.text[n]]}`,
          }));
      }
    });
  } else if (lane.type === "member") {
    incidentSteps.forEach((step, i) => {
      if (step.member === lane.member)
        best = better(best, Math.abs(step.incident.at - t), () => ({
          kind: INCIDENT,
          ref: i,
          text: step.incident.text,
        }));
    });
    memberSteps.forEach((step, i) => {
      if (step.member === lane.member)
        best = better(best, Math.abs(step.stretch.at - t), () => ({
          kind: MEMBER,
          ref: i,
          text: lifeWords(step.stretch),
        }));
    });
    if (!best) {
      const stretch =
        lane.member.stretches[
          notAfter(
            lane.member.stretches.map((stretch) => stretch.at),
            t,
          ) - 1
        ];
      if (stretch) best = { kind: -1, text: `${lane.title} ${lifeWords(stretch)}` };
    }
  }
  return best;
}
