  // Which target is shown, and which number is read out: by pointer, finger and keyboard.
  let reading = null; // the source or square whose number is read out
  let outlined = []; // the sources of that square

  function peek(target) {
    peeked = target;
    show();
  }

  function select(target) {
    selected = target;
    peek(null);
  }

  function aggregate(number) {
    aggregation = number;
    drawn = undefined;
    select(null);
  }

  function reach(target) {
    for (const { targets } of views) {
      for (const element of targets) if (element.tabIndex === 0) element.tabIndex = -1;
      targets[target].tabIndex = 0;
    }
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
    const row = line ? Number(line.dataset.row) : selected;
    const name = data.names[source] ?? element.textContent;
    const numbers = views.map((view) => {
      const text = number(panel(view, row), source);
      if (view === home) element.title = `${name}: ${text}`;
      return view.name + text;
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
    const from = focused < 0 ? selected ?? -1 : focused;
    const last = targets.length - 1;
    const to = { ArrowLeft: from < 0 ? last : from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    const target = Math.max(0, Math.min(last, to));
    if (selected !== null) selected = target;
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
    if (event.key === "Escape") return select(null);
    if (event.key === "p" && root.activeElement) return pin(current());
    if (/^(radio|checkbox|range)$/.test(active().type)) return;
    if (sheet && /^Arrow/.test(event.key)) walk(event, sheet);
    else if (/^Arrow(Left|Right)$/.test(event.key) || (focused >= 0 && /^(Home|End)$/.test(event.key))) move(event);
    else if (focused >= 0 && /^(Enter| )$/.test(event.key)) select(focused === selected ? null : focused);
    else return;
    event.preventDefault();
  }

  // The buttons keep what they reach, since nothing points at it.
  function stepBy(step) {
    const last = views[0].targets.length - 1;
    select(Math.max(0, Math.min(last, selected === null ? (step > 0 ? 0 : last) : selected + step)));
  }

  function point(element, target) {
    element.addEventListener("pointerenter", () => peek(target));
    element.addEventListener("pointerleave", () => peek(null));
    element.addEventListener("click", () => select(target === selected ? null : target));
  }

  function listen(element, target) {
    element.setAttribute("role", "button");
    element.setAttribute("aria-pressed", "false");
    element.tabIndex = -1;
    point(element, target);
    element.addEventListener("focus", () => { reach(target); peek(target); });
    element.addEventListener("blur", () => peek(null));
  }

  function listenToAll() {
    (standalone ? document : root).addEventListener("keydown", press);
    // A finger that is lifted leaves, too, and what it touched is still to be read.
    page.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || read(null));
    root.addEventListener("pointerover", ({ target }) => {
      const element = target.closest("[data-source], [data-target], [data-row] td");
      if (element || !target.closest(".status, .pins")) read(element);
    });
    root.addEventListener("focusin", ({ target }) => {
      if (!target.matches("[data-row] td")) return;
      peek(Number(target.parentElement.dataset.row));
      read(target);
    });
    root.addEventListener("focusout", ({ target }) => {
      if (target.matches("[data-row] td")) peek(null);
    });
    for (const button of $("steps").querySelectorAll("[data-step], [data-aggregation]")) {
      const { step, aggregation: number } = button.dataset;
      button.addEventListener("click", () => (step ? stepBy(Number(step)) : aggregate(Number(number))));
    }
    $("pin").addEventListener("click", () => pin(current()));
    shading.addEventListener("input", shadeBy);
    for (const view of views) view.part("matrix")?.addEventListener("toggle", () => paintMatrix(view));
  }
