  // Painting: what has changed is written to the page, and of a long text what is in the window first.
  const AT_ONCE = 800; // elements; more of them take longer than a key may
  const MARGIN = 300; // pixels above and below the window
  const worn = new WeakMap(); // for each list of elements, how they look: to read it from the page would cost more
  const pending = new Map(); // the lists that are not painted to their end, how they should look, and how far they are
  let timer = null;

  // As the server drew it.
  function lookOf({ classList }) {
    const step = Number(classList.value.match(/\bs(\d+)\b/)?.[1] ?? 0);
    return 8 * step + MARKS.reduce((sum, mark, index) => sum + (classList.contains(mark) << index), 0);
  }

  function dress({ classList }, before, after) {
    const [from, to] = [`s${before >> 3}`, `s${after >> 3}`];
    if (from !== to && !classList.replace(from, to)) classList.add(to);
    MARKS.forEach((mark, index) => {
      if (((before ^ after) >> index) & 1) classList.toggle(mark);
    });
  }

  function dressSome(elements, looks, from, to) {
    const last = worn.get(elements);
    for (let index = from; index < to; index += 1) {
      if (looks[index] === last[index]) continue;
      dress(elements[index], last[index], looks[index]);
      last[index] = looks[index];
    }
  }

  function dressAll(elements, looks) {
    if (!worn.has(elements)) worn.set(elements, Int32Array.from(elements, lookOf));
    pending.delete(elements);
    if (elements.length <= AT_ONCE) return dressSome(elements, looks, 0, elements.length);
    pending.set(elements, { looks, next: 0 });
    dressView(elements, looks);
    timer ??= setTimeout(dressLater);
  }

  // The elements stand one below the other, but for the targets, which stay at the foot of the window.
  function dressView(elements, looks) {
    const { length } = elements;
    const targets = first(length, (index) => elements[index].closest(".after"));
    const start = first(targets, (index) => elements[index].getBoundingClientRect().bottom > -MARGIN);
    const end = first(targets, (index) => elements[index].getBoundingClientRect().top > innerHeight + MARGIN);
    dressSome(elements, looks, start, end);
    dressSome(elements, looks, targets, Math.min(length, targets + AT_ONCE));
  }

  // The first index of which something holds that holds of all after it.
  function first(end, holds) {
    let [low, high] = [0, end];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (holds(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function dressNext() {
    const [elements, work] = pending.entries().next().value;
    dressSome(elements, work.looks, work.next, Math.min(elements.length, work.next + AT_ONCE));
    work.next += AT_ONCE;
    if (work.next >= elements.length) pending.delete(elements);
  }

  function dressLater() {
    timer = null;
    if (pending.size) dressNext();
    if (pending.size) timer = setTimeout(dressLater);
  }

  document.addEventListener("scroll", () => pending.forEach(({ looks }, elements) => dressView(elements, looks)),
    { capture: true, passive: true });
  addEventListener("beforeprint", () => {
    for (const view of views) paintMatrix(view, true);
    while (pending.size) dressNext();
  });
