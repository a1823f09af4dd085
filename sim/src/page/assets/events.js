// The steps of the run: everything that happened, in order of time; what the keys walk through.
const INVOKE = 0,
  RETURN = 1,
  RESPONSE = 2,
  FAULT = 3,
  FAULT_END = 4,
  MEMBER = 5,
  INCIDENT = 6,
  PIN = 7;

const responses = { watch: [], nth: [] };
watches.forEach((watch, place) =>
  watch.at.forEach((_, nth) => {
    responses.watch.push(place);
    responses.nth.push(nth);
  }),
);
const memberSteps = members.flatMap((member) => member.stretches.slice(1).map((stretch) => ({ member, stretch })));
const incidentSteps = members.flatMap((member) => member.incidents.map((incident) => ({ member, incident })));

const steps = (() => {
  const size =
    2 * ops.count +
    responses.watch.length +
    2 * faults.length +
    memberSteps.length +
    incidentSteps.length +
    pins.length;
  const at = new Float64Array(size),
    kind = new Uint8Array(size),
    ref = new Uint32Array(size);
  let n = 0;
  const add = (t, k, r) => {
    at[n] = t;
    kind[n] = k;
    ref[n] = r;
    n++;
  };
  for (let i = 0; i < ops.count; i++) {
    add(ops.at[i], INVOKE, i);
    add(ops.until[i], RETURN, i);
  }
  responses.watch.forEach((watch, i) => add(watches[watch].at[responses.nth[i]], RESPONSE, i));
  faults.forEach((fault, i) => {
    add(fault.from, FAULT, i);
    if (fault.until > fault.from) add(fault.until, FAULT_END, i);
  });
  memberSteps.forEach((step, i) => add(step.stretch.at, MEMBER, i));
  incidentSteps.forEach((step, i) => add(step.incident.at, INCIDENT, i));
  pins.forEach((pin, i) => add(pin.at, PIN, i));
  // A pin comes after what it is about.
  const order = new Uint32Array(n)
    .map((_, i) => i)
    .sort((a, b) => at[a] - at[b] || kind[a] - kind[b] || ref[a] - ref[b]);
  return {
    at: Float64Array.from(order, (i) => at[i]),
    kind: Uint8Array.from(order, (i) => kind[i]),
    ref: Uint32Array.from(order, (i) => ref[i]),
    count: n,
  };
})();

function passes(step) {
  if (!filter.active) return true;
  switch (steps.kind[step]) {
    case INVOKE:
    case RETURN:
      return filter.ops[steps.ref[step]] === 1;
    case RESPONSE:
      return filter.watches[responses.watch[steps.ref[step]]] === 1;
    default:
      return true;
  }
}
/** The nearest step after (or before) this one that `wanted` accepts; -1 when there is none. */
function seek(from, direction, wanted = passes) {
  for (let i = from + direction; i >= 0 && i < steps.count; i += direction) if (wanted(i)) return i;
  return -1;
}
const isLandmark = (step) => steps.kind[step] === PIN || steps.kind[step] === FAULT;
function stepOf(kind, ref) {
  for (let i = 0; i < steps.count; i++) if (steps.kind[i] === kind && steps.ref[i] === ref) return i;
  return -1;
}

/** A stretch of a member's life in words. */
function lifeWords(stretch) {
  if (stretch.phase === 0) return "down";
  if (stretch.phase === 1) return stretch.paused ? "starting, stands still" : "starting";
  const role =
    stretch.role === 1
      ? `leads term ${stretch.term}`
      : stretch.leader
        ? `follows ${memberName(stretch.leader - 1)} in term ${stretch.term}`
        : stretch.term === undefined
          ? "up"
          : `no leader in term ${stretch.term}`;
  return (stretch.role === 2 ? "learner, " : "") + role + (stretch.paused ? ", stands still" : "");
}
const revisionWords = (revision) => (revision ? ` → rev ${revision}` : "");
/** A step in a line. */
function stepWords(step) {
  const ref = steps.ref[step];
  switch (steps.kind[step]) {
    case INVOKE:
      return `${run.clients[ops.client[ref]]} asks ${memberName(ops.member[ref])}: ${run.texts[ops.request[ref]]}`;
    case RETURN:
      return `${run.clients[ops.client[ref]]} ${["has its answer", "is refused", "gives up"][ops.outcome[ref]]}: ${run.texts[ops.request[ref]]}${revisionWords(ops.revision[ref])}`;
    case RESPONSE: {
      const watch = watches[responses.watch[ref]];
      return `w${watch.id} on ${memberName(watch.member)} receives: ${run.texts[watch.text[responses.nth[ref]]]}`;
    }
    case FAULT:
      return `fault begins: ${faultWords(faults[ref])}`;
    case FAULT_END:
      return `fault ends: ${faultWords(faults[ref])}`;
    case MEMBER:
      return `${memberSteps[ref].member.name} ${lifeWords(memberSteps[ref].stretch)}`;
    case INCIDENT:
      return `${incidentSteps[ref].member.name}: ${incidentSteps[ref].incident.text}`;
    default:
      return `violation: ${pins[ref].sentence}`;
  }
}
function faultWords(fault) {
  const who = fault.member === null ? "" : ` ${memberName(fault.member)}`;
  return `${fault.kind}${who}: ${fault.what}`;
}
