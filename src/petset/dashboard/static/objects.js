// Any object of any kind that the API has, found by discovery and shown in the server's own tables.

import { KINDS, get } from "./api.js";
import { addressOf, html, useEffect, useMemo, useShared, useState } from "./view.js";

const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1";
const KIND_KEY = "petset-kind";
const ROWS_MAX = 500;

async function discovered() {
  const [core, groups] = await Promise.all(["/api", "/apis"].map((path) => get(path, { accept: DISCOVERY })));
  return [...core.items, ...groups.items].flatMap((group) => {
    const { version, resources = [] } = group.versions[0];
    const name = group.metadata.name ?? "";
    const place = name ? `apis/${name}/${version}` : `api/${version}`;
    return resources.filter((one) => one.verbs.includes("list")).map((one) => ({ place, plural: one.resource, kind: one.responseKind.kind, isNamespaced: one.scope === "Namespaced", group: name }));
  });
}

const chosenAs = ({ place, plural }) => (KINDS[plural]?.[0] === place ? plural : `${place}/${plural}`);

export function ObjectsView() {
  const { cluster, namespace, version } = useShared();
  const [kinds, hold] = useState([]);
  const [wanted, want] = useState(sessionStorage.getItem(KIND_KEY) ?? "apis/apps/v1/statefulsets");
  const [table, show] = useState(null);
  const [sought, seek] = useState("");
  const [failure, fail] = useState("");
  useEffect(() => {
    discovered().then(hold, (error) => fail(error.message));
  }, []);
  const kind = kinds.find((one) => `${one.place}/${one.plural}` === wanted);
  const changes = kind && cluster.kinds[chosenAs(kind)]?.changes;
  useEffect(() => {
    if (!kind) return;
    let isOver = false;
    const path = `/${kind.place}${kind.isNamespaced && namespace ? `/namespaces/${namespace}` : ""}/${kind.plural}?limit=${ROWS_MAX}`;
    get(path, { accept: TABLE }).then((found) => !isOver && (show(found), fail("")), (error) => !isOver && fail(error.message));
    return () => {
      isOver = true;
    };
  }, [kind, namespace, changes]);
  const choose = (event) => {
    sessionStorage.setItem(KIND_KEY, event.target.value);
    show(null);
    want(event.target.value);
  };
  const groups = useMemo(() => [...new Set(kinds.map((one) => one.group))], [kinds]);
  const columns = (table?.columnDefinitions ?? []).map((column, index) => ({ ...column, index })).filter((column) => !column.priority);
  const rows = (table?.rows ?? []).filter((row) => !sought || JSON.stringify(row.cells).toLowerCase().includes(sought.toLowerCase()));
  return html`<section aria-label="Objects">
    <div class="bar"><label><span class="unseen">Kind</span><select class="field" value=${wanted} onChange=${choose}>${groups.map((group) => html`<optgroup key=${group} label=${group || "core"}>${kinds.filter((one) => one.group === group).map((one) => html`<option key=${one.plural} value=${`${one.place}/${one.plural}`}>${one.kind}</option>`)}</optgroup>`)}</select></label>
      <label><span class="unseen">Search</span><input class="field" type="search" placeholder="words" value=${sought} onInput=${(event) => seek(event.target.value)} /></label><span class="soft">${table && `${rows.length} shown`}${table?.metadata.continue ? `, of more than ${ROWS_MAX}` : ""}</span></div>
    ${failure && html`<p class="error" role="alert">${failure}</p>`}
    ${table && !rows.length && html`<p class="soft">There are none.</p>`}
    ${rows.length > 0 && html`<div class="card lines"><table><thead><tr>${kind?.isNamespaced && !namespace && html`<th scope="col">Namespace</th>`}${columns.map((column) => html`<th scope="col" key=${column.name}>${column.name}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.object.metadata.uid}>${kind?.isNamespaced && !namespace && html`<td>${row.object.metadata.namespace}</td>`}
        ${columns.map((column) => (column.name === "Name" ? html`<th scope="row" key="Name"><a href=${addressOf("objects", { plural: chosenAs(kind), namespace: row.object.metadata.namespace ?? "", name: row.object.metadata.name })}>${row.cells[column.index]}</a></th>` : html`<td key=${column.name}>${String(row.cells[column.index] ?? "")}</td>`))}</tr>`)}</tbody></table></div>`}
  </section>`;
}
