(() => {
"use strict";
// What the fragment in the element `host` does; it knows nothing of the page around that.
function start(host) {
  // HTML that a script has put into a page still has the template, of which a parser would have made the root.
  const template = host.querySelector(":scope > template");
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  if (template) root.append(template.content);
  const $ = (id) => root.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const page = root.querySelector(".page");
  const standalone = page.matches(".standalone"); // nothing else on the page needs keys
  const active = () => root.activeElement ?? page;

  // A page has a view for each heatmap, all of the same tokens; what is shown of one is shown of all.
  const views = [...root.querySelectorAll(".view")].map((root, index) => ({
    ...data.views[index],
    root,
    part: (name) => root.querySelector(`.${name}`),
    sources: [...root.querySelectorAll("[data-source]")],
    targets: [...root.querySelectorAll("[data-target]")],
    lines: [...root.querySelectorAll("[data-row]")],
  }));

  // One target may be selected, and one peeked at (pointer or keyboard). The peeked one is shown, else the selected
  // one, else an aggregation of all.
  let selected = null;
  let peeked = null;
  let aggregation = 0; // which view of all targets
  let drawn;
  const current = () => peeked ?? selected;
  const panel = (view, index) => (index === null ? [view.overview, ...view.others][aggregation] : view.rows[index]);
{% include "script/numbers.js" %}
{% include "script/painting.js" %}
{% include "script/shades.js" %}
{% include "script/panels.js" %}
{% include "script/pins.js" %}
{% include "script/selection.js" %}

  if (!views[0].targets.length) return;
  for (const view of views) {
    view.targets.forEach(listen);
    view.lines.forEach(point);
    const group = view.part("targets");
    group.setAttribute("role", "toolbar");
    group.setAttribute("aria-label", view.part("after").getAttribute("aria-label"));
  }
  reach(0);
  listenToAll();
  for (const element of root.querySelectorAll(".scripted")) element.hidden = false;
  shadeBy();
  show();
}

// The fragment that this script is part of, or, where it was moved or runs late, all that have not started yet.
const own = document.currentScript?.closest(".tokensal");
for (const host of own ? [own] : document.querySelectorAll(".tokensal")) {
  if ("started" in host.dataset) continue;
  host.dataset.started = "";
  start(host);
}
})();
