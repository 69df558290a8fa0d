  // Targets that are pinned stand side by side, each as a copy of the text in its own shades with its own list.
  const pins = new Map(); // from a target to its card and the copies in it

  function pin(target) {
    if (target === null) return;
    if (pins.has(target)) return unpin(target);
    const copies = views.map((view) => ({ view, ...copyText(view, target) }));
    const card = make("article", "pin", title(target), ...copies.flatMap(({ parts }) => parts));
    card.setAttribute("aria-label", `pinned: ${data.targets[target]}`);
    pins.set(target, { card, copies });
    $("pins").lastElementChild.append(card);
    paintPins();
    tell(`${data.targets[target]} is pinned`);
  }

  function unpin(target) {
    const { card } = pins.get(target);
    const next = card.nextElementSibling ?? card.previousElementSibling;
    const focused = card.contains(root.activeElement);
    pins.delete(target);
    card.remove();
    if (focused) (next?.querySelector("button") ?? $("pin")).focus();
    tell(`${data.targets[target]} is no longer pinned`);
  }

  function tell(sentence) {
    $("pins").hidden = !pins.size;
    tellPin();
    $("readout").textContent = `${sentence}; ${pins.size} of ${data.targets.length} pinned`;
  }

  // What the button does now; it stays in the order of focus where there is nothing to pin.
  function tellPin() {
    const target = current();
    const name = target === null ? "" : ` ${data.targets[target]}`;
    $("pin").setAttribute("aria-disabled", String(target === null));
    $("pin").setAttribute("aria-pressed", String(pins.has(target)));
    $("pin").setAttribute("aria-label", target === null ? "pin: select a target first" : `pin${name}`);
  }

  function title(target) {
    const { lead, name, detail } = views[0].rows[target];
    const heading = make("h3", "", `${lead} `, make("bdi", "", name), " ", make("small", "", detail));
    const button = makeButton("unpin", `unpin ${data.targets[target]}`, () => unpin(target));
    return make("header", "", heading, button);
  }

  // A copy of a view's text, which is a picture to a screen reader, with the scale and the list of a target.
  function copyText(view, target) {
    const row = view.rows[target];
    const text = view.part("words").cloneNode(true);
    const sources = [...text.querySelectorAll("[data-source]")];
    const copied = text.querySelectorAll("[data-target]")[target];
    for (const element of [text, ...text.querySelectorAll("*")])
      for (const name of ["id", "role", "tabindex", "aria-label", "aria-pressed", "title", "data-source", "data-target"])
        element.removeAttribute(name);
    for (const element of text.querySelectorAll(".shown-target, .pointed"))
      element.classList.remove("shown-target", "pointed");
    copied.classList.add("shown-target");
    text.setAttribute("role", "img");
    text.setAttribute("aria-label", `the text in the shades of ${data.targets[target]}`);
    for (const heading of text.querySelectorAll("h2")) heading.remove();
    const name = make("p", "note", `${view.name}${data.signed ? `${row.low} … ${row.high}` : `0 … ${row.high}`}`);
    const list = make("ol", "top", ...row.top.map((rank) => line(rank, view.sources)));
    list.setAttribute("aria-label", `strongest sources of ${data.targets[target]}`);
    const part = make("div", view.signed ? "" : "unsigned", text, name, list);
    return { parts: [part], sources };
  }

  function paintPins() {
    for (const [target, { copies }] of pins)
      for (const { view, sources } of copies) paintText(sources, view.rows[target]);
  }
