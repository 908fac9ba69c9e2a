// What can be done to pets and sets: each asks first, and says before it does what will become of the data.

import { ask, patch, pathOf, pluralOf } from "./api.js";
import { claimNames, mountedClaims, ordinalOf, ownerOf, shortRevision } from "./pets.js";

const RESTARTED_AT = "kubectl.kubernetes.io/restartedAt";

const list = (names) => (names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(" and "));
const isAre = (names) => (names.length > 1 ? "are" : "is");

function setPath(set, subresource) {
  return pathOf(pluralOf(set.kind), set.metadata.namespace, set.metadata.name, subresource);
}

// An action: its title, a sentence or more of what will happen (given what was put in), what its button says, and what it does.

export function scale(set) {
  const now = set.spec.replicas ?? 1;
  const first = set.spec.ordinals?.start ?? 0;
  return {
    title: `Scale ${set.metadata.name}`,
    input: { label: "Pets", type: "number", min: 0, max: 1000, value: now },
    says(value) {
      const wanted = Number(value);
      const between = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index + first);
      if (wanted === now) return ["It has that many now: nothing changes."];
      if (wanted > now) {
        const names = between(now, wanted).map((ordinal) => `${set.metadata.name}-${ordinal}`);
        const data = set.spec.volumeClaimTemplates?.length ? ["A volume that a number had before is found again, with its data; others are new and empty."] : [];
        return [`${list(names)} ${isAre(names)} started${inOrder(set)}.`, ...data];
      }
      const names = between(wanted, now).map((ordinal) => `${set.metadata.name}-${ordinal}`).reverse();
      const claims = between(wanted, now).flatMap((ordinal) => claimNames(set, { ordinal }));
      return [`${list(names)} ${isAre(names)} stopped${inOrder(set, "the highest first, each when the one above is gone")}.`, ...keptOrNot(claims, set.spec.persistentVolumeClaimRetentionPolicy?.whenScaled)];
    },
    label: "Scale",
    does: (value) => patch(setPath(set, "scale"), { spec: { replicas: Number(value) } }),
  };
}

function inOrder(set, how = "one after the other, each when the one before is ready") {
  return set.spec.podManagementPolicy === "Parallel" ? ", all at once" : `, ${how}`;
}

function keptOrNot(claims, policy) {
  if (!claims.length) return ["They have no volumes: what they wrote is lost."];
  if (policy === "Delete") return [{ danger: true, text: `Their claims (${list(claims)}) are DELETED with them, and by the usual reclaim policy the data too: the set's retention policy says so.` }];
  return [`Their volumes (${list(claims)}) stay, with all data.`];
}

export function restart(set) {
  const strategy = set.spec.updateStrategy?.type ?? "RollingUpdate";
  return {
    title: `Restart ${set.metadata.name}`,
    says: () => [
      strategy === "OnDelete" ? "The template changes; each pet is made anew when you delete it (the strategy is OnDelete)." : "Each pet is stopped and made anew, the highest first, the next when it is ready again.",
      "Names, addresses in DNS and volumes stay; what a container wrote outside of its volumes is lost.",
    ],
    label: "Restart",
    does: () => patch(setPath(set), { spec: { template: { metadata: { annotations: { [RESTARTED_AT]: new Date().toISOString() } } } } }),
  };
}

export function rollBack(set, revision) {
  return {
    title: `Roll ${set.metadata.name} back to ${shortRevision(revision.metadata.name)}`,
    says: () => [`The template becomes that of revision ${revision.revision}; pets are replaced as by any update.`, "Volumes and their data stay as they are: a rollback does not bring older data back."],
    label: "Roll back",
    does: () => patch(setPath(set), revision.data, "application/strategic-merge-patch+json"),
  };
}

export function deleteSet(set, pods) {
  const claims = pods.flatMap((pod) => claimNames(set, { ordinal: ordinalOf(pod.metadata.name) }));
  return {
    title: `Delete ${set.metadata.name}`,
    choice: "Leave its pets running, without a set",
    says: (_, isOrphaning) => [
      isOrphaning ? "The set goes; its pets go on, and nobody makes them anew." : "The set goes, and its pets stop.",
      ...(isOrphaning ? ["Volumes stay."] : keptOrNot(claims, set.spec.persistentVolumeClaimRetentionPolicy?.whenDeleted)),
    ],
    label: "Delete",
    danger: true,
    does: (_, isOrphaning) => ask("DELETE", setPath(set), { body: { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: isOrphaning ? "Orphan" : "Background" } }),
  };
}

export function deletePod(pod, set) {
  const { namespace, name } = pod.metadata;
  const claims = mountedClaims(pod);
  const owner = ownerOf(pod);
  return {
    title: set ? `Make ${name} anew` : `Delete ${name}`,
    says: () => [
      `It is stopped, with ${pod.spec.terminationGracePeriodSeconds ?? 30} s to finish${set ? ", and made anew under the same name" : owner ? `; ${owner.kind} ${owner.name} makes another` : "; nobody makes it anew"}.`,
      claims.length ? `Its volume${claims.length > 1 ? "s" : ""} (${list(claims)}) stay${claims.length > 1 ? "" : "s"}, with all data; what it wrote elsewhere is lost.` : "It has no volume: what it wrote is lost.",
    ],
    label: set ? "Make anew" : "Delete",
    danger: !set,
    does: () => ask("DELETE", pathOf("pods", namespace, name)),
  };
}

export function snapshot(claim) {
  const { namespace, name } = claim.metadata;
  const made = `${name}-${new Date().toISOString().replace(/\D/g, "").slice(0, 14)}`;
  return {
    title: `Snapshot ${name}`,
    input: { label: "Name", type: "text", value: made },
    says: () => ["A copy of the volume as it is at one moment is kept beside it; the pet goes on.", "A new claim that names the snapshot as its dataSource gets the data of that moment."],
    label: "Take it",
    does: (value) =>
      ask("POST", pathOf("volumesnapshots", namespace), {
        body: { apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", metadata: { name: value }, spec: { source: { persistentVolumeClaimName: name } } },
      }),
  };
}

export function deleteAny(object, path) {
  const { name } = object.metadata;
  const isData = object.kind === "PersistentVolumeClaim" || object.kind === "PersistentVolume" || object.kind === "VolumeSnapshot" || object.kind === "Namespace";
  const data = {
    PersistentVolumeClaim: "Once no pod uses it the claim goes, and where the reclaim policy is Delete (the usual), its data too.",
    PersistentVolume: "The volume's object goes; where its reclaim policy is Delete, its data too.",
    VolumeSnapshot: "The snapshot's copy of the data goes.",
    Namespace: "Everything in the namespace goes: sets, pods, claims and their data.",
  };
  return {
    title: `Delete ${object.kind} ${name}`,
    says: () => (isData ? [{ danger: true, text: data[object.kind] }] : ["What it owns goes with it."]),
    label: "Delete",
    danger: true,
    does: () => ask("DELETE", path),
  };
}
