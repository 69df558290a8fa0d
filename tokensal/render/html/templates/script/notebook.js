(() => {
  if (window.tokensalFrames) return; // once for all outputs
  window.tokensalFrames = true;
  // A frame says how high its page is, and is told whether the notebook is dark: what JupyterLab and VS Code say of
  // themselves, or else text that is light. A frame of this sandbox cannot read either.
  const frames = () => [...document.querySelectorAll("iframe.tokensal-frame")];
  const theme = (frame) => {
    const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
    if (jpThemeLight) return jpThemeLight === "false" ? "dark" : "light";
    if (vscodeThemeKind) return /light/.test(vscodeThemeKind) ? "light" : "dark";
    const [red, green, blue] = getComputedStyle(frame.parentElement).color.match(/[\d.]+/g).map(Number);
    return red + green + blue > 382 ? "dark" : "light";
  };
  const tell = (frame) => frame.contentWindow?.postMessage({ tokensalTheme: theme(frame) }, "*");
  addEventListener("message", ({ source, data }) => {
    const frame = frames().find(({ contentWindow }) => contentWindow === source);
    if (!frame || !(data?.tokensalHeight > 0)) return;
    frame.style.height = `${data.tokensalHeight}px`;
    tell(frame);
  });
  for (const host of [document.documentElement, document.body])
    new MutationObserver(() => frames().forEach(tell)).observe(host, { attributes: true });
})();
