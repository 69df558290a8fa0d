(() => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const sources = [...document.querySelectorAll("[data-source]")];
  const targets = [...document.querySelectorAll("[data-target]")];

  // One target may be pinned, and one peeked at (pointer or keyboard). The peeked one is shown, else the pinned
  // one, else the sum.
  let pinned = null;
  let peeked = null;
  const panel = (index) => (index === null ? data.overview : data.rows[index]);

  // The twin of `_exact` in html.py; the numbers have 4 digits already.
  function exact(value) {
    const size = Math.abs(value);
    const far = size && (size < 1e-4 || size >= 1e4);
    const text = far ? size.toExponential().replace("+", "") : String(size);
    return (value < 0 ? "−" : "") + text.replace("-", "−");
  }

  function paint({ scores, limit }) {
    sources.forEach((element, source) => {
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

  function line({ source, name, shade, number }) {
    const position = make("small", "", source);
    const button = make("button", "name", make("bdi", "", name), " ", position);
    const bar = make("i", shade < 0 ? "negative" : "");
    bar.style.setProperty("--s", Math.abs(shade));
    const point = () => sources[source].classList.toggle("found", button.matches(":hover, :focus"));
    button.type = "button";
    button.title = `Find “${name}” in the text`;
    button.addEventListener("click", () => sources[source].scrollIntoView({ block: "center" }));
    for (const event of ["pointerenter", "pointerleave", "focus", "blur"]) button.addEventListener(event, point);
    return make("li", "", button, make("span", "length", bar), make("span", "number", number));
  }

  function describe(shown) {
    for (const key of ["lead", "name", "detail", "low", "high"]) $(key).textContent = shown[key];
    if ($("sink")) $("sink").textContent = shown.sink;
    for (const item of $("marks").querySelectorAll("[data-mark]")) item.hidden = !shown.marks.includes(item.dataset.mark);
    for (const element of sources) element.classList.remove("found");
    $("top").replaceChildren(...shown.top.map(line));
    $("readout").textContent = "";
  }

  let drawn;
  function show() {
    const index = peeked ?? pinned;
    targets.forEach((element, target) => {
      element.classList.toggle("shown-target", target === index);
      element.setAttribute("aria-pressed", String(target === pinned));
    });
    if (index === drawn) return;
    drawn = index;
    paint(panel(index));
    describe(panel(index));
  }

  function peek(target) {
    peeked = target;
    show();
  }

  function pin(target) {
    pinned = target;
    peek(null);
  }

  function reach(target) {
    for (const element of targets) element.tabIndex = -1;
    targets[target].tabIndex = 0;
  }

  // Exact numbers are of what lies underneath a peek: a generated token under the pointer shows its own sources,
  // and its own score is in the row of a later one.
  function read(element) {
    const value = panel(pinned).scores[element.dataset.source] ?? null;
    const name = data.names[element.dataset.source] ?? element.textContent;
    element.title = `${name}: ${value === null ? "no score" : exact(value)}`;
    if (!("target" in element.dataset)) $("readout").textContent = element.title;
  }

  function move(event) {
    const focused = targets.indexOf(document.activeElement);
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
    const focused = targets.indexOf(document.activeElement);
    if (event.key === "Escape") return pin(null);
    if (/^Arrow(Left|Right)$/.test(event.key) || (focused >= 0 && /^(Home|End)$/.test(event.key))) move(event);
    else if (focused >= 0 && /^(Enter| )$/.test(event.key)) pin(focused === pinned ? null : focused);
    else return;
    event.preventDefault();
  }

  function listen(element, target) {
    element.setAttribute("role", "button");
    element.addEventListener("pointerenter", () => peek(target));
    element.addEventListener("pointerleave", () => peek(null));
    element.addEventListener("focus", () => { reach(target); peek(target); });
    element.addEventListener("blur", () => peek(null));
    element.addEventListener("click", () => pin(target === pinned ? null : target));
  }

  if (targets.length) {
    targets.forEach(listen);
    reach(0);
    const group = $("targets");
    group.setAttribute("role", "toolbar");
    group.setAttribute("aria-labelledby", "after");
    document.addEventListener("keydown", press);
    document.addEventListener("pointerover", ({ target }) => {
      const element = target.closest("[data-source], [data-target]");
      if (element) read(element);
      else $("readout").textContent = "";
    });
    $("hint").hidden = false;
    show();
  }
})();
