"""An operator as people write them with kopf: a Toy is a StatefulSet of so many pets, and says how many are ready."""

import kopf
import kubernetes


@kopf.on.create("shop.example.com", "v1", "toys")
@kopf.on.update("shop.example.com", "v1", "toys", field="spec")
def make_set(spec, name, namespace, body, **_):
    labels = {"toy": name}
    container = {"name": "toy", "image": spec.get("image", "docker.io/library/nginx:1.27")}
    made = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "serviceName": name,
            "replicas": spec.get("squeaks", 1),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    kopf.adopt(made, owner=body)
    apps = kubernetes.client.AppsV1Api()
    try:
        apps.create_namespaced_stateful_set(namespace, made)
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
        apps.patch_namespaced_stateful_set(name, namespace, {"spec": {"replicas": made["spec"]["replicas"]}})


@kopf.on.event("apps", "v1", "statefulsets", labels={"toy": kopf.PRESENT})
def tell(name, namespace, status, **_):
    ready = {"status": {"ready": status.get("readyReplicas", 0)}}
    toys = kubernetes.client.CustomObjectsApi()
    try:
        toys.patch_namespaced_custom_object("shop.example.com", "v1", namespace, "toys", name, ready)
    except kubernetes.client.ApiException as error:
        if error.status != 404:  # It has gone, and the set is going.
            raise


@kopf.on.startup()
def reach_the_cluster(**_):
    kubernetes.config.load_kube_config()
