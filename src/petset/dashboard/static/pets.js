// What a set and its pets are, and who waits for whom: pure functions of objects as the API has them.
//
// A set has a place for each number it wants, whether or not there is a pet in it, and for each pet that is one too
// many. `story` says in a sentence what goes on, and of each place whom it waits for: an ordered set starts a pet when
// the one before is ready, replaces the highest first, and stops the highest first, each when all before it are ready.

export const READY = "ready";
export const RUNNING = "running"; // Its containers run, and it is not ready.
export const STARTING = "starting"; // It has a node.
export const WAITING = "waiting"; // It has no node.
export const STOPPING = "stopping";
export const FAILED = "failed";
export const DONE = "done";
export const ABSENT = "absent"; // There is no such pet, yet or any more.

export const STATES = {
  [READY]: "ready",
  [RUNNING]: "running, not ready",
  [STARTING]: "starting",
  [WAITING]: "waiting for a node",
  [STOPPING]: "stopping",
  [FAILED]: "failing",
  [DONE]: "done",
  [ABSENT]: "to come",
};

const FAILURES = /^(CrashLoopBackOff|ErrImage\w*|ImagePullBackOff|ImageInspectError|InvalidImageName|Create\w+Error|RunContainerError|Error|OOMKilled)$/;

export const condition = (object, type) => object?.status?.conditions?.find((one) => one.type === type);
export const isTrue = (object, type) => condition(object, type)?.status === "True";
export const isReady = (pod) => isTrue(pod, "Ready");
export const containers = (pod) => [...(pod?.status?.initContainerStatuses ?? []), ...(pod?.status?.containerStatuses ?? [])];
export const restarts = (pod) => containers(pod).reduce((sum, one) => sum + (one.restartCount ?? 0), 0);

export function stateOf(pod) {
  if (!pod) return ABSENT;
  if (pod.metadata.deletionTimestamp) return STOPPING;
  if (pod.status?.phase === "Failed") return FAILED;
  if (pod.status?.phase === "Succeeded") return DONE;
  if (isReady(pod)) return READY;
  if (containers(pod).some((one) => FAILURES.test(one.state?.waiting?.reason ?? one.state?.terminated?.reason ?? ""))) return FAILED;
  if (pod.status?.phase === "Running") return RUNNING;
  return pod.spec.nodeName ? STARTING : WAITING;
}

// Why a pod is not ready, in the words of whoever knows; "" when it is, or when nobody says.
export function whyOf(pod) {
  if (!pod) return "";
  for (const one of containers(pod)) {
    const waiting = one.state?.waiting;
    if (waiting?.reason && waiting.reason !== "ContainerCreating" && waiting.reason !== "PodInitializing")
      return `${one.name}: ${waiting.reason}${waiting.message ? `, ${waiting.message}` : ""}`;
    const ended = one.state?.terminated;
    if (ended && ended.exitCode) return `${one.name} ended with ${ended.exitCode}${ended.reason ? ` (${ended.reason})` : ""}`;
  }
  const scheduled = condition(pod, "PodScheduled");
  if (scheduled?.status === "False") return scheduled.message ?? scheduled.reason ?? "";
  const ready = condition(pod, "ContainersReady");
  if (pod.status?.phase === "Running" && ready?.status === "False") return ready.message ?? "";
  return pod.status?.message ?? "";
}

export function ordinalOf(name) {
  const found = /-(\d+)$/.exec(name);
  return found ? Number(found[1]) : -1;
}

export const revisionOf = (pod) => pod?.metadata.labels?.["controller-revision-hash"] ?? "";
export const shortRevision = (name) => name.slice(name.lastIndexOf("-") + 1);
export const isPetSet = (one) => one?.kind === "PetSet" || one?.kind === "StatefulSet"; // An object, or an owner.
export const ownerOf = (object) => object?.metadata.ownerReferences?.find((one) => one.controller);

// The places of a set: {ordinal, name, pod, state, isWanted}, lowest first.
export function placesOf(set, pods) {
  const first = set.spec.ordinals?.start ?? 0;
  const wanted = set.metadata.deletionTimestamp ? 0 : (set.spec.replicas ?? 1);
  const places = new Map();
  const place = (ordinal, pod) => {
    const name = pod?.metadata.name ?? `${set.metadata.name}-${ordinal}`;
    places.set(ordinal, { ordinal, name, pod, state: stateOf(pod), isWanted: ordinal >= first && ordinal < first + wanted });
  };
  for (let ordinal = first; ordinal < first + wanted; ordinal += 1) place(ordinal);
  for (const pod of pods) place(ordinalOf(pod.metadata.name), pod);
  return [...places.values()].sort((one, other) => one.ordinal - other.ordinal);
}

const names = (places) => {
  const [first, ...rest] = places.map((place) => place.name);
  if (!first) return "";
  return rest.length > 1 ? `${first} and ${rest.length} more` : [first, ...rest].join(" and ");
};
const doing = {
  [RUNNING]: "is running and not ready yet",
  [STARTING]: "is starting",
  [WAITING]: "waits for a node",
  [STOPPING]: "is stopping",
  [FAILED]: "fails",
  [DONE]: "has ended",
  [ABSENT]: "is about to be made",
};

// {text, tone, waits}: tone is calm, busy or stuck; waits maps ordinals to {on, why}.
export function story(set, places) {
  const waits = new Map();
  const told = (text, tone) => ({ text, tone, waits });
  const isOrdered = set.spec.podManagementPolicy !== "Parallel";
  const wanted = places.filter((place) => place.isWanted);
  const surplus = places.filter((place) => !place.isWanted).reverse();
  const unready = wanted.find((place) => place.state !== READY);
  const tone = (places) => (places.some((place) => place.state === FAILED) ? "stuck" : "busy");

  if (surplus.length) {
    const leaving = surplus.filter((place) => place.state === STOPPING);
    const next = leaving[0] ?? surplus[0];
    if (isOrdered) for (const place of surplus) if (place.ordinal < next.ordinal) waits.set(place.ordinal, { on: next.ordinal, why: "stops when it is gone" });
    const rest = surplus.filter((place) => place !== next && place.state !== STOPPING);
    const goal = wanted.length ? `Scaling down to ${wanted.length}` : set.metadata.deletionTimestamp ? "Going away" : "Scaling down to none";
    if (isOrdered && unready && !leaving.length) {
      waits.set(next.ordinal, { on: unready.ordinal, why: "stops when it is ready" });
      return told(`${goal}: ${next.name} stops when ${unready.name}, which ${doing[unready.state]}, is ready.`, tone(wanted));
    }
    const after = isOrdered && rest.length ? ` ${names(rest)} ${rest.length > 1 ? "wait" : "waits"} until it is gone.` : "";
    return told(`${goal}: ${names(isOrdered ? [next] : leaving.length ? leaving : surplus)} ${surplus.length > 1 && !isOrdered ? "are" : "is"} stopping.${after}`, "busy");
  }
  if (!wanted.length) return told("Scaled to none; volumes stay.", "calm");

  const target = set.status?.updateRevision ?? "";
  const isUpdating = target && set.status?.currentRevision !== target;
  const missing = wanted.filter((place) => place.state === ABSENT);
  if (isUpdating && set.status.observedGeneration >= set.metadata.generation) {
    const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    const old = wanted.filter((place) => place.pod && revisionOf(place.pod) !== target);
    const due = old.filter((place) => place.ordinal >= partition && place.state !== STOPPING).reverse();
    const held = old.filter((place) => place.ordinal < partition).length;
    const goal = `Rolling to revision ${shortRevision(target)}`;
    if (set.spec.updateStrategy?.type === "OnDelete") {
      if (old.length) return told(`Revision ${shortRevision(target)} comes to ${names(old)} when ${old.length > 1 ? "they are" : "it is"} deleted.`, unready ? tone(wanted) : "calm");
    } else if (due.length || unready) {
      // Who is missing is made first, and waits for those before it; only then is the next one replaced.
      const isMaking = isOrdered && missing.length > 0;
      const changing = isMaking ? unready : ([...wanted].reverse().find((place) => place.state !== READY) ?? due[0]);
      const later = isMaking ? missing.filter((place) => place !== changing) : [];
      for (const place of due) if (place !== changing) waits.set(place.ordinal, { on: changing.ordinal, why: "is replaced when it is ready" });
      for (const place of later) waits.set(place.ordinal, { on: changing.ordinal, why: "starts when it is ready" });
      const rest = [...later, ...due.filter((place) => place !== changing)];
      const after = rest.length ? ` ${names(rest)} ${rest.length > 1 ? "wait" : "waits"} until it is ready.` : "";
      const what = changing.state === READY ? "is next" : doing[changing.state];
      return told(`${goal}: ${changing.name} ${what}.${after}`, tone(wanted));
    } else if (held) {
      return told(`${goal} is held at ${partition}: ${held} of ${wanted.length} stay on ${shortRevision(set.status.currentRevision)}.`, "calm");
    }
  }
  if (unready) {
    const later = wanted.filter((place) => place.ordinal > unready.ordinal && place.state === ABSENT);
    if (isOrdered) for (const place of later) waits.set(place.ordinal, { on: place.ordinal - 1, why: "starts when it is ready" });
    if (isOrdered && later.length) {
      const verb = later.length > 1 ? "wait" : "waits";
      return told(`Starting in order: ${unready.name} ${doing[unready.state]}. ${names(later)} ${verb} until it is ready.`, tone(wanted));
    }
    const all = wanted.filter((place) => place.state !== READY);
    const goal = missing.length ? "Starting" : "Not all are ready";
    return told(`${goal}: ${all.length > 1 ? `${names(all)} of ${wanted.length} are not ready` : `${unready.name} ${doing[unready.state]}`}.`, tone(wanted));
  }
  return told(wanted.length > 1 ? `All ${wanted.length} are ready.` : `${wanted[0].name} is ready.`, "calm");
}

// The names of the claims that a pod mounts.
export const mountedClaims = (pod) => (pod.spec.volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []);

// The claims of a place: by the templates' names, whether or not the pet is there.
export function claimNames(set, place) {
  return (set.spec.volumeClaimTemplates ?? []).map((template) => `${template.metadata.name}-${set.metadata.name}-${place.ordinal}`);
}

export function dnsName(pod, domain = "cluster.local") {
  const { hostname, subdomain } = pod.spec;
  return hostname && subdomain ? `${hostname}.${subdomain}.${pod.metadata.namespace}.svc.${domain}` : "";
}

const SUFFIXES = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, k: 1e3, M: 1e6, G: 1e9, T: 1e12, m: 1e-3, u: 1e-6, n: 1e-9 };

export function quantity(text) {
  const found = /^([0-9.]+(?:e-?\d+)?)([A-Za-z]*)$/i.exec(text ?? "");
  return found ? Number(found[1]) * (found[2] ? (SUFFIXES[found[2]] ?? 1) : 1) : 0;
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) [count, unit] = [count / 1024, unit + 1];
  return `${count >= 100 || unit === 0 ? Math.round(count) : Number(count.toFixed(1))} ${units[unit]}`;
}

export function age(since, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - (typeof since === "number" ? since : Date.parse(since))) / 1000));
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}
