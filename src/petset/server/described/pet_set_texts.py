"""What `kubectl explain petset` says: the one kind whose texts are this house's own."""

from __future__ import annotations

from collections.abc import Mapping

from petset.objects.schema_texts import Texts

_META = {
    "apiVersion": "The group and version that the object is written in: apps/v1alpha1.",
    "kind": "PetSet.",
    "metadata": "Name, namespace, labels and annotations. Labels that are missing come from the pods' template.",
}

TEXTS: Mapping[str, Texts] = {
    "apps_v1alpha1.PetSet": Texts(
        "A PetSet runs pods that are not alike: each has a name with an ordinal (web-0, web-1, ...), a DNS name of its "
        "own and storage of its own, and keeps all three through restarts and on whatever node it runs. It is the "
        "StatefulSet of Kubernetes under its first name, and takes all that a StatefulSet takes.",
        {
            **_META,
            "spec": "Which pets there shall be, and what they are made of.",
            "status": "Which pets there are, as the controller last saw them.",
        },
    ),
    "apps_v1alpha1.PetSetSpec": Texts(
        "A PetSetSpec is what an owner of pets wants.",
        {
            "minReadySeconds": "How many seconds a new pod must have been ready without a crash to count as available. "
            "Defaults to 0: as soon as it is ready.",
            "ordinals": "How pets are numbered. Without it the first one is 0.",
            "persistentVolumeClaimRetentionPolicy": "Whether the claims made from volumeClaimTemplates are kept or "
            "deleted when the set is deleted, and when it is scaled down. Without it they are kept.",
            "podManagementPolicy": "OrderedReady (the default): a pet is started when all before it are ready, and "
            "stopped when all after it are gone. Parallel: all at once. It cannot be changed.",
            "replicas": "How many pets there shall be; their ordinals are consecutive. Defaults to 1.",
            "revisionHistoryLimit": "How many revisions that no pod has are kept to return to. Defaults to 10.",
            "selector": "Which pods are the set's. It must match the labels of the template, and is made from them "
            "when it is missing. It cannot be changed.",
            "serviceName": "The headless service that gives pets their names: pod web-0 of a set with the service db "
            "is web-0.db.<namespace>.svc.cluster.local. It must be there before the set. It cannot be changed.",
            "template": "What a pod of the set is. Each gets the pet's name as its host name, and as volumes the "
            "claims of volumeClaimTemplates.",
            "updateStrategy": "How pods come to a changed template: RollingUpdate (the default) from the highest "
            "ordinal down, or OnDelete.",
            "volumeClaimTemplates": "Claims that each pet gets for itself. The claim is called "
            "<template>-<set>-<ordinal>; it stays when its pod goes and is there again for the pod that comes after. "
            "A template goes before a volume of that name in the pod's template.",
        },
    ),
    "apps_v1alpha1.PetSetStatus": Texts(
        "A PetSetStatus is what has become of a PetSetSpec.",
        {
            "availableReplicas": "Pods that have been ready for minReadySeconds.",
            "collisionCount": "How often the name of a revision was taken already. The next name is made with it.",
            "conditions": "What else is to be said of the set's state.",
            "currentReplicas": "Pods of the revision currentRevision.",
            "currentRevision": "The revision of the pods 0 to currentReplicas - 1.",
            "observedGeneration": "The metadata.generation that this status is about.",
            "readyReplicas": "Pods that are ready.",
            "replicas": "Pods that the controller has made.",
            "updateRevision": "The revision of the pods replicas - updatedReplicas to replicas - 1.",
            "updatedReplicas": "Pods of the revision updateRevision.",
        },
    ),
}
