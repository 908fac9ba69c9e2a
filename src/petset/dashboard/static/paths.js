// The path of what is chosen: of a kind that this page knows, or one found by discovery, which is chosen by its place.

import { KINDS, pathOf } from "./api.js";

export function pathOfChosen({ plural, namespace, name }) {
  if (KINDS[plural]) return pathOf(plural, namespace, name);
  const at = plural.lastIndexOf("/"); // apis/group/version/plural
  const parts = [plural.slice(0, at), ...(namespace ? ["namespaces", encodeURIComponent(namespace)] : []), plural.slice(at + 1), encodeURIComponent(name)];
  return `/${parts.join("/")}`;
}
