// Sets as rows of numbered pets: what goes on, who waits for whom, and each pet's facts in a line.

import { age, bytes, claimNames, dnsName, isReady, placesOf, quantity, restarts, revisionOf, shortRevision, STATES, story, whyOf } from "./pets.js";
import { Token, isOld } from "./tokens.js";
import { addressOf, go, html, memo, useShared, useState } from "./view.js";

const OPEN_PETS_MAX = 8; // A set of more begins with its lines folded.
const SMALL_TOKENS = 40; // From so many pets on they are smaller.
const CHAIN_MAX = 24; // Up to so many pets who waits for whom is drawn between them.

export function claimsState(cluster, set, place) {
  const claims = claimNames(set, place).map((name) => cluster.find("persistentvolumeclaims", set.metadata.namespace, name));
  const found = claims.filter(Boolean);
  if (!found.length) return "";
  return found.every((claim) => claim.status?.phase === "Bound") ? "bound" : "pending";
}

export function SetCard({ set, pods, chosen }) {
  const { cluster, use } = useShared();
  const places = placesOf(set, pods);
  const told = story(set, places);
  const [isOpen, open] = useState(places.length <= OPEN_PETS_MAX);
  const { namespace, name } = set.metadata;
  const plural = set.kind === "PetSet" ? "petsets" : "statefulsets";
  const ready = places.filter((place) => place.isWanted && place.pod && isReady(place.pod)).length;
  const kept = keptTrays(cluster, set, places);
  const choosePet = (place) => place.pod && go("pets", { plural: "pods", namespace, name: place.name });
  const isChosen = chosen?.plural === plural && chosen.namespace === namespace && chosen.name === name;
  const chained = places.length <= CHAIN_MAX;
  const updating = set.status?.updateRevision && set.status.currentRevision !== set.status.updateRevision;
  return html`<section class=${`set ${told.tone} ${isChosen ? "chosen" : ""}`} aria-label=${`${set.kind} ${name}`} data-set=${name}>
    <header>
      <h2><a href=${addressOf("pets", { plural, namespace, name })}>${name}</a></h2>
      <span class="kind">${set.kind}</span><span class="namespace">${namespace}</span>
      <span class="gap"></span>
      ${updating && html`<span class="revision" title="from revision, to revision">${shortRevision(set.status.currentRevision ?? "")} → ${shortRevision(set.status.updateRevision)}</span>`}
      <span class="ready-count"><strong>${ready}</strong> of ${set.spec.replicas ?? 1} ready</span>
    </header>
    <p class="story" role="status">${told.text}</p>
    <div class=${`rail ${places.length > SMALL_TOKENS ? "small" : ""}`}>
      ${places.map((place, index) => html`
        ${index > 0 && chained && html`<${Link} key=${`link-${place.ordinal}`} wait=${linkBetween(told.waits, places[index - 1], place)} />`}
        <${Token} key=${place.name} place=${place} isOld=${isOld(set, place)} wait=${told.waits.get(place.ordinal)}
          claims=${claimsState(cluster, set, place)} use=${use.ofClaims(namespace, claimNames(set, place))}
          isChosen=${chosen?.plural === "pods" && chosen.namespace === namespace && chosen.name === place.name} onChoose=${choosePet} />`)}
      ${kept.length > 0 && html`<span class="kept" title=${kept.join(", ")}>${kept.length === 1 ? "1 volume" : `${kept.length} volumes`} kept for later</span>`}
    </div>
    ${places.length > 0 && html`<button type="button" class="fold" aria-expanded=${isOpen} onClick=${() => open(!isOpen)}>
      ${isOpen ? "Fold" : places.length > 1 ? `All ${places.length} pets` : "The pet"}</button>`}
    ${isOpen && places.length > 0 && html`<${Lines} set=${set} places=${places} waits=${told.waits} />`}
  </section>`;
}

// Claims of the templates whose numbers are not wanted now: what a later scale-up finds again.
function keptTrays(cluster, set, places) {
  const templates = set.spec.volumeClaimTemplates ?? [];
  if (!templates.length) return [];
  const shown = new Set(places.flatMap((place) => claimNames(set, place)));
  const prefixes = templates.map((template) => `${template.metadata.name}-${set.metadata.name}-`);
  return cluster.claimsOf(set.metadata.namespace)
    .map((claim) => claim.metadata.name)
    .filter((name) => !shown.has(name) && prefixes.some((prefix) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length))));
}

function linkBetween(waits, before, after) {
  const forward = waits.get(after.ordinal);
  if (forward && forward.on <= before.ordinal) return { direction: "left", why: forward.why };
  const backward = waits.get(before.ordinal);
  if (backward && backward.on >= after.ordinal) return { direction: "right", why: backward.why };
  return null;
}

const Link = memo(
  ({ wait }) => html`<span class=${`link ${wait ? `waits ${wait.direction}` : ""}`} aria-hidden="true" title=${wait?.why ?? ""}></span>`,
  (one, other) => one.wait?.direction === other.wait?.direction && one.wait?.why === other.wait?.why,
);

const COLUMNS = ["", "Pet", "State", "Revision", "Restarts", "Address", "Name in DNS", "Volume", "Node", "Age"];

function Lines({ set, places, waits }) {
  const { cluster, use, now } = useShared();
  return html`<div class="lines"><table>
    <caption class="unseen">The pets of ${set.metadata.name}</caption>
    <thead><tr>${COLUMNS.map((column) => html`<th scope="col" key=${column}>${column}</th>`)}</tr></thead>
    <tbody>${places.map((place) => html`<${Line} key=${place.name} set=${set} pod=${place.pod} place=${place} wait=${waits.get(place.ordinal)}
      isOld=${isOld(set, place)} volume=${volumeOf(cluster, use, set, place)} age=${place.pod ? age(place.pod.metadata.creationTimestamp, now) : ""} />`)}</tbody>
  </table></div>`;
}

export function volumeOf(cluster, use, set, place) {
  const { namespace } = set.metadata;
  const claims = claimNames(set, place).map((name) => cluster.find("persistentvolumeclaims", namespace, name)).filter(Boolean);
  if (!claims.length) return "";
  if (claims.some((claim) => claim.status?.phase !== "Bound")) return `${claims.find((claim) => claim.status?.phase !== "Bound").metadata.name} is pending`;
  const size = claims.reduce((sum, claim) => sum + quantity(claim.status.capacity?.storage), 0);
  const used = use.bytesOf(namespace, claims.map((claim) => claim.metadata.name));
  return used ? `${bytes(used)} of ${bytes(size)}` : bytes(size);
}

const Line = memo(
  ({ place, pod, wait, isOld, volume, age }) => {
    const name = pod
      ? html`<a href=${addressOf("pets", { plural: "pods", namespace: pod.metadata.namespace, name: place.name })}>${place.name}</a>`
      : place.name;
    const why = wait ? `waits for ${wait.on}` : whyOf(pod);
    return html`<tr class=${place.state} data-line=${place.name}>
      <td class="dot"><span class=${`dot ${place.state}`}></span></td>
      <th scope="row">${name}</th>
      <td class="state">${STATES[place.state]}${why && html` <span class="why" title=${why}>${why}</span>`}</td>
      <td class=${isOld ? "old-revision" : ""}>${shortRevision(revisionOf(pod))}</td>
      <td class="figure">${pod ? restarts(pod) : ""}</td>
      <td class="mono">${pod?.status?.podIP ?? ""}</td>
      <td class="mono dns" title=${pod ? dnsName(pod) : ""}>${pod ? dnsName(pod).replace(/\.svc\.cluster\.local$/, "") : ""}</td>
      <td>${volume}</td>
      <td>${pod?.spec.nodeName ?? ""}</td>
      <td class="figure">${age}</td>
    </tr>`;
  },
  (one, other) =>
    one.pod === other.pod && one.place.state === other.place.state && one.wait?.on === other.wait?.on && one.isOld === other.isOld &&
    one.volume === other.volume && one.age === other.age,
);
