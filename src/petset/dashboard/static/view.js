// What all views are made with: Preact by tagged templates, the cluster as it is at this frame, and the address.
//
// The address after # is what is shown: #/pets, or #/pets/<plural>/<namespace>/<name>/<tab> with something chosen. So
// the browser's own back, forward and bookmarks work.

import { Component, Fragment, createContext, h, render } from "./vendor/preact.js";
import { useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
export { Fragment, render, useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState };

export const Shared = createContext(null);
export const useShared = () => useContext(Shared);

// A component that is made again only when what it is given is something else.
export function memo(Inner, isSame = shallow) {
  return class extends Component {
    shouldComponentUpdate(next) {
      return !isSame(this.props, next);
    }
    render(props) {
      return html`<${Inner} ...${props} />`;
    }
  };
}

function shallow(one, other) {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

export const VIEWS = { pets: "Pets", map: "Network & storage", timeline: "Timeline", objects: "Objects" };
const NO_NAMESPACE = "-";

export function placeNow() {
  const [view, plural = "", namespace = "", name = "", tab = ""] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const chosen = name ? { plural, namespace: namespace === NO_NAMESPACE ? "" : namespace, name } : null;
  return { view: VIEWS[view] ? view : "pets", chosen, tab };
}

export function addressOf(view, chosen = null, tab = "") {
  const parts = chosen ? [chosen.plural, chosen.namespace || NO_NAMESPACE, chosen.name, ...(tab ? [tab] : [])] : [];
  return `#/${[view, ...parts.map(encodeURIComponent)].join("/")}`;
}

export function go(view, chosen, tab) {
  location.hash = addressOf(view, chosen, tab);
}

export const isChosen = (chosen, plural, namespace, name) => chosen?.plural === plural && chosen.namespace === namespace && chosen.name === name;

// Which objects are shown, of all namespaces for "", and in which order.
export const isIn = (namespace) => (object) => !namespace || object.metadata.namespace === namespace;
export const byName = (one, other) => one.metadata.namespace?.localeCompare(other.metadata.namespace) || one.metadata.name.localeCompare(other.metadata.name, undefined, { numeric: true });

// The time now, told again every so many milliseconds to whoever shows ages.
export function useNow(milliseconds) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || set(Date.now()), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
  return now;
}
