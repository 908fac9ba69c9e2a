// Sets as rows of numbered pets: what goes on, who waits for whom, and each pet's facts in a line.

import { pluralOf } from "./api.js";
import { age, bytes, claimNames, dnsName, isReady, placesOf, quantity, restarts, revisionOf, shortRevision, STATES, story, whyOf } from "./pets.js";
import { Token, isOld } from "./tokens.js";
import { addressOf, go, html, isChosen, memo, useLayoutEffect, useMemo, useRef, useShared, useState } from "./view.js";

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
  const plural = pluralOf(set.kind);
  const ready = places.filter((place) => place.isWanted && place.pod && isReady(place.pod)).length;
  const kept = useMemo(() => keptTrays(cluster, set, places), [cluster.kinds.persistentvolumeclaims.changes, set, places.length]);
  const tokens = useRef(new Map());
  const choosePet = (place) => place.pod && go("pets", { plural: "pods", namespace, name: place.name });
  const chained = places.length <= CHAIN_MAX;
  const updating = set.status?.updateRevision && set.status.currentRevision !== set.status.updateRevision;
  return html`<section class=${`set ${told.tone} ${isChosen(chosen, plural, namespace, name) ? "chosen" : ""}`} aria-label=${`${set.kind} ${name}`} data-set=${name}>
    <header>
      <h2><a href=${addressOf("pets", { plural, namespace, name })}>${name}</a></h2>
      <span class="kind">${set.kind}</span><span class="namespace">${namespace}</span>
      <span class="gap"></span>
      ${updating && html`<span class="revision" title="from revision, to revision">${shortRevision(set.status.currentRevision ?? "")} → ${shortRevision(set.status.updateRevision)}</span>`}
      <span class="ready-count"><strong>${ready}</strong> of ${set.spec.replicas ?? 1} ready</span>
    </header>
    <p class="story" role="status">${told.text}</p>
    <div class=${`rail ${places.length > SMALL_TOKENS ? "small" : ""}`}>
      ${places.flatMap((place, index) => {
        const facts = [place.pod, place.state, place.isWanted, isOld(set, place), told.waits.get(place.ordinal)?.on, claimsState(cluster, set, place),
          use.ofClaims(namespace, claimNames(set, place)), isChosen(chosen, "pods", namespace, place.name)];
        const token = sameOr(tokens.current, place.name, facts, () => html`<${Token} key=${place.name} place=${place} isOld=${facts[3]} wait=${told.waits.get(place.ordinal)}
          claims=${facts[5]} use=${facts[6]} isChosen=${facts[7]} onChoose=${choosePet} />`);
        return index > 0 && chained ? [html`<${Link} key=${`link-${place.ordinal}`} wait=${linkBetween(told.waits, places[index - 1], place)} />`, token] : [token];
      })}
      ${kept.length > 0 && html`<span class="kept" title=${kept.join(", ")}>${kept.length === 1 ? "1 volume" : `${kept.length} volumes`} kept for later</span>`}
    </div>
    ${places.length > 0 && html`<button type="button" class="fold" aria-expanded=${isOpen} onClick=${() => open(!isOpen)}>
      ${isOpen ? "Fold" : places.length > 1 ? `All ${places.length} pets` : "The pet"}</button>`}
    ${isOpen && places.length > 0 && html`<${Lines} set=${set} places=${places} waits=${told.waits} />`}
  </section>`;
}

// The element that was made of the same facts before: Preact looks no further into what is the same.
function sameOr(made, key, facts, make) {
  const known = made.get(key);
  if (known && facts.every((fact, index) => fact === known.facts[index])) return known.element;
  const element = make();
  made.set(key, { facts, element });
  return element;
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

const LINE_PIXELS = 28;
const LINES_MAX = 80; // Of more pets only the lines that are seen are made, and some around them.
const LINES_AROUND = 20;

// Which lines of a long table are in sight: [from, to).
function useSeen(box, count) {
  const [range, see] = useState([0, Math.min(count, LINES_MAX)]);
  const isLong = count > LINES_MAX;
  useLayoutEffect(() => {
    if (!isLong) return;
    let isAsked = false;
    const look = () => {
      isAsked = false;
      const { top } = box.current.getBoundingClientRect();
      const from = Math.max(0, Math.floor(-top / LINE_PIXELS) - LINES_AROUND);
      const to = Math.min(count, from + Math.ceil(innerHeight / LINE_PIXELS) + 2 * LINES_AROUND);
      see((before) => (before[0] === from && before[1] === to ? before : [Math.min(from, count), to]));
    };
    const moved = () => {
      if (!isAsked) requestAnimationFrame(look);
      isAsked = true;
    };
    look();
    addEventListener("scroll", moved, { passive: true });
    addEventListener("resize", moved);
    return () => {
      removeEventListener("scroll", moved);
      removeEventListener("resize", moved);
    };
  }, [isLong, count]);
  return isLong ? range : [0, count];
}

const COLUMNS = ["", "Pet", "State", "Revision", "Restarts", "Address", "Name in DNS", "Volume", "Node", "Age"];

function Lines({ set, places, waits }) {
  const { cluster, use, now } = useShared();
  const box = useRef();
  const [from, to] = useSeen(box, places.length);
  return html`<div class="lines" ref=${box}><table aria-rowcount=${places.length + 1}>
    <caption class="unseen">The pets of ${set.metadata.name}</caption>
    <thead><tr>${COLUMNS.map((column) => html`<th scope="col" key=${column}>${column}</th>`)}</tr></thead>
    <tbody>${from > 0 && html`<tr key="above" class="beyond" aria-hidden="true"><td colspan=${COLUMNS.length} style=${{ height: `${from * LINE_PIXELS}px` }}></td></tr>`}
      ${places.slice(from, to).map((place) => html`<${Line} key=${place.name} set=${set} pod=${place.pod} place=${place} wait=${waits.get(place.ordinal)}
      isOld=${isOld(set, place)} volume=${volumeOf(cluster, use, set, place)} age=${place.pod ? age(place.pod.metadata.creationTimestamp, now) : ""} />`)}
      ${to < places.length && html`<tr key="below" class="beyond" aria-hidden="true"><td colspan=${COLUMNS.length} style=${{ height: `${(places.length - to) * LINE_PIXELS}px` }}></td></tr>`}</tbody>
  </table></div>`;
}

function volumeOf(cluster, use, set, place) {
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
