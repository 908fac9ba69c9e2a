// What is chosen, beside the view: a pet, a set, or any object; its facts, log, terminal, events and YAML, and what can be done.

import { deleteAny, deletePod, deleteSet, restart, rollBack, scale, snapshot } from "./actions.js";
import { KINDS, get, pluralOf } from "./api.js";
import { Question } from "./dialog.js";
import { Editor } from "./editor.js";
import { Logs } from "./logs.js";
import { age, bytes, claimNames, dnsName, isPetSet, mountedClaims, ordinalOf, ownerOf, placesOf, quantity, restarts, revisionOf, shortRevision, stateOf, STATES, story, whyOf } from "./pets.js";
import { pathOfChosen } from "./paths.js";
import { Plot, cores } from "./plot.js";
import { TerminalTab } from "./terminal.js";
import { Events, newest } from "./timeline.js";
import { Token, isOld } from "./tokens.js";
import { claimsState } from "./sets.js";
import { Fragment, addressOf, go, html, useEffect, useRef, useShared, useState } from "./view.js";
import { Why } from "./why.js";

const TABS = { pods: { facts: "Facts", log: "Log", terminal: "Terminal", events: "Events", yaml: "YAML" }, others: { facts: "Facts", events: "Events", yaml: "YAML" } };

export function Inspector({ view, chosen, tab }) {
  const { cluster, now } = useShared();
  const [fetched, hold] = useState(null);
  const [action, ask] = useState(null);
  const panel = useRef();
  const path = pathOfChosen(chosen);
  const live = cluster.find(chosen.plural, chosen.namespace, chosen.name);
  useEffect(() => {
    hold(null);
    if (!KINDS[chosen.plural]) get(path).then(hold, () => hold({ isGone: true }));
    panel.current?.focus({ preventScroll: true });
  }, [path]);
  const last = useRef(null);
  const object = live ?? (fetched?.isGone ? null : fetched);
  if (object) last.current = { path, object };
  const shown = object ?? (last.current?.path === path ? last.current.object : null);
  const close = () => go(view);
  const tabs = TABS[chosen.plural === "pods" ? "pods" : "others"];
  const current = tabs[tab] ? tab : "facts";
  const keys = (event) => {
    const names = Object.keys(tabs);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = names[(names.indexOf(current) + step + names.length) % names.length];
    go(view, chosen, next);
    requestAnimationFrame(() => document.getElementById(`tab-${next}`)?.focus());
  };
  return html`<aside class=${`inspector ${current === "facts" || current === "events" ? "" : "wide"}`} aria-label=${`${chosen.name}, chosen`} tabindex="-1" ref=${panel} onKeyDown=${(event) => event.key === "Escape" && current !== "terminal" && close()}>
    <header><${Heading} object=${shown} chosen=${chosen} /><span class="gap"></span><button type="button" class="close" aria-label="Close" onClick=${close}>✕</button></header>
    ${shown && !object && (cluster.isRead || fetched?.isGone) && html`<p class="gone" role="status">It is gone; this is how it last was.</p>`}
    ${!shown && html`<p class="soft pad">${cluster.isRead && KINDS[chosen.plural] ? "There is no such object (any more)." : "Reading …"}</p>`}
    ${shown && html`<${Fragment}>
      <div class="tabs" role="tablist" onKeyDown=${keys}>${Object.entries(tabs).map(([name, title]) => html`<a key=${name} id=${`tab-${name}`} role="tab" aria-selected=${current === name} tabindex=${current === name ? 0 : -1} href=${addressOf(view, chosen, name)}>${title}</a>`)}</div>
      <div class="tab" role="tabpanel" aria-labelledby=${`tab-${current}`}><${Tab} object=${shown} chosen=${chosen} path=${path} current=${current} ask=${ask} now=${now} view=${view} /></div>
    <//>`}
    ${action && html`<${Question} action=${action} onClose=${() => ask(null)} />`}
  </aside>`;
}

function Heading({ object, chosen }) {
  const { cluster } = useShared();
  const kind = object?.kind ?? KINDS[chosen.plural]?.[1] ?? "";
  const set = object && chosen.plural === "pods" ? setOf(cluster, object) : null;
  return html`${set && html`<${PlainToken} pod=${object} set=${set} />`}<div><h2>${chosen.name}</h2><p class="soft">${kind}${chosen.namespace && ` in ${chosen.namespace}`}</p></div>`;
}

function PlainToken({ pod, set }) {
  const { cluster, use } = useShared();
  const place = { ordinal: ordinalOf(pod.metadata.name), name: pod.metadata.name, pod, state: stateOf(pod), isWanted: true };
  return html`<${Token} place=${place} isOld=${isOld(set, place)} claims=${claimsState(cluster, set, place)} use=${use.ofClaims(pod.metadata.namespace, claimNames(set, place))} onChoose=${() => {}} />`;
}

function setOf(cluster, pod) {
  const owner = ownerOf(pod);
  return isPetSet(owner) ? cluster.find(pluralOf(owner.kind), pod.metadata.namespace, owner.name) : undefined;
}

function Tab({ object, chosen, path, current, ask, now, view }) {
  const { cluster } = useShared();
  if (current === "yaml") return html`<${Editor} path=${path} />`;
  if (current === "events") {
    const about = [...cluster.all("events").values()].filter((event) => event.involvedObject?.uid === object.metadata.uid || (event.involvedObject?.name === chosen.name && event.involvedObject?.kind === object.kind && (event.involvedObject.namespace ?? "") === chosen.namespace));
    return html`<${Events} events=${newest(about)} now=${now} view=${view} isAboutOne />`;
  }
  if (current === "log" || current === "terminal") return html`<${InContainer} key=${object.metadata.uid} pod=${object} current=${current} />`;
  if (chosen.plural === "pods") return html`<${PetFacts} pod=${object} ask=${ask} now=${now} view=${view} />`;
  if (isPetSet(object)) return html`<${SetFacts} set=${object} ask=${ask} now=${now} view=${view} />`;
  return html`<${AnyFacts} object=${object} path=${path} ask=${ask} now=${now} chosen=${chosen} />`;
}

function InContainer({ pod, current }) {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map((one) => one.name);
  const [container, choose] = useState(all[0]);
  const [wasBefore, lookBack] = useState(false);
  return html`<div class="fill">
    <div class="bar">${all.length > 1 && html`<label>Container <select class="field" value=${container} onChange=${(event) => choose(event.target.value)}>${all.map((name) => html`<option key=${name}>${name}</option>`)}</select></label>`}
      ${current === "log" && restarts(pod) > 0 && html`<label class="check"><input type="checkbox" checked=${wasBefore} onChange=${(event) => lookBack(event.target.checked)} /> before its last restart</label>`}</div>
    ${current === "log" ? html`<${Logs} pod=${pod} container=${container} wasBefore=${wasBefore} />` : html`<${TerminalTab} pod=${pod} container=${container} />`}
  </div>`;
}

function Fact({ name, children }) {
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}

function To({ view, plural, namespace, name }) {
  return html`<a href=${addressOf(view, { plural, namespace, name })}>${name}</a>`;
}

function PetFacts({ pod, ask, now, view }) {
  const { cluster, use } = useShared();
  const set = setOf(cluster, pod);
  const { namespace, name } = pod.metadata;
  const why = whyOf(pod);
  const claims = mountedClaims(pod).map((claim) => cluster.find("persistentvolumeclaims", namespace, claim)).filter(Boolean);
  const series = use.pods.get(`${namespace}/${name}`);
  const place = set && placesOf(set, cluster.podsByOwner().get(set.metadata.uid) ?? []);
  const wait = set && story(set, place).waits.get(ordinalOf(name));
  const slices = [...cluster.all("endpointslices").values()].filter((slice) => slice.metadata.namespace === namespace && slice.endpoints?.some((one) => one.targetRef?.uid === pod.metadata.uid));
  const services = [...new Set(slices.map((slice) => slice.metadata.labels?.["kubernetes.io/service-name"]).filter(Boolean))];
  return html`<${Fragment}>
    <p class=${`says ${stateOf(pod)}`}><span class=${`dot ${stateOf(pod)}`}></span><strong>${STATES[stateOf(pod)]}</strong>${wait ? `, waits for number ${wait.on}: it ${wait.why}` : ""}</p>
    <${Why} chosen=${{ plural: "pods", namespace, name }} version=${pod.metadata.resourceVersion} otherwise=${why} />
    <div class="actions"><button type="button" class="plain" onClick=${() => ask(deletePod(pod, set))}>${set ? "Make anew …" : "Delete …"}</button>
      ${claims.map((claim) => cluster.kinds.volumesnapshots.isListed && html`<button type="button" class="plain" key=${claim.metadata.name} onClick=${() => ask(snapshot(claim))}>Snapshot ${claims.length > 1 ? claim.metadata.name : "its volume"} …</button>`)}</div>
    <div class="plots"><${Plot} title="CPU" series=${series} what="cpu" format=${cores} now=${now} /><${Plot} title="Memory" series=${series} what="memory" format=${bytes} now=${now} /></div>
    <dl class="facts">
      ${set && html`<${Fact} name="Set"><${To} view=${view} plural=${pluralOf(set.kind)} namespace=${namespace} name=${set.metadata.name} /><//>`}
      ${revisionOf(pod) && html`<${Fact} name="Revision"><code>${shortRevision(revisionOf(pod))}</code>${set && isOld(set, { pod }) ? " (older)" : ""}<//>`}
      ${pod.status?.podIP && html`<${Fact} name="Address"><code>${pod.status.podIP}</code><//>`}
      ${dnsName(pod) && html`<${Fact} name="Name in DNS"><code>${dnsName(pod)}</code><//>`}
      ${services.length > 0 && html`<${Fact} name="Behind">${services.map((service, index) => html`${index > 0 && ", "}<${To} view=${view} plural="services" namespace=${namespace} name=${service} />`)}<//>`}
      ${pod.spec.nodeName && html`<${Fact} name="Node"><${To} view=${view} plural="nodes" namespace="" name=${pod.spec.nodeName} /><//>`}
      ${claims.map((claim) => html`<${Fact} key=${claim.metadata.name} name="Volume"><${To} view=${view} plural="persistentvolumeclaims" namespace=${namespace} name=${claim.metadata.name} />, ${volumeWords(use, claim)}<//>`)}
      <${Fact} name="Age">${age(pod.metadata.creationTimestamp, now)}<//>
    </dl>
    <h3>Containers</h3>
    <ul class="containers">${pod.spec.containers.map((one) => html`<${Contained} key=${one.name} spec=${one} status=${pod.status?.containerStatuses?.find((status) => status.name === one.name)} />`)}</ul>
    <${Conditions} object=${pod} now=${now} />
  <//>`;
}

function volumeWords(use, claim) {
  if (claim.status?.phase !== "Bound") return html`<span class="soft">${claim.status?.phase?.toLowerCase() ?? "pending"}</span>`;
  const used = use.bytesOf(claim.metadata.namespace, [claim.metadata.name]);
  const size = bytes(quantity(claim.status.capacity?.storage));
  return used ? `${bytes(used)} of ${size}` : size;
}

function Contained({ spec, status }) {
  const [state] = Object.entries(status?.state ?? { waiting: {} })[0] ?? [];
  const detail = status?.state?.[state];
  const last = status?.lastState?.terminated;
  return html`<li><p><strong>${spec.name}</strong> <code class="soft">${spec.image}</code></p>
    <p>${state}${detail?.reason ? `: ${detail.reason}` : ""}${status?.restartCount ? `, ${status.restartCount} restarts` : ""}${last ? `; ended before with ${last.exitCode}${last.reason ? ` (${last.reason})` : ""}` : ""}</p>
    ${spec.ports?.length > 0 && html`<p class="soft">${spec.ports.map((port) => `${port.name ? `${port.name} ` : ""}${port.containerPort}`).join(", ")}</p>`}</li>`;
}

function Conditions({ object, now }) {
  const all = object.status?.conditions ?? [];
  if (!all.length) return null;
  return html`<h3>Conditions</h3><ul class="conditions">${all.map((one) => html`<li key=${one.type}><span class="mark">${one.status === "True" ? "✓" : one.status === "False" ? "✕" : "?"}</span> ${one.type}<span class="unseen"> is ${one.status}</span>
    <span class="soft"> ${one.lastTransitionTime ? `since ${age(one.lastTransitionTime, now)}` : ""}${one.status !== "True" && one.message ? `: ${one.message}` : ""}</span></li>`)}</ul>`;
}

function SetFacts({ set, ask, now, view }) {
  const { cluster } = useShared();
  const pods = cluster.podsByOwner().get(set.metadata.uid) ?? [];
  const told = story(set, placesOf(set, pods));
  const { namespace, name } = set.metadata;
  const strategy = set.spec.updateStrategy;
  const revisions = [...cluster.all("controllerrevisions").values()].filter((one) => one.metadata.ownerReferences?.some((owner) => owner.uid === set.metadata.uid)).sort((one, other) => other.revision - one.revision);
  const retention = set.spec.persistentVolumeClaimRetentionPolicy;
  return html`<${Fragment}>
    <p class=${`says ${told.tone}`}>${told.text}</p>
    <${Why} chosen=${{ plural: pluralOf(set.kind), namespace, name }} version=${set.metadata.resourceVersion} />
    <div class="actions"><button type="button" class="plain" onClick=${() => ask(scale(set))}>Scale …</button><button type="button" class="plain" onClick=${() => ask(restart(set))}>Restart …</button>
      <button type="button" class="plain" onClick=${() => ask(deleteSet(set, pods))}>Delete …</button></div>
    <dl class="facts">
      <${Fact} name="Pets">${set.spec.replicas ?? 1}${set.spec.podManagementPolicy === "Parallel" ? ", all at once" : ", in order"}<//>
      <${Fact} name="Updates">${strategy?.type ?? "RollingUpdate"}${strategy?.rollingUpdate?.partition ? `, held at ${strategy.rollingUpdate.partition}` : ""}<//>
      ${set.spec.serviceName && html`<${Fact} name="Service"><${To} view=${view} plural="services" namespace=${namespace} name=${set.spec.serviceName} /><//>`}
      ${(set.spec.volumeClaimTemplates ?? []).map((one) => html`<${Fact} key=${one.metadata.name} name="Volume of each">${one.metadata.name}, ${bytes(quantity(one.spec.resources?.requests?.storage))}<//>`)}
      ${set.spec.volumeClaimTemplates?.length > 0 && html`<${Fact} name="Claims">${retention?.whenScaled === "Delete" ? "deleted when scaled down" : "stay when scaled down"}; ${retention?.whenDeleted === "Delete" ? "deleted with the set" : "stay when it is deleted"}<//>`}
      <${Fact} name="Images">${set.spec.template.spec.containers.map((one) => html`<code key=${one.name}>${one.image}</code> `)}<//>
      <${Fact} name="Age">${age(set.metadata.creationTimestamp, now)}<//>
    </dl>
    ${revisions.length > 0 && html`<h3>Revisions</h3><ul class="revisions">${revisions.map((one) => html`<li key=${one.metadata.uid}><span class="figure">${one.revision}</span> <code>${shortRevision(one.metadata.name)}</code>
      <span class="soft">${pods.filter((pod) => revisionOf(pod) === one.metadata.name).length} pets</span><span class="gap"></span>
      ${one.metadata.name === set.status?.updateRevision ? html`<span class="soft">now</span>` : html`<button type="button" class="plain" onClick=${() => ask(rollBack(set, one))}>Roll back …</button>`}</li>`)}</ul>`}
  <//>`;
}

function AnyFacts({ object, path, ask, now, chosen }) {
  const { use } = useShared();
  const labels = Object.entries(object.metadata.labels ?? {});
  const series = chosen.plural === "nodes" ? use.nodes.get(chosen.name) : null;
  return html`<${Fragment}>
    <${Why} chosen=${chosen} version=${object.metadata.resourceVersion} />
    <div class="actions"><button type="button" class="plain" onClick=${() => ask(deleteAny(object, path))}>Delete …</button></div>
    ${series && html`<div class="plots"><${Plot} title="CPU" series=${series} what="cpu" format=${cores} now=${now} /><${Plot} title="Memory" series=${series} what="memory" format=${bytes} now=${now} /></div>`}
    <dl class="facts">${factsOf(object).map(([name, value]) => html`<${Fact} key=${name} name=${name}>${value}<//>`)}
      ${labels.length > 0 && html`<${Fact} name="Labels"><span class="labels">${labels.map(([key, value]) => html`<code key=${key}>${key}=${value}</code>`)}</span><//>`}
      <${Fact} name="Age">${age(object.metadata.creationTimestamp, now)}<//></dl>
    <${Conditions} object=${object} now=${now} />
  <//>`;
}

// What one wants to know first of the kinds that this page shows; of others what all have.
function factsOf(object) {
  const { spec = {}, status = {} } = object;
  const ports = (list) => (list ?? []).map((port) => `${port.name ? `${port.name} ` : ""}${port.port}${port.targetPort ? ` → ${port.targetPort}` : ""}`).join(", ");
  const facts = {
    Service: () => [["Type", spec.clusterIP === "None" ? "headless: its name answers with the pets' addresses" : spec.type], ["Address", spec.clusterIP === "None" ? "" : spec.clusterIP], ["Name in DNS", `${object.metadata.name}.${object.metadata.namespace}.svc.cluster.local`], ["Ports", ports(spec.ports)], ["Of pods with", Object.entries(spec.selector ?? {}).map(([key, value]) => `${key}=${value}`).join(", ")]],
    PersistentVolumeClaim: () => [["Phase", status.phase], ["Size", bytes(quantity(status.capacity?.storage ?? spec.resources?.requests?.storage))], ["Volume", spec.volumeName], ["Class", spec.storageClassName], ["Access", (spec.accessModes ?? []).join(", ")]],
    PersistentVolume: () => [["Phase", status.phase], ["Size", bytes(quantity(spec.capacity?.storage))], ["Claim", spec.claimRef ? `${spec.claimRef.namespace}/${spec.claimRef.name}` : ""], ["When released", spec.persistentVolumeReclaimPolicy], ["Where", spec.hostPath?.path ?? spec.local?.path]],
    Node: () => [["Address", status.addresses?.find((one) => one.type === "InternalIP")?.address], ["Pods' network", spec.podCIDR], ["Room", `${status.allocatable?.cpu} CPU, ${bytes(quantity(status.allocatable?.memory))}, ${status.allocatable?.pods} pods`], ["Taints", (spec.taints ?? []).map((one) => `${one.key}:${one.effect}`).join(", ")], ["Version", status.nodeInfo?.kubeletVersion]],
  };
  return (facts[object.kind]?.() ?? [["Phase", status.phase]]).filter(([, value]) => value);
}
