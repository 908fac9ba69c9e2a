// The API as this page speaks it: requests by the session's cookie, refusals as errors with the server's sentence, and
// WebSockets, of which a browser may have many where it has six connections.

export class ApiError extends Error {
  constructor(code, status) {
    super(status.message || `the server answered ${code}`);
    this.code = code;
    this.status = status;
  }
}

export async function ask(method, path, { body, type = "application/json", accept = "application/json", signal } = {}) {
  const headers = { accept };
  if (body !== undefined) headers["content-type"] = type;
  const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(path, { method, headers, body: sent, signal });
  if (answer.ok) return accept.startsWith("application/json") ? answer.json() : answer.text();
  const status = await answer.json().catch(() => ({}));
  if (answer.status === 401) signedOut();
  throw new ApiError(answer.status, status);
}

export const get = (path, options) => ask("GET", path, options);
export const patch = (path, body, type = "application/merge-patch+json") => ask("PATCH", path, { body, type });

let isLeaving = false;

// The session has ended, or petset began anew: the page that says how to sign in is at the same address.
function signedOut() {
  if (isLeaving) return;
  isLeaving = true;
  location.reload();
}

export function socket(path, protocols = []) {
  const opened = new WebSocket(`wss://${location.host}${path}`, protocols);
  opened.binaryType = "arraybuffer";
  return opened;
}

// Where objects are: the kinds that this page knows by itself.
export const KINDS = {
  pods: ["api/v1", "Pod"],
  services: ["api/v1", "Service"],
  nodes: ["api/v1", "Node"],
  namespaces: ["api/v1", "Namespace"],
  events: ["api/v1", "Event"],
  persistentvolumeclaims: ["api/v1", "PersistentVolumeClaim"],
  persistentvolumes: ["api/v1", "PersistentVolume"],
  statefulsets: ["apis/apps/v1", "StatefulSet"],
  petsets: ["apis/apps/v1alpha1", "PetSet"],
  deployments: ["apis/apps/v1", "Deployment"],
  replicasets: ["apis/apps/v1", "ReplicaSet"],
  daemonsets: ["apis/apps/v1", "DaemonSet"],
  controllerrevisions: ["apis/apps/v1", "ControllerRevision"],
  jobs: ["apis/batch/v1", "Job"],
  endpointslices: ["apis/discovery.k8s.io/v1", "EndpointSlice"],
  volumesnapshots: ["apis/snapshot.storage.k8s.io/v1", "VolumeSnapshot"],
};

export function pathOf(plural, namespace = "", name = "", subresource = "") {
  const parts = [KINDS[plural][0]];
  if (namespace) parts.push("namespaces", encodeURIComponent(namespace));
  parts.push(plural);
  if (name) parts.push(encodeURIComponent(name));
  if (subresource) parts.push(subresource);
  return `/${parts.join("/")}`;
}

export const pluralOf = (kind) => Object.keys(KINDS).find((plural) => KINDS[plural][1] === kind) ?? "";
