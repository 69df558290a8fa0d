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

  // Scores have four digits, as 4-byte floats: what they miss decides neither a step nor what the threshold hides.
  const SLACK = 1 + 1e-6;

  // Gives each element the shade of its value on a scale that ends at `limit`: a step of the shade and three marks, as
  // one number. Which values lie `beyond` the scale, and the `steps` where colours are in some, the layout has decided.
  const MARKS = ["blank", "negative", "clipped"];
  function paint(elements, values, limit, beyond, steps) {
    const sizes = Float64Array.from(values, (value) => (limit ? Math.min(1, Math.abs(value) / limit) || 0 : 0));
    const signed = mode() !== "magnitude";
    const least = threshold();
    const shade = shadeOf(sizes, steps);
    const looks = Int32Array.from(elements, (_, index) => {
      const value = values[index] ?? NaN;
      const shown = (sizes[index] ?? 0) * SLACK >= least;
      const step = shown ? Math.round(shade(index) * STEPS) : 0;
      return 8 * step + Number.isNaN(value) + 2 * (value < 0 && signed && shown) + 4 * beyond(index);
    });
    dressAll(elements, looks);
  }

  function shadeOf(sizes, steps) {
    const rank = mode() === "rank" ? ranks(sizes) : null;
    const root = option("root").checked;
    if (steps && !rank && !root) return (index) => (steps[index] ?? 0) / data.bins;
    const stepped = (shade) => (data.bins ? Math.floor(shade * SLACK * data.bins + 0.5) / data.bins : shade);
    return (index) => {
      const size = sizes[index] ?? 0;
      return stepped(rank ? rank.get(size) ?? 0 : root ? Math.sqrt(size) : size);
    };
  }

  function paintText(sources, row) {
    row.beyond ??= new Set(row.clipped);
    row.bytes ??= row.steps ? bytesOf(row.steps) : null;
    paint(sources, scores(row), row.limit, (index) => row.beyond.has(index), row.bytes);
  }

  // The squares of a matrix, which has one scale; one that is closed waits until it is opened or printed.
  function paintMatrix(view, printed = false) {
    if (!view.part("matrix")?.open && !printed) return;
    view.squares ??= [...view.root.querySelectorAll(".square")];
    const values = view.squares.map((square) => {
      const row = view.rows[square.parentElement.dataset.row];
      return scores(row)[view.columns[square.cellIndex - 1]];
    });
    paint(view.squares, values, view.limit, (index) => view.squares[index].classList.contains("clipped"));
  }

  function paintAll() {
    for (const view of views) {
      paintText(view.sources, panel(view, drawn ?? null));
      paintMatrix(view);
    }
    paintPins();
  }

  function shadeBy() {
    const rank = mode() === "rank"; // which has no root, and no place on the scale
    page.dataset.view = mode();
    page.toggleAttribute("data-root", option("root").checked && !rank);
    page.toggleAttribute("data-threshold", threshold() > 0 && !rank);
    page.style.setProperty("--threshold", threshold());
    option("root").disabled = rank;
    option("threshold").setAttribute("aria-valuetext", `${option("threshold").value} % of the scale`);
    $("least").textContent = `${option("threshold").value} %`;
    root.querySelector(".shades").textContent = describeShades();
    paintAll();
    describeScale();
  }

  // What the legend says of the view and of the threshold: always, and to a screen reader where they change.
  function describeShades() {
    const magnitude = mode() === "magnitude" && data.signed;
    const steps = magnitude ? data.stepped.replace(" for each sign", "") : data.stepped;
    const score = magnitude ? "|score|, without its sign" : "the score";
    const below = threshold() ? ` None is drawn below ${option("threshold").value} % of the scale.` : "";
    const kept = " Numbers and bars are as they were.";
    if (mode() === "rank") return `Shades are the rank of |score|${steps}.${kept}${below}`;
    if (option("root").checked) return `Shades are the root of ${score}${steps}.${kept}${below}`;
    return `Shades are linear in ${score}${steps}.${below}`;
  }
