// The first view: every set as a row of its pets.

import { SetCard } from "./sets.js";
import { html, useShared } from "./view.js";

export function PetsView() {
  const { cluster, namespace, place } = useShared();
  const owned = cluster.podsByOwner();
  const sets = [...cluster.all("statefulsets").values(), ...cluster.all("petsets").values()]
    .filter((set) => !namespace || set.metadata.namespace === namespace)
    .sort((one, other) => one.metadata.namespace.localeCompare(other.metadata.namespace) || one.metadata.name.localeCompare(other.metadata.name));
  if (!sets.length && cluster.isRead)
    return html`<div class="empty"><h2>No pets yet</h2><p>Apply a StatefulSet, or run <code>petset demo nginx</code>: they appear here as they come.</p></div>`;
  return html`<div class="sets">${sets.map((set) => html`<${SetCard} key=${set.metadata.uid} set=${set} pods=${owned.get(set.metadata.uid) ?? []} chosen=${place.chosen} />`)}</div>`;
}
