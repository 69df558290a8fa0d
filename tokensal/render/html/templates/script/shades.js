  // Shades: which element has which, in which view, above which threshold.
  const STEPS = {{ STEPS }}; // the classes s0, s1, … of the style sheet
  const shading = $("shading");
  const option = (name) => shading.querySelector(`[name=${name}]`);
  const mode = () => shading.querySelector("[name=view]:checked").value; // signed, magnitude or rank
  const threshold = () => Number(option("threshold").value) / 100;

  // The share of the largest rank of each size. Equal sizes have equal ranks, and zero has none.
  function ranks(sizes) {
    const order = Float64Array.from(new Set(sizes)).sort().filter((size) => size > 0);
    return new Map(Array.from(order, (size, index) => [size, (index + 1) / order.length]));
  }

  // Gives each element the shade of its value on a scale that ends at `limit`: a step of the shade and three marks, as
  // one number.
  const MARKS = ["blank", "negative", "clipped"];
  function paint(elements, values, limit) {
    const sizes = Float64Array.from(values, (value) => (limit ? Math.min(1, Math.abs(value) / limit) || 0 : 0));
    const rank = mode() === "rank" ? ranks(sizes) : null;
    const signed = mode() !== "magnitude";
    const root = option("root").checked && !rank;
    const least = threshold();
    const looks = Int32Array.from(elements, (_, index) => {
      const value = values[index] ?? NaN;
      const size = sizes[index] ?? 0;
      const shade = size < least ? 0 : rank ? rank.get(size) ?? 0 : root ? Math.sqrt(size) : size;
      const negative = value < 0 && signed && size >= least;
      return 8 * Math.round(shade * STEPS) + Number.isNaN(value) + 2 * negative + 4 * (Math.abs(value) > limit);
    });
    dressAll(elements, looks);
  }

  // The squares of a matrix, which has one scale; one that is closed waits until it is opened.
  function paintMatrix(view) {
    if (!view.part("matrix")?.open) return;
    view.squares ??= [...view.root.querySelectorAll(".square")];
    const values = view.squares.map((square) => {
      const row = view.rows[square.parentElement.dataset.row];
      return scores(row)[view.columns[square.cellIndex - 1]];
    });
    paint(view.squares, values, view.limit);
  }

  function paintAll() {
    for (const view of views) {
      const row = panel(view, drawn ?? null);
      paint(view.sources, scores(row), row.limit);
      paintMatrix(view);
    }
    paintPins();
  }

  // What the legend says of it: always, and in the words of a screen reader, too.
  function shadeBy() {
    const rank = mode() === "rank";
    page.dataset.view = mode();
    page.toggleAttribute("data-root", option("root").checked && !rank);
    page.toggleAttribute("data-threshold", threshold() > 0 && !rank); // ranks have no place on the scale
    page.style.setProperty("--threshold", threshold());
    option("root").disabled = rank;
    const share = `${option("threshold").value} % of the scale`;
    option("threshold").setAttribute("aria-valuetext", share);
    $("least").textContent = `${option("threshold").value} %`;
    const of = mode() === "magnitude" && data.signed ? "|score|, without its sign" : "score";
    const kind = rank ? "the rank of |score|" : option("root").checked ? `the root of the ${of}` : `linear in the ${of}`;
    const kept = rank || option("root").checked ? " Numbers and bars are as they were." : "";
    const below = threshold() ? ` None is drawn below ${share}.` : "";
    root.querySelector(".shades").textContent = `Shades are ${kind.replace("the |", "|")}.${kept}${below}`;
    paintAll();
    describeScale();
  }
