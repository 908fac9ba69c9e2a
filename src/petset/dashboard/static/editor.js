// Any object as YAML, changed by server-side apply: what others own is theirs until one says to take it over.

import { ApiError, get, patch } from "./api.js";
import { html, useEffect, useState } from "./view.js";

const MANAGER = "petset-dashboard";
const OF_THE_SERVER = ["managedFields", "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"];

const yaml = () => import("./vendor/yaml.js");

// What is shown of an object, and applied: without what only the server writes. The revision stays: who applies to what
// has changed meanwhile is told so.
function shown(object) {
  const metadata = Object.fromEntries(Object.entries(object.metadata).filter(([key]) => !OF_THE_SERVER.includes(key)));
  const { status, ...rest } = { ...object, metadata };
  return rest;
}

export function Editor({ path }) {
  const [text, put] = useState("");
  const [original, keep] = useState("");
  const [said, say] = useState({ text: "reading" });
  const [conflict, meet] = useState(false);
  const read = async () => {
    try {
      const [{ dump }, object] = await Promise.all([yaml(), get(path)]);
      const written = dump(shown(object), { lineWidth: -1, noRefs: true });
      keep(written);
      put(written);
      meet(false);
      say({ text: "" });
    } catch (error) {
      say({ text: error.message, isError: true });
    }
  };
  useEffect(() => {
    read();
  }, [path]);
  const apply = async (isForced, isTrial) => {
    try {
      const { load } = await yaml();
      const object = load(text);
      if (!object?.metadata?.name) throw new Error("cannot apply this: it has no metadata.name");
      const query = `fieldManager=${MANAGER}${isForced ? "&force=true" : ""}${isTrial ? "&dryRun=All" : ""}`;
      await patch(`${path}?${query}`, object, "application/apply-patch+yaml");
      if (isTrial) return say({ text: "the server would take it" });
      await read();
      say({ text: "applied" });
    } catch (error) {
      meet(error instanceof ApiError && error.code === 409 && error.status.details?.causes?.some((cause) => cause.reason === "FieldManagerConflict"));
      say({ text: error.message, isError: true });
    }
  };
  const isChanged = text !== original;
  return html`<div class="editor">
    <div class="log-bar"><span class=${said.isError ? "error" : ""} role="status">${said.text}</span></div>
    <textarea spellcheck="false" autocapitalize="off" aria-label="The object as YAML" value=${text} onInput=${(event) => put(event.target.value)}></textarea>
    <div class="buttons"><button type="button" class="plain" onClick=${read}>Read anew</button><span class="gap"></span>
      ${conflict && html`<button type="button" class="danger" onClick=${() => apply(true)}>Take these fields over</button>`}
      <button type="button" class="plain" disabled=${!isChanged} onClick=${() => apply(false, true)}>Try</button>
      <button type="button" class="main" disabled=${!isChanged} onClick=${() => apply(false)}>Apply</button></div>
  </div>`;
}
