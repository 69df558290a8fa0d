  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    element.className = className;
    element.append(...children);
    return element;
  }

  // A button that does something; `label` says what where the text alone does not.
  function makeButton(text, label, action) {
    const button = make("button", "", text);
    button.type = "button";
    if (label) button.setAttribute("aria-label", label);
    button.addEventListener("click", action);
    return button;
  }

  function line({ source, name, shade, number }, sources) {
    const button = makeButton("", "", () => sources[source].scrollIntoView({ block: "center" }));
    const bar = make("i", shade < 0 ? "negative" : "");
    bar.style.setProperty("--s", Math.abs(shade));
    const point = () => sources[source].classList.toggle("pointed", button.matches(":hover, :focus"));
    button.className = "name";
    button.append(make("bdi", "", name), " ", make("small", "", source));
    button.title = `Find “${name}” in the text`;
    for (const event of ["pointerenter", "pointerleave", "focus", "blur"]) button.addEventListener(event, point);
    return make("li", "", button, make("span", "length", bar), make("span", "number", number));
  }

  // What a view says of a row: its scale, its sink, its strongest sources.
  function describe(view, shown) {
    view.part("high").textContent = shown.high;
    if (view.part("end")) view.part("end").textContent = shown.end;
    if (view.part("sink-note")) view.part("sink-note").textContent = shown.sink;
    view.part("top").replaceChildren(...shown.top.map((rank) => line(rank, view.sources)));
  }

  // Magnitudes begin at zero.
  function describeScale() {
    for (const view of views) {
      const { low } = panel(view, drawn ?? null);
      view.part("low").textContent = mode() === "magnitude" ? "0" : low;
    }
  }

  // What the page says of it: the sentence, and the legend of the marks that occur.
  function announce(panels) {
    for (const key of ["lead", "name", "detail"]) $(key).textContent = panels[0][key];
    if ($("considered")) $("considered").textContent = panels[0].considered;
    const kinds = panels.flatMap((shown) => shown.kinds);
    for (const item of $("marks").querySelectorAll("[data-kind]")) item.hidden = !kinds.includes(item.dataset.kind);
  }

  let marked = {}; // the targets that are marked as shown and as selected
  function mark(index) {
    for (const { targets, lines } of views) {
      for (const target of new Set([marked.shown, marked.selected, index, selected])) {
        if (target === undefined || target === null) continue;
        targets[target].setAttribute("aria-pressed", String(target === selected));
        for (const element of [targets[target], lines[target]])
          element?.classList.toggle("shown-target", target === index);
      }
    }
    marked = { shown: index, selected };
    for (const button of $("steps").querySelectorAll("[data-aggregation]")) {
      const chosen = selected === null && Number(button.dataset.aggregation) === aggregation;
      button.setAttribute("aria-pressed", String(chosen));
    }
  }

  function show() {
    const index = current();
    mark(index);
    tellPin();
    if (index === drawn) return;
    drawn = index;
    for (const view of views) {
      const row = panel(view, index);
      paintText(view.sources, row);
      describe(view, row);
    }
    describeScale();
    announce(views.map((view) => panel(view, index)));
    read(reading);
  }
