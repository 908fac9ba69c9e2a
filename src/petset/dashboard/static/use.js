// What pods, nodes and volumes use, asked of the API every few seconds while the page is seen, and kept for an hour in it.

import { get } from "./api.js";
import { quantity } from "./pets.js";

const PERIOD_MS = 15_000;
const KEPT_MS = 3_600_000;

export class Use {
  constructor(cluster) {
    this.cluster = cluster;
    this.pods = new Map(); // namespace/name -> [{at, cpu, memory}]
    this.nodes = new Map();
    this.claims = new Map(); // namespace/name -> {used, capacity}
  }

  begin() {
    const look = async () => {
      if (!document.hidden) await Promise.allSettled([this.lookAtPods(), this.lookAtNodes(), this.lookAtVolumes()]);
      setTimeout(look, PERIOD_MS);
    };
    setTimeout(look, 1500);
  }

  async lookAtPods() {
    const { items } = await get("/apis/metrics.k8s.io/v1beta1/pods");
    const sum = (pod, what) => pod.containers.reduce((total, one) => total + quantity(one.usage[what]), 0);
    for (const pod of items) add(this.pods, `${pod.metadata.namespace}/${pod.metadata.name}`, { cpu: sum(pod, "cpu"), memory: sum(pod, "memory") });
    forget(this.pods);
    this.cluster.changed();
  }

  async lookAtNodes() {
    const { items } = await get("/apis/metrics.k8s.io/v1beta1/nodes");
    for (const node of items) add(this.nodes, node.metadata.name, { cpu: quantity(node.usage.cpu), memory: quantity(node.usage.memory) });
    forget(this.nodes);
    this.cluster.changed();
  }

  async lookAtVolumes() {
    for (const node of this.cluster.all("nodes").values()) {
      const summary = await get(`/api/v1/nodes/${encodeURIComponent(node.metadata.name)}/proxy/stats/summary`);
      for (const pod of summary.pods ?? [])
        for (const volume of pod.volume ?? [])
          if (volume.pvcRef) this.claims.set(`${volume.pvcRef.namespace}/${volume.pvcRef.name}`, { used: volume.usedBytes ?? 0, capacity: volume.capacityBytes ?? 0 });
    }
    this.cluster.changed();
  }

  bytesOf(namespace, names) {
    return names.reduce((sum, name) => sum + (this.claims.get(`${namespace}/${name}`)?.used ?? 0), 0);
  }

  // How full, of the size that was asked for.
  ofClaims(namespace, names) {
    let used = 0;
    let size = 0;
    for (const name of names) {
      const known = this.claims.get(`${namespace}/${name}`);
      const claim = this.cluster.find("persistentvolumeclaims", namespace, name);
      if (known && claim) [used, size] = [used + known.used, size + quantity(claim.status?.capacity?.storage)];
    }
    return size ? used / size : 0;
  }
}

function add(kept, key, figures) {
  const series = kept.get(key) ?? [];
  const oldest = Date.now() - KEPT_MS;
  kept.set(key, [...(series[0]?.at < oldest ? series.filter((one) => one.at >= oldest) : series), { at: Date.now(), ...figures }]);
}

function forget(kept) {
  const oldest = Date.now() - KEPT_MS;
  for (const [key, series] of kept) if (series.at(-1).at < oldest) kept.delete(key);
}
