// Which operations and watches the filter lets through. A text is looked at once, however many operations share it.
const filter = {
  text: "",
  active: false,
  ops: new Uint8Array(ops.count).fill(1),
  watches: new Uint8Array(watches.length).fill(1),
  matches: ops.count,
};

function coversKey(set, key) {
  return set.some(([first, end]) => {
    if (end === "") return first === key;
    return (first <= key && (end === "\\x00" || key < end)) || (first === "\\x00" && end === "\\x00");
  });
}

/** What one word of the filter asks of an operation, and of a watch. */
function term(word) {
  const colon = word.indexOf(":");
  const [name, value] = colon > 0 ? [word.slice(0, colon), word.slice(colon + 1)] : ["", word];
  const always = () => true,
    never = () => false;
  switch (value === "" ? "unfinished" : name) {
    case "unfinished":
      return { op: always, watch: always };
    case "key": {
      const covered = run.key_sets.map((set) => coversKey(set, value));
      const named = run.texts.map((text) => text.includes(value));
      return { op: (i) => covered[ops.keys[i]], watch: (w) => named[w.request] || w.text.some((text) => named[text]) };
    }
    case "client": {
      const at = run.clients.indexOf(value);
      return { op: (i) => ops.client[i] === at, watch: (w) => w.client === at };
    }
    case "member": {
      const at = members.findIndex((member) => member.name === value);
      return { op: (i) => ops.member[i] === at, watch: (w) => w.member === at };
    }
    case "rev": {
      const [low, high] = value.split("-").map(Number);
      const top = value.includes("-") ? high || Infinity : low;
      const inside = (revision) => revision >= low && revision <= top;
      return { op: (i) => inside(ops.revision[i]), watch: (w) => w.revision.some(inside) };
    }
    case "is": {
      const outcome = { ok: 0, answered: 0, refused: 1, failed: 1, unknown: 2 }[value];
      if (outcome !== undefined) return { op: (i) => ops.outcome[i] === outcome, watch: never };
      const kind = categories.indexOf(value);
      return { op: (i) => opCategory[i] === kind, watch: value === "watch" ? always : never };
    }
    default: {
      const wanted = word.toLowerCase();
      const texts = run.texts.map((text) => text.toLowerCase().includes(wanted));
      const clients = run.clients.map((text) => text.includes(wanted));
      const named = members.map((member) => member.name === wanted);
      return {
        op: (i) =>
          texts[ops.request[i]] ||
          texts[ops.answer[i]] ||
          texts[ops.kind[i]] ||
          clients[ops.client[i]] ||
          named[ops.member[i]] ||
          `#${ops.id[i]}`.includes(wanted),
        watch: (w) =>
          texts[w.request] ||
          clients[w.client] ||
          named[w.member] ||
          `w${w.id}`.includes(wanted) ||
          w.text.some((text) => texts[text]),
      };
    }
  }
}

function applyFilter(text) {
  const terms = text.trim().split(/\s+/).filter(Boolean).map(term);
  filter.text = text;
  filter.active = terms.length > 0;
  filter.matches = 0;
  for (let i = 0; i < ops.count; i++) {
    filter.ops[i] = terms.every((term) => term.op(i)) ? 1 : 0;
    filter.matches += filter.ops[i];
  }
  watches.forEach((watch, i) => {
    filter.watches[i] = terms.every((term) => term.watch(watch)) ? 1 : 0;
  });
}
