// The first view: every set as a row of its pets, and beneath them the pods that are no pets, by who makes them.

import { pluralOf } from "./api.js";
import { isPetSet, isReady, ownerOf, stateOf } from "./pets.js";
import { SetCard } from "./sets.js";
import { Token } from "./tokens.js";
import { addressOf, byName, go, html, isChosen, isIn, useShared } from "./view.js";

const PODS_MAX = 200; // Of one maker that are shown here.

export function PetsView() {
  const { cluster, namespace, place } = useShared();
  const owned = cluster.podsByOwner();
  const isHere = isIn(namespace);
  const sets = [...cluster.all("statefulsets").values(), ...cluster.all("petsets").values()].filter(isHere).sort(byName);
  const herds = herdsOf(cluster, isHere);
  if (!sets.length && !herds.length && cluster.isRead)
    return html`<div class="empty"><h2>No pets yet</h2><p>Apply a StatefulSet, or run <code>petset demo nginx</code>: they appear here as they come.</p></div>`;
  return html`<div class="sets">${sets.map((set) => html`<${SetCard} key=${set.metadata.uid} set=${set} pods=${owned.get(set.metadata.uid) ?? []} chosen=${place.chosen} />`)}</div>
    ${herds.length > 0 && html`<section class="herds" aria-label="Pods that are no pets"><h2>Pods that are no pets</h2>${herds.map((herd) => html`<${Herd} key=${herd.key} herd=${herd} chosen=${place.chosen} />`)}</section>`}`;
}

// Pods of Deployments, DaemonSets, Jobs and of nobody, by who makes them.
function herdsOf(cluster, isHere) {
  const herds = new Map();
  for (const pod of [...cluster.all("pods").values()].filter(isHere).sort(byName)) {
    let owner = ownerOf(pod);
    if (isPetSet(owner)) continue;
    if (owner?.kind === "ReplicaSet") owner = ownerOf(cluster.find("replicasets", pod.metadata.namespace, owner.name)) ?? owner;
    const key = `${pod.metadata.namespace}/${owner ? `${owner.kind}/${owner.name}` : ""}`;
    const herd = herds.get(key) ?? { key, namespace: pod.metadata.namespace, kind: owner?.kind ?? "", name: owner?.name ?? "on their own", pods: [] };
    herd.pods.push(pod);
    herds.set(key, herd);
  }
  return [...herds.values()];
}

function Herd({ herd, chosen }) {
  const plural = pluralOf(herd.kind);
  const ready = herd.pods.filter(isReady).length;
  const choose = (place) => go("pets", { plural: "pods", namespace: herd.namespace, name: place.name });
  return html`<div class="herd"><p><strong>${plural ? html`<a href=${addressOf("pets", { plural, namespace: herd.namespace, name: herd.name })}>${herd.name}</a>` : herd.name}</strong>
    <span class="kind">${herd.kind}</span> <span class="namespace">${herd.namespace}</span> <span class="soft">${ready} of ${herd.pods.length} ready</span></p>
    <div class="rail small">${herd.pods.slice(0, PODS_MAX).map((pod) => html`<${Token} key=${pod.metadata.uid} place=${{ ordinal: -1, name: pod.metadata.name, pod, state: stateOf(pod), isWanted: true }}
      isChosen=${isChosen(chosen, "pods", herd.namespace, pod.metadata.name)} onChoose=${choose} />`)}${herd.pods.length > PODS_MAX && html`<span class="soft">and ${herd.pods.length - PODS_MAX} more</span>`}</div></div>`;
}
