(() => {
  // The frame of a notebook (notebook.js) is as high as its page, up to what a window holds, and has the theme around it.
  if (parent === window) return;
  const fragment = document.querySelector(".tokensal");
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || !data?.tokensalTheme) return;
    for (const element of [document.documentElement, fragment]) element.dataset.theme = data.tokensalTheme;
  });
  const narrow = matchMedia("(max-width: 46rem)");
  const measure = () =>
    parent.postMessage({ tokensalHeight: Math.min(document.body.offsetHeight, narrow.matches ? 680 : 1200) }, "*");
  new ResizeObserver(measure).observe(document.body);
  fragment.dataset.framed = "";
  measure(); // a frame that is not in view observes nothing
})();
