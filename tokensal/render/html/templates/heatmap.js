(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);

  // A page has a view for each heatmap, all of the same tokens; what is shown of one is shown of all.
  const views = [...document.querySelectorAll(".view")].map((root, index) => ({
    ...data.views[index],
    root,
    part: (name) => root.querySelector(`.${name}`),
    sources: [...root.querySelectorAll("[data-source]")],
    targets: [...root.querySelectorAll("[data-target]")],
    lines: [...root.querySelectorAll("[data-row]")],
  }));

  // One target may be pinned, and one peeked at (pointer or keyboard). The peeked one is shown, else the pinned
  // one, else an aggregation of all.
  let pinned = null;
  let peeked = null;
  let aggregation = 0; // which view of all targets
  const panel = (view, index) => (index === null ? [view.overview, ...view.others][aggregation] : view.rows[index]);

  // The twin of `exact` in layout/numbers.py; the numbers have four digits already.
  function exact(value) {
    const size = Math.abs(value);
    const far = size && (size < 1e-4 || size >= 1e4);
    const [digits, power] = (far ? size.toExponential() : String(size)).split("e");
    const raised = [...(power ?? "").replace("+", "")].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]);
    return (value < 0 ? "−" : "") + digits + (power ? `×10${raised.join("")}` : "");
  }

  function paint(view, { scores, limit }) {
    view.sources.forEach((element, source) => {
      const value = scores[source];
      const shade = limit ? Math.min(1, Math.abs(value) / limit) : 0;
      const marks = { blank: value === null, negative: value < 0, clipped: Math.abs(value) > limit };
      for (const [mark, on] of Object.entries(marks)) element.classList.toggle(mark, on);
      // A long prompt has mostly scores near zero: what stays as it was costs nothing.
      const alpha = shade.toFixed(2);
      if (element.style.getPropertyValue("--s") !== alpha) element.style.setProperty("--s", alpha);
    });
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
    for (const element of view.sources) element.classList.remove("pointed");
    view.part("top").replaceChildren(...shown.top.map((rank) => line(rank, view.sources)));
    view.part("readout").textContent = "";
  }

  // What the page says of it: the sentence, and the legend of the marks that occur.
  function announce(panels) {
    for (const key of ["lead", "name", "detail"]) $(key).textContent = panels[0][key];
    if ($("considered")) $("considered").textContent = panels[0].considered;
    const kinds = panels.flatMap((shown) => shown.kinds);
    for (const item of $("marks").querySelectorAll("[data-kind]")) item.hidden = !kinds.includes(item.dataset.kind);
  }

  let drawn;
  function show() {
    const index = peeked ?? pinned;
    for (const { targets, lines } of views) {
      targets.forEach((element, target) => {
        element.classList.toggle("shown-target", target === index);
        element.setAttribute("aria-pressed", String(target === pinned));
      });
      lines.forEach((element, target) => element.classList.toggle("shown-target", target === index));
    }
    if (index === drawn) return;
    drawn = index;
    for (const view of views) {
      paint(view, panel(view, index));
      describe(view, panel(view, index));
    }
    announce(views.map((view) => panel(view, index)));
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
    for (const { root } of views)
      root.querySelectorAll(".aggregations button").forEach((button, index) => button.setAttribute("aria-pressed", String(index === number)));
    drawn = undefined;
    pin(null);
  }

  function reach(target) {
    for (const { targets } of views) targets.forEach((element, index) => (element.tabIndex = index === target ? 0 : -1));
  }

  // Exact numbers are of what lies underneath a peek: a generated token under the pointer shows its own sources,
  // and its own score is in the row of a later one.
  function read(element) {
    const { source } = element.dataset;
    const name = data.names[source] ?? element.textContent;
    for (const view of views) {
      const value = panel(view, pinned).scores[source] ?? null;
      const text = `${name}: ${value === null ? "no score" : exact(value) + panel(view, pinned).unit}`;
      if (view.root.contains(element)) element.title = text;
      if (!("target" in element.dataset)) view.part("readout").textContent = text;
    }
  }

  // The targets of the view that has the focus, or of the first one, and which of them has it (-1: none).
  function focus() {
    const { targets } = views.find((view) => view.targets.includes(document.activeElement)) ?? views[0];
    return [targets, targets.indexOf(document.activeElement)];
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

  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const [, focused] = focus();
    if (event.key === "Escape") return pin(null);
    if (/^Arrow(Left|Right)$/.test(event.key) || (focused >= 0 && /^(Home|End)$/.test(event.key))) move(event);
    else if (focused >= 0 && /^(Enter| )$/.test(event.key)) pin(focused === pinned ? null : focused);
    else return;
    event.preventDefault();
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
    for (const list of document.querySelectorAll(".aggregations")) {
      list.hidden = false;
      [...list.querySelectorAll("button")].forEach((button, index) => button.addEventListener("click", () => aggregate(index)));
    }
    document.addEventListener("keydown", press);
    document.addEventListener("pointerover", ({ target }) => {
      const element = target.closest("[data-source], [data-target]");
      if (element) read(element);
      else for (const view of views) view.part("readout").textContent = "";
    });
    $("hint").hidden = false;
    show();
  }
})();
