// The dashboard: its frame, what is chosen, and which view is shown.

import { Cluster } from "./cluster.js";
import { Inspector } from "./inspector.js";
import { MapView } from "./map.js";
import { ObjectsView } from "./objects.js";
import { PetsView } from "./pets-view.js";
import { Timeline } from "./timeline.js";
import { Use } from "./use.js";
import { Shared, VIEWS, addressOf, html, placeNow, render, useEffect, useNow, useState } from "./view.js";

const cluster = new Cluster();
const use = new Use(cluster);
const SHOWN = { pets: PetsView, map: MapView, timeline: Timeline, objects: ObjectsView };
const NAMESPACE_KEY = "petset-namespace";

function App() {
  const [version, frame] = useState(0);
  const [place, move] = useState(placeNow());
  const [namespace, setNamespace] = useState(sessionStorage.getItem(NAMESPACE_KEY) ?? "");
  const now = useNow(5000);
  useEffect(() => cluster.listen(frame), []);
  useEffect(() => {
    const moved = () => move(placeNow());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const choose = (event) => {
    sessionStorage.setItem(NAMESPACE_KEY, event.target.value);
    setNamespace(event.target.value);
  };
  const View = SHOWN[place.view];
  const shared = { cluster, use, now, version, namespace, place };
  return html`<${Shared.Provider} value=${shared}>
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById("content").focus(); }}>To the content</a>
    <header class="top">
      <a class="brand" href=${addressOf("pets")}><img src="icon.svg" alt="" width="26" height="26" />petset</a>
      <nav aria-label="Views">${Object.entries(VIEWS).map(([view, title]) => html`
        <a key=${view} href=${addressOf(view)} aria-current=${place.view === view ? "page" : undefined}>${title}</a>`)}</nav>
      <span class="gap"></span>
      <${Connection} />
      <label class="namespaces"><span class="unseen">Namespace</span><select value=${namespace} onChange=${choose}>
        <option value="">all namespaces</option>
        ${[...cluster.all("namespaces").keys()].sort().map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select></label>
    </header>
    <div class=${place.chosen ? "halves" : ""}>
      <main id="content" tabindex="-1"><${View} /></main>
      ${place.chosen && html`<${Inspector} view=${place.view} chosen=${place.chosen} tab=${place.tab} />`}
    </div>
  <//>`;
}

function Connection() {
  const { trouble } = cluster;
  if (trouble) return html`<span class="connection lost" role="alert">${trouble}</span>`;
  return html`<span class="connection" role="status">${cluster.isRead ? "live" : "reading"}</span>`;
}

cluster.begin();
use.begin();
if (location.hash.startsWith("#open=")) history.replaceState(null, "", "/dashboard/"); // Signed in already.
const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
