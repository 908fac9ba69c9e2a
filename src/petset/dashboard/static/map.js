// Network and storage as a picture: Services on the left, nodes with their pods in the middle, volumes on the right.
//
// A line from a Service leads to the pods that its EndpointSlices name: whole to who is ready, dashed to who is not. A pod's
// volume is in its own row, so that the line is straight. What is pointed at, or has the focus, keeps its lines; others fade.

import { bytes, isPetSet, isTrue, mountedClaims, ordinalOf, quantity, stateOf, STATES } from "./pets.js";
import { addressOf, byName, html, isIn, useMemo, useShared, useState } from "./view.js";

const ROW = 34;
const HEAD = 30;
const PAD = 12;
const PODS_MAX = 250;
const SERVICE = { x: 0, width: 250 };
const NODE = { x: 400, width: 290 };
const CLAIM = { x: 800, width: 330 };
const WIDTH = CLAIM.x + CLAIM.width;

export function MapView() {
  const { cluster, use, namespace, version } = useShared();
  const [lit, light] = useState("");
  const picture = useMemo(() => laidOut(cluster, namespace), [version, namespace]);
  const { services, nodes, pods, claims, links, height, left } = picture;
  const near = useMemo(() => (lit ? new Set([lit, ...links.filter((link) => link.from === lit || link.to === lit).flatMap((link) => [link.from, link.to])]) : null), [lit, picture]);
  const faded = (key) => (near && !near.has(key) ? " faded" : "");
  const point = (key) => ({ onMouseEnter: () => light(key), onMouseLeave: () => light(""), onFocus: () => light(key), onBlur: () => light("") });
  if (!pods.length && !services.length) return html`<div class="empty"><h2>Nothing to draw</h2><p>${cluster.isRead ? "There are no pods and Services here." : "Reading …"}</p></div>`;
  return html`<section aria-label="Network and storage" class="map">
    ${left > 0 && html`<p class="soft">${left} more pods are not drawn: choose a namespace.</p>`}
    <svg viewBox=${`0 0 ${WIDTH} ${height}`} width=${WIDTH} height=${height} role="group" aria-label="Services, the pods behind them by node, and their volumes">
      <g class="headings"><text x=${SERVICE.x} y="16">Services, as DNS answers them</text><text x=${NODE.x} y="16">Nodes and their pods</text><text x=${CLAIM.x} y="16">Claims and volumes</text></g>
      <g>${links.map((link) => html`<path key=${`${link.from} ${link.to}`} class=${`wire ${link.kind}${near && link.from !== lit && link.to !== lit ? " faded" : ""}`} d=${link.d} />`)}</g>
      ${nodes.map((node) => html`<g key=${node.key}><rect class=${`node ${node.isReady ? "" : "lost"}`} x=${NODE.x - PAD} y=${node.y} width=${NODE.width + 2 * PAD} height=${node.height} rx="12" />
        <a href=${node.object ? addressOf("map", { plural: "nodes", namespace: "", name: node.name }) : undefined}><text class="title" x=${NODE.x} y=${node.y + 20}>${node.name}</text></a>
        <text class="detail" x=${NODE.x + NODE.width} y=${node.y + 20} text-anchor="end">${node.detail}</text></g>`)}
      ${services.map((service) => html`<a key=${service.key} class=${`item${faded(service.key)}`} href=${addressOf("map", { plural: "services", namespace: service.namespace, name: service.name })} aria-label=${service.spoken} ...${point(service.key)}>
        <rect x=${SERVICE.x} y=${service.y} width=${SERVICE.width} height=${ROW + 10} rx="9" /><text class="title" x=${SERVICE.x + 12} y=${service.y + 18}>${service.name}<tspan class="detail" dx="8">${service.namespace}</tspan></text>
        <text class="detail" x=${SERVICE.x + 12} y=${service.y + 35}>${service.detail}</text></a>`)}
      ${pods.map((pod) => html`<a key=${pod.key} class=${`pod ${pod.state}${faded(pod.key)}`} href=${addressOf("map", { plural: "pods", namespace: pod.namespace, name: pod.name })} aria-label=${`${pod.name}, ${STATES[pod.state]}`} ...${point(pod.key)}>
        <rect class="hit" x=${NODE.x - 4} y=${pod.y} width=${NODE.width + 8} height=${ROW - 4} rx="8" /><rect class="shape" x=${NODE.x + (pod.isPet ? 0 : 5)} y=${pod.y + (pod.isPet ? 3 : 6)} width=${pod.isPet ? 28 : 18} height=${pod.isPet ? 24 : 18} rx=${pod.isPet ? 7 : 9} /><text class="number" x=${NODE.x + 14} y=${pod.y + 20} text-anchor="middle">${pod.number}</text>
        <text class="title" x=${NODE.x + 38} y=${pod.y + 20}>${pod.shown}</text><text class="detail mono" x=${NODE.x + NODE.width} y=${pod.y + 20} text-anchor="end">${pod.address}</text></a>`)}
      ${claims.map((claim) => html`<a key=${claim.key} class=${`item claim ${claim.isBound ? "" : "pending"}${faded(claim.key)}`} href=${addressOf("map", { plural: "persistentvolumeclaims", namespace: claim.namespace, name: claim.name })} aria-label=${`claim ${claim.name}, ${claim.detail}`} ...${point(claim.key)}>
        <rect x=${CLAIM.x} y=${claim.y + 1} width=${CLAIM.width} height=${ROW - 6} rx="8" />
        ${claim.isBound && html`<rect class="fill" x=${CLAIM.x} y=${claim.y + ROW - 8} width=${Math.max(0, Math.min(1, use.ofClaims(claim.namespace, [claim.name]))) * CLAIM.width} height="4" rx="2" />`}
        <text class="title" x=${CLAIM.x + 12} y=${claim.y + 20}>${claim.shown}</text><text class="detail" x=${CLAIM.x + CLAIM.width - 12} y=${claim.y + 20} text-anchor="end">${claim.detail}</text></a>`)}
    </svg></section>`;
}

const count = (pods) => `${pods.length} pod${pods.length === 1 ? "" : "s"}`;
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const curve = (x1, y1, x2, y2) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;

// Where everything is: rows of pods by node give all the heights; nothing is measured in the page.
export function laidOut(cluster, namespace) {
  const all = [...cluster.all("pods").values()].filter(isIn(namespace)).filter((pod) => !["Succeeded", "Failed"].includes(pod.status?.phase)).sort(byName);
  const drawn = all.slice(0, PODS_MAX);
  const named = [...cluster.all("nodes").values()].sort(byName);
  const places = [...named.map((node) => ({ name: node.metadata.name, object: node })), { name: "no node yet", object: null }];
  const known = new Set(named.map((node) => node.metadata.name));
  const nodes = [];
  const pods = [];
  const claims = [];
  const links = [];
  const at = new Map(); // uid of a pod -> its row
  const claimed = new Set();
  let y = HEAD;
  const addClaim = (claim, row) => {
    const key = `c:${claim.metadata.uid}`;
    claimed.add(claim.metadata.uid);
    const isBound = claim.status?.phase === "Bound";
    const size = bytes(quantity(claim.status?.capacity?.storage ?? claim.spec.resources?.requests?.storage));
    claims.push({ key, y: row, namespace: claim.metadata.namespace, name: claim.metadata.name, shown: cut(claim.metadata.name, 30), isBound, detail: isBound ? size : `${size}, ${(claim.status?.phase ?? "pending").toLowerCase()}` });
    return key;
  };
  for (const place of places) {
    const here = drawn.filter((pod) => (place.object ? pod.spec.nodeName === place.name : !known.has(pod.spec.nodeName)));
    if (!here.length && !place.object) continue;
    const top = y;
    y += 30;
    for (const pod of here) {
      const key = `p:${pod.metadata.uid}`;
      const number = ordinalOf(pod.metadata.name);
      const isPet = pod.metadata.ownerReferences?.some(isPetSet);
      pods.push({ key, y, namespace: pod.metadata.namespace, name: pod.metadata.name, shown: cut(pod.metadata.name, 20), isPet, number: isPet ? number : "", state: stateOf(pod), address: pod.status?.podIP ?? "" });
      at.set(pod.metadata.uid, { key, y });
      const own = mountedClaims(pod).map((name) => cluster.find("persistentvolumeclaims", pod.metadata.namespace, name)).filter(Boolean);
      own.forEach((claim, index) => {
        const row = y + index * ROW;
        if (claimed.has(claim.metadata.uid)) {
          const there = claims.find((one) => one.key === `c:${claim.metadata.uid}`);
          links.push({ from: key, to: there.key, kind: "tray", d: curve(NODE.x + NODE.width + 6, y + ROW / 2 - 2, CLAIM.x, there.y + ROW / 2 - 2) });
          return;
        }
        links.push({ from: key, to: addClaim(claim, row), kind: "tray", d: curve(NODE.x + NODE.width + 6, y + ROW / 2 - 2, CLAIM.x, row + ROW / 2 - 2) });
      });
      y += ROW * Math.max(1, own.length);
    }
    y += 8;
    const ready = isTrue(place.object, "Ready");
    nodes.push({ key: `n:${place.name}`, name: place.name, object: place.object, y: top, height: y - top, isReady: !place.object || ready, detail: place.object ? (ready ? count(here) : "silent") : count(here) });
    y += 14;
  }
  const used = new Set(all.slice(PODS_MAX).flatMap((pod) => mountedClaims(pod).map((name) => `${pod.metadata.namespace}/${name}`)));
  const isLoose = (claim) => !claimed.has(claim.metadata.uid) && !used.has(`${claim.metadata.namespace}/${claim.metadata.name}`);
  const loose = [...cluster.all("persistentvolumeclaims").values()].filter(isIn(namespace)).filter(isLoose).sort(byName).slice(0, PODS_MAX);
  for (const claim of loose) {
    addClaim(claim, y);
    claims.at(-1).detail += ", kept";
    y += ROW;
  }
  const services = placedServices(cluster, namespace, at, links);
  const bottom = services.reduce((most, service) => Math.max(most, service.y + ROW + 20), y + 10);
  return { services, nodes, pods, claims, links, height: bottom, left: all.length - drawn.length };
}

function placedServices(cluster, namespace, at, links) {
  const behind = new Map();
  for (const slice of cluster.all("endpointslices").values()) {
    const key = `${slice.metadata.namespace}/${slice.metadata.labels?.["kubernetes.io/service-name"]}`;
    behind.set(key, [...(behind.get(key) ?? []), ...(slice.endpoints ?? [])]);
  }
  const found = [...cluster.all("services").values()].filter(isIn(namespace)).map((service) => {
    const { namespace: space, name, uid } = service.metadata;
    const endpoints = behind.get(`${space}/${name}`) ?? [];
    const rows = endpoints.map((one) => ({ ...at.get(one.targetRef?.uid), isReady: one.conditions?.ready !== false })).filter((one) => one.key);
    const ready = endpoints.filter((one) => one.conditions?.ready !== false).length;
    const address = service.spec.clusterIP === "None" ? "headless" : (service.spec.clusterIP ?? service.spec.externalName ?? "");
    const ports = (service.spec.ports ?? []).map((port) => port.port).join(", ");
    const detail = cut([address, ports, `${ready} of ${endpoints.length} ready`].filter(Boolean).join(" · "), 40);
    const wanted = rows.length ? rows.reduce((sum, row) => sum + row.y, 0) / rows.length : Infinity;
    return { key: `s:${uid}`, namespace: space, name: cut(name, 26), detail, rows, wanted, spoken: `Service ${name}, ${detail}` };
  });
  found.sort((one, other) => one.wanted - other.wanted || one.name.localeCompare(other.name));
  let y = HEAD;
  for (const service of found) {
    service.y = Math.max(y, Number.isFinite(service.wanted) ? service.wanted - 6 : y);
    y = service.y + ROW + 20;
    for (const row of service.rows) {
      links.push({ from: service.key, to: row.key, kind: row.isReady ? "endpoint" : "endpoint unready", d: curve(SERVICE.x + SERVICE.width, service.y + ROW / 2 + 5, NODE.x - 4, row.y + ROW / 2 - 2) });
    }
  }
  return found;
}
