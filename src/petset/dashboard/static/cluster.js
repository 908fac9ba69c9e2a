// The cluster as it is now: each kind listed once and watched from there, by a WebSocket of its own.
//
// A watch that ends goes on from the revision it had seen; one that is told 410, or cannot be opened, begins with a new
// list. Failures are tried again after growing pauses with some chance in them. However many objects change, whoever
// shows them is told once a frame. Objects are replaced, never changed, so that what is the same object looks the same.

import { KINDS, get, pathOf, socket } from "./api.js";
import { ownerOf } from "./pets.js";

const PAUSE_MS_MIN = 400;
const PAUSE_MS_MAX = 20_000;
const MISSING_PAUSE_MS = 60_000; // Of a kind that this cluster does not have, or not yet.
const PAGE_OBJECTS = 500;
const FRAME_MS = 12;
const PAUSES_A_FRAME = 3;
const PAUSE_MS_MAX_BETWEEN = 400;
const QUIET_MS = 10_000; // A watch that lived so long was no failure.

export class Cluster {
  constructor() {
    this.kinds = Object.fromEntries(Object.keys(KINDS).map((plural) => [plural, new Followed(plural, () => this.changed())]));
    this.version = 0;
    this.rested = 0;
    this.listeners = new Set();
    this.asked = false;
  }

  begin() {
    for (const kind of Object.values(this.kinds)) kind.run();
  }

  all(plural) {
    return this.kinds[plural].objects;
  }

  find(plural, namespace, name) {
    return this.kinds[plural]?.objects.get(namespace ? `${namespace}/${name}` : name);
  }

  // Pods by the uid of who made them, read anew when one has changed.
  podsByOwner() {
    return this.derived("pods", "owner", (pod) => ownerOf(pod)?.uid ?? "");
  }

  claimsOf(namespace) {
    return this.derived("persistentvolumeclaims", "namespace", (claim) => claim.metadata.namespace).get(namespace) ?? [];
  }

  derived(plural, what, keyOf) {
    const kind = this.kinds[plural];
    const known = kind.groups.get(what);
    if (known?.changes === kind.changes) return known.groups;
    const groups = new Map();
    for (const object of kind.objects.values()) {
      const key = keyOf(object);
      if (groups.has(key)) groups.get(key).push(object);
      else groups.set(key, [object]);
    }
    kind.groups.set(what, { changes: kind.changes, groups });
    return groups;
  }

  get isRead() {
    return Object.values(this.kinds).every((kind) => kind.isListed || kind.isMissing);
  }

  // "" while all is well, else what is wrong, for people.
  get trouble() {
    return Object.values(this.kinds).find((kind) => kind.trouble)?.trouble ?? "";
  }

  changed() {
    if (this.asked) return;
    this.asked = true;
    setTimeout(() => requestAnimationFrame(() => this.tell()), Math.max(0, this.rested - performance.now()));
  }

  // A frame that took long is followed by a pause of some times as long, so that the page stays quick to whoever uses it.
  tell() {
    const began = performance.now();
    this.asked = false;
    this.version += 1;
    for (const listener of this.listeners) listener(this.version);
    setTimeout(() => {
      const took = performance.now() - began;
      this.rested = performance.now() + (took > FRAME_MS ? Math.min(took * PAUSES_A_FRAME, PAUSE_MS_MAX_BETWEEN) : 0);
    });
  }

  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

const keyOf = ({ metadata }) => (metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name);

// Who manages which field is for the editor, which asks anew: most of an object's size otherwise.
function slim(object) {
  delete object.metadata.managedFields;
  return object;
}

class Followed {
  constructor(plural, told) {
    Object.assign(this, { plural, told, objects: new Map(), groups: new Map(), changes: 0, isListed: false, isMissing: false, trouble: "", revision: "" });
  }

  async run() {
    let pause = PAUSE_MS_MIN;
    for (;;) {
      const began = performance.now();
      try {
        if (!this.revision) await this.list();
        this.say("");
        await this.watch();
      } catch (error) {
        this.isMissing = error.code === 404;
        this.say(this.isMissing ? "" : error.message || "the connection is lost");
      }
      pause = performance.now() - began > QUIET_MS ? PAUSE_MS_MIN : Math.min(pause * 2, PAUSE_MS_MAX);
      const wait = this.isMissing ? MISSING_PAUSE_MS : pause * (0.5 + Math.random() / 2);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  say(trouble) {
    if (this.trouble !== trouble || !this.isListed) {
      this.trouble = trouble;
      this.told();
    }
  }

  async list() {
    const [place, kind] = KINDS[this.plural];
    const apiVersion = place.replace(/^apis?\//, ""); // Items of a list name neither.
    const found = new Map();
    let next = "";
    let page;
    do {
      page = await get(`${pathOf(this.plural)}?limit=${PAGE_OBJECTS}${next && `&continue=${encodeURIComponent(next)}`}`);
      for (const object of page.items) {
        const key = keyOf(object);
        const known = this.objects.get(key);
        const isSame = known?.metadata.resourceVersion === object.metadata.resourceVersion;
        found.set(key, isSame ? known : slim({ apiVersion, kind, ...object }));
      }
      next = page.metadata.continue;
    } while (next);
    this.objects = found;
    this.changes += 1;
    this.revision = page.metadata.resourceVersion;
    this.isListed = true;
    this.isMissing = false;
    this.told();
  }

  // Until the watch ends. Fails when it could not be opened: then all is listed again.
  watch() {
    return new Promise((resolve, reject) => {
      const query = `watch=true&allowWatchBookmarks=true&resourceVersion=${this.revision}`;
      const opened = socket(`${pathOf(this.plural)}?${query}`);
      let isOpen = false;
      opened.onopen = () => (isOpen = true);
      opened.onmessage = ({ data }) => this.take(JSON.parse(data), opened);
      opened.onclose = () => {
        if (isOpen) return resolve();
        this.revision = "";
        reject(new Error("cannot reach petset: it does not answer; trying again"));
      };
    });
  }

  take({ type, object }, opened) {
    if (type === "ERROR") {
      this.revision = ""; // 410: what was missed is gone. Anything else: better begin anew, too.
      opened.close();
      return;
    }
    this.revision = object.metadata.resourceVersion;
    if (type === "BOOKMARK") return;
    this.changes += 1;
    if (type === "DELETED") this.objects.delete(keyOf(object));
    else this.objects.set(keyOf(object), slim(object));
    this.told();
  }
}
