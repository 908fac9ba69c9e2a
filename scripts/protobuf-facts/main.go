// Prints the field numbers of the Kubernetes API's protobuf messages as JSON, read off the API's own Go types.
//
// The output is src/petset/objects/protobuf.json. To make it anew, copy this file into an empty directory and run
//
//	go mod init facts && go get k8s.io/api@<version> && go mod tidy && go run . > protobuf.json
//
// Only numbers, names and shapes are taken: no sentence of upstream's.
package main

import (
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"sort"
	"strings"

	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	autoscaling2 "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The bodies that clients send, by apiVersion and kind.
var bodies = map[string]map[string]any{
	"v1": {
		"Binding": core.Binding{}, "ConfigMap": core.ConfigMap{}, "DeleteOptions": meta.DeleteOptions{},
		"Endpoints": core.Endpoints{}, "Event": core.Event{}, "LimitRange": core.LimitRange{}, "Namespace": core.Namespace{},
		"Node": core.Node{}, "PodTemplate": core.PodTemplate{}, "ReplicationController": core.ReplicationController{},
		"ResourceQuota":    core.ResourceQuota{},
		"PersistentVolume": core.PersistentVolume{}, "PersistentVolumeClaim": core.PersistentVolumeClaim{},
		"Pod": core.Pod{}, "Secret": core.Secret{}, "Service": core.Service{}, "ServiceAccount": core.ServiceAccount{},
	},
	"apps/v1":                         {"ControllerRevision": apps.ControllerRevision{}, "DaemonSet": apps.DaemonSet{}, "Deployment": apps.Deployment{}, "ReplicaSet": apps.ReplicaSet{}, "StatefulSet": apps.StatefulSet{}},
	"autoscaling/v1":                  {"HorizontalPodAutoscaler": autoscaling.HorizontalPodAutoscaler{}, "Scale": autoscaling.Scale{}},
	"autoscaling/v2":                  {"HorizontalPodAutoscaler": autoscaling2.HorizontalPodAutoscaler{}},
	"batch/v1":                        {"CronJob": batch.CronJob{}, "Job": batch.Job{}},
	"authentication.k8s.io/v1":        {"SelfSubjectReview": authentication.SelfSubjectReview{}, "TokenRequest": authentication.TokenRequest{}, "TokenReview": authentication.TokenReview{}},
	"authorization.k8s.io/v1":         {"SelfSubjectAccessReview": authorization.SelfSubjectAccessReview{}, "SelfSubjectRulesReview": authorization.SelfSubjectRulesReview{}, "SubjectAccessReview": authorization.SubjectAccessReview{}},
	"coordination.k8s.io/v1":          {"Lease": coordination.Lease{}},
	"discovery.k8s.io/v1":             {"EndpointSlice": discovery.EndpointSlice{}},
	"flowcontrol.apiserver.k8s.io/v1": {"FlowSchema": flowcontrol.FlowSchema{}, "PriorityLevelConfiguration": flowcontrol.PriorityLevelConfiguration{}},
	"networking.k8s.io/v1":            {"IPAddress": networking.IPAddress{}, "Ingress": networking.Ingress{}, "IngressClass": networking.IngressClass{}, "NetworkPolicy": networking.NetworkPolicy{}, "ServiceCIDR": networking.ServiceCIDR{}},
	"node.k8s.io/v1":                  {"RuntimeClass": node.RuntimeClass{}},
	"policy/v1":                       {"Eviction": policy.Eviction{}, "PodDisruptionBudget": policy.PodDisruptionBudget{}},
	"rbac.authorization.k8s.io/v1":    {"ClusterRole": rbac.ClusterRole{}, "ClusterRoleBinding": rbac.ClusterRoleBinding{}, "Role": rbac.Role{}, "RoleBinding": rbac.RoleBinding{}},
	"scheduling.k8s.io/v1":            {"PriorityClass": scheduling.PriorityClass{}},
	"storage.k8s.io/v1":               {"CSIDriver": storage.CSIDriver{}, "CSINode": storage.CSINode{}, "CSIStorageCapacity": storage.CSIStorageCapacity{}, "StorageClass": storage.StorageClass{}, "VolumeAttachment": storage.VolumeAttachment{}},
}

// Types whose JSON is not what their fields say.
var special = map[string]string{
	"meta.Time": "time", "meta.MicroTime": "microtime", "meta.FieldsV1": "raw", "runtime.RawExtension": "raw",
	"resource.Quantity": "quantity", "intstr.IntOrString": "int-or-string",
	"authentication.ExtraValue": "strings", "authorization.ExtraValue": "strings",
}

var messages = map[string]map[string][]string{}

func name(t reflect.Type) string {
	folder := strings.Split(t.PkgPath(), "/")
	group := folder[len(folder)-1]
	if strings.HasPrefix(group, "v1") {
		group = path.Base(path.Dir(t.PkgPath()))
	}
	return group + "." + t.Name()
}

// The shape of a value: a scalar, a special type, a message by name, or a map's value after "map ".
func shape(t reflect.Type) string {
	if found, ok := special[name(t)]; ok {
		return found
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "bool"
	case reflect.Int32, reflect.Int64:
		return "int"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return shape(t.Elem())
	case reflect.Map:
		return "map " + shape(t.Elem())
	case reflect.Struct:
		visit(t)
		return name(t)
	}
	panic(t.String())
}

func visit(t reflect.Type) {
	if _, known := messages[name(t)]; known {
		return
	}
	fields := map[string][]string{}
	messages[name(t)] = fields
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		tag := strings.Split(field.Tag.Get("protobuf"), ",")
		if len(tag) < 3 {
			continue // TypeMeta travels in the envelope.
		}
		options := strings.Split(field.Tag.Get("json"), ",")
		flags := ""
		if options[0] == "" {
			flags += "i" // Its fields stand in the parent's JSON.
		}
		kind := shape(field.Type)
		if field.Type.Kind() == reflect.Slice && kind != "bytes" && kind != "strings" {
			flags += "r" // The tag's own word for it is wrong in places.
		}
		if field.Type.Kind() == reflect.Pointer || len(options) == 1 {
			flags += "z" // Zero is said, not left out.
		}
		fields[tag[1]] = []string{options[0], kind, flags}
	}
}

func main() {
	kinds := map[string]string{}
	for version, named := range bodies {
		for kind, value := range named {
			kinds[version+" "+kind] = shape(reflect.TypeOf(value))
		}
	}
	out := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	var lines []string
	for message, fields := range messages {
		lines = append(lines, "  "+out(message)+": "+out(fields))
	}
	sort.Strings(lines) // A line a message, so that a new version shows what it changed.
	fmt.Printf("{\n \"kinds\": %s,\n \"messages\": {\n%s\n }\n}\n", out(kinds), strings.Join(lines, ",\n"))
}
