(() => {
"use strict";
// What the fragment in the element `host` does; it knows nothing of the page around that.
function start(host) {
  // HTML that a script has put into a page still has the template, of which a parser would have made the root.
  const template = host.querySelector(":scope > template");
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  if (template) root.append(template.content);
  const $ = (id) => root.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const page = root.querySelector(".page");
  const standalone = page.matches(".standalone"); // nothing else on the page needs keys
  const active = () => root.activeElement ?? page;

  // A page has a view for each heatmap, all of the same tokens; what is shown of one is shown of all.
  const views = [...root.querySelectorAll(".view")].map((root, index) => ({
    ...data.views[index],
    root,
    part: (name) => root.querySelector(`.${name}`),
    sources: [...root.querySelectorAll("[data-source]")],
    targets: [...root.querySelectorAll("[data-target]")],
    lines: [...root.querySelectorAll("[data-row]")],
    squares: [...root.querySelectorAll(".square")],
  }));

  // One target may be pinned, and one peeked at (pointer or keyboard). The peeked one is shown, else the pinned
  // one, else an aggregation of all.
  let pinned = null;
  let peeked = null;
  let aggregation = 0; // which view of all targets
  let drawn;
  let reading = null; // the source or square whose number is read out
  let outlined = []; // the sources of that square
  const panel = (view, index) => (index === null ? [view.overview, ...view.others][aggregation] : view.rows[index]);

  // The twin of `exact` in layout/numbers.py; the numbers have four digits already.
  function exact(value) {
    const size = Math.abs(value);
    const far = size && (size < 1e-4 || size >= 1e4);
    const [digits, power] = (far ? size.toExponential() : String(size)).split("e");
    const raised = [...(power ?? "").replace("+", "")].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]);
    return (value < 0 ? "−" : "") + digits + (power ? `×10${raised.join("")}` : "");
  }

  // Where shades are ranks, they are set beside those that are linear, which print uses (see the style sheet). Equal
  // sizes have equal ranks, and zero has none.
  function rank(elements, sizes) {
    const order = [...new Set(sizes)].filter(Boolean).sort((a, b) => a - b);
    const ranks = new Map(order.map((size, index) => [size, (index + 1) / order.length]));
    elements.forEach((element, index) => element.style.setProperty("--r", (ranks.get(sizes[index]) ?? 0).toFixed(3)));
  }

  function paint(view, { scores, limit }) {
    const shades = scores.map((value) => (limit ? Math.min(1, Math.abs(value) / limit) : 0));
    view.sources.forEach((element, source) => {
      const value = scores[source];
      const marks = { blank: value === null, negative: value < 0, clipped: Math.abs(value) > limit };
      for (const [mark, on] of Object.entries(marks)) element.classList.toggle(mark, on);
      // A long prompt has mostly scores near zero: what stays as it was costs nothing.
      const shade = shades[source].toFixed(3);
      if (element.style.getPropertyValue("--s") !== shade) element.style.setProperty("--s", shade);
    });
    if (page.dataset.shades === "rank") rank(view.sources, shades);
  }

  function shadeBy(name) {
    page.dataset.shades = name;
    for (const view of views) {
      paint(view, panel(view, drawn ?? null));
      if (name === "rank") rank(view.squares, view.squares.map(({ style }) => Number(style.getPropertyValue("--s"))));
    }
  }

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    element.className = className;
    element.append(...children);
    return element;
  }

  function line({ source, name, shade, number }, sources) {
    const position = make("small", "", source);
    const button = make("button", "name", make("bdi", "", name), " ", position);
    const bar = make("i", shade < 0 ? "negative" : "");
    bar.style.setProperty("--s", Math.abs(shade));
    const point = () => sources[source].classList.toggle("pointed", button.matches(":hover, :focus"));
    button.type = "button";
    button.title = `Find “${name}” in the text`;
    button.addEventListener("click", () => sources[source].scrollIntoView({ block: "center" }));
    for (const event of ["pointerenter", "pointerleave", "focus", "blur"]) button.addEventListener(event, point);
    return make("li", "", button, make("span", "length", bar), make("span", "number", number));
  }

  // What a view says of a row: its scale, its sink, its strongest sources.
  function describe(view, shown) {
    view.part("low").textContent = shown.low;
    view.part("high").textContent = shown.high;
    if (view.part("sink-note")) view.part("sink-note").textContent = shown.sink;
    view.part("top").replaceChildren(...shown.top.map((rank) => line(rank, view.sources)));
  }

  // What the page says of it: the sentence, and the legend of the marks that occur.
  function announce(panels) {
    for (const key of ["lead", "name", "detail"]) $(key).textContent = panels[0][key];
    if ($("considered")) $("considered").textContent = panels[0].considered;
    const kinds = panels.flatMap((shown) => shown.kinds);
    for (const item of $("marks").querySelectorAll("[data-kind]")) item.hidden = !kinds.includes(item.dataset.kind);
  }

  function show() {
    const index = peeked ?? pinned;
    for (const { targets, lines } of views) {
      targets.forEach((element, target) => {
        element.classList.toggle("shown-target", target === index);
        element.setAttribute("aria-pressed", String(target === pinned));
      });
      lines.forEach((element, target) => element.classList.toggle("shown-target", target === index));
    }
    for (const button of $("steps").querySelectorAll("[data-aggregation]"))
      button.setAttribute("aria-pressed", String(pinned === null && Number(button.dataset.aggregation) === aggregation));
    if (index === drawn) return;
    drawn = index;
    for (const view of views) {
      paint(view, panel(view, index));
      describe(view, panel(view, index));
    }
    announce(views.map((view) => panel(view, index)));
    read(reading);
  }

  function peek(target) {
    peeked = target;
    show();
  }

  function pin(target) {
    pinned = target;
    peek(null);
  }

  function aggregate(number) {
    aggregation = number;
    drawn = undefined;
    pin(null);
  }

  function reach(target) {
    for (const { targets } of views) targets.forEach((element, index) => (element.tabIndex = index === target ? 0 : -1));
  }

  // The exact number of a source of the text, or of a square, in each view; the source of a square is outlined, too.
  // In the text, numbers are of what lies underneath a peek: a generated token under the pointer shows its own sources,
  // and its own score is in the row of a later one.
  function read(element) {
    reading = element;
    const line = element?.closest("[data-row]");
    const home = views.find((view) => view.root.contains(element));
    const source = line ? home.columns[element.cellIndex - 1] : element?.dataset.source;
    for (const other of outlined) other.classList.remove("pointed");
    outlined = line ? views.map((view) => view.sources[source]) : [];
    for (const other of outlined) other.classList.add("pointed");
    $("readout").textContent = "";
    if (!element) return;
    const row = line ? Number(line.dataset.row) : pinned;
    const name = data.names[source] ?? element.textContent;
    const numbers = views.map((view) => {
      const { scores, unit } = panel(view, row);
      const number = (scores[source] ?? null) === null ? "no score" : exact(scores[source]) + unit;
      if (view === home) element.title = `${name}: ${number}`;
      return (views.length > 1 ? view.name : "") + number;
    });
    if (line || !("target" in element.dataset))
      $("readout").textContent = `${name}${line ? ` → ${data.targets[row]}` : ""}: ${numbers.join(" · ")}`;
  }

  // The targets of the view that has the focus, or of the first one, and which of them has it (-1: none).
  function focus() {
    const { targets } = views.find((view) => view.targets.includes(active())) ?? views[0];
    return [targets, targets.indexOf(active())];
  }

  function move(event) {
    const [targets, focused] = focus();
    const from = focused < 0 ? pinned ?? -1 : focused;
    const last = targets.length - 1;
    const to = { ArrowLeft: from < 0 ? last : from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    const target = Math.max(0, Math.min(last, to));
    if (pinned !== null) pinned = target;
    targets[target].focus();
    peek(target);
  }

  // From square to square, with the arrow keys.
  function walk(event, sheet) {
    const lines = [...sheet.querySelectorAll("[data-row]")];
    const from = active().closest("td");
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const within = (index, low, list) => Math.max(low, Math.min(list.length - 1, index));
    const { cells } = lines[from ? within(lines.indexOf(from.parentElement) + down, 0, lines) : 0];
    const to = cells[from ? within(from.cellIndex + right, 1, cells) : 1];
    to.tabIndex = -1;
    to.focus();
  }

  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const [, focused] = focus();
    const sheet = active().closest(".sheet");
    if (event.key === "Escape") return pin(null);
    if (/^(radio|checkbox)$/.test(active().type)) return;
    if (sheet && /^Arrow/.test(event.key)) walk(event, sheet);
    else if (/^Arrow(Left|Right)$/.test(event.key) || (focused >= 0 && /^(Home|End)$/.test(event.key))) move(event);
    else if (focused >= 0 && /^(Enter| )$/.test(event.key)) pin(focused === pinned ? null : focused);
    else return;
    event.preventDefault();
  }

  // The buttons keep what they reach, since nothing points at it.
  function stepBy(step) {
    const last = views[0].targets.length - 1;
    pin(Math.max(0, Math.min(last, pinned === null ? (step > 0 ? 0 : last) : pinned + step)));
  }

  function point(element, target) {
    element.addEventListener("pointerenter", () => peek(target));
    element.addEventListener("pointerleave", () => peek(null));
    element.addEventListener("click", () => pin(target === pinned ? null : target));
  }

  function listen(element, target) {
    element.setAttribute("role", "button");
    point(element, target);
    element.addEventListener("focus", () => { reach(target); peek(target); });
    element.addEventListener("blur", () => peek(null));
  }

  if (views[0].targets.length) {
    for (const view of views) {
      view.targets.forEach(listen);
      view.lines.forEach(point);
      const group = view.part("targets");
      group.setAttribute("role", "toolbar");
      group.setAttribute("aria-label", view.part("after").getAttribute("aria-label"));
    }
    reach(0);
    (standalone ? document : root).addEventListener("keydown", press);
    page.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || read(null));
    root.addEventListener("pointerover", ({ target }) => {
      const element = target.closest("[data-source], [data-target], [data-row] td");
      if (element || !target.closest(".status")) read(element);
    });
    root.addEventListener("focusin", ({ target }) => {
      if (!target.matches("[data-row] td")) return;
      peek(Number(target.parentElement.dataset.row));
      read(target);
    });
    root.addEventListener("focusout", ({ target }) => {
      if (target.matches("[data-row] td")) peek(null);
    });
    for (const button of $("steps").children) {
      const { step, aggregation: number } = button.dataset;
      button.addEventListener("click", () => (step ? stepBy(Number(step)) : aggregate(Number(number))));
    }
    $("shading").addEventListener("change", ({ target }) => shadeBy(target.value));
    for (const element of [$("hint"), $("steps"), $("shading"), ...root.querySelectorAll(".scripted")])
      element.hidden = false;
    page.dataset.shades = "linear";
    show();
  }
}

// The fragment that this script is part of, or, where it was moved or runs late, all that have not started yet.
const own = document.currentScript?.closest(".tokensal");
for (const host of own ? [own] : document.querySelectorAll(".tokensal")) {
  if ("started" in host.dataset) continue;
  host.dataset.started = "";
  start(host);
}
})();
