// Prints the field numbers of the Kubernetes API's protobuf messages as JSON, read off the API's own Go types.
//
// The output is src/petset/objects/protobuf.json. To make it anew, copy this file into an empty directory and run
//
//	go mod init facts && go get k8s.io/{api,apiextensions-apiserver,kube-aggregator}@<version> && go mod tidy && go run . > protobuf.json
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

	admissionregistration "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	autoscaling2 "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	certificates "k8s.io/api/certificates/v1"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	events "k8s.io/api/events/v1"
	flowcontrol "k8s.io/api/flowcontrol/v1"
	networking "k8s.io/api/networking/v1"
	node "k8s.io/api/node/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	resource "k8s.io/api/resource/v1"
	scheduling "k8s.io/api/scheduling/v1"
	storage "k8s.io/api/storage/v1"
	storagemigration "k8s.io/api/storagemigration/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// What is sent and answered, by apiVersion: kinds by the name of their type.
var bodies = map[string][]any{
	"v1": {
		core.Binding{}, core.ComponentStatus{}, core.ConfigMap{}, core.Endpoints{}, core.Event{}, core.LimitRange{}, core.Namespace{},
		core.Node{}, core.PersistentVolume{}, core.PersistentVolumeClaim{}, core.Pod{}, core.PodTemplate{},
		core.ReplicationController{}, core.ResourceQuota{}, core.Secret{}, core.Service{}, core.ServiceAccount{},
		core.PodAttachOptions{}, core.PodExecOptions{}, core.PodPortForwardOptions{}, core.PodProxyOptions{},
		meta.APIGroup{}, meta.APIGroupList{}, meta.APIResourceList{}, meta.APIVersions{}, meta.DeleteOptions{}, meta.Status{},
	},
	"meta.k8s.io/v1":                  {meta.ListMeta{}, meta.PartialObjectMetadata{}},
	"admissionregistration.k8s.io/v1": {admissionregistration.MutatingWebhookConfiguration{}, admissionregistration.ValidatingWebhookConfiguration{}, admissionregistration.ValidatingAdmissionPolicy{}, admissionregistration.ValidatingAdmissionPolicyBinding{}, admissionregistration.MutatingAdmissionPolicy{}, admissionregistration.MutatingAdmissionPolicyBinding{}},
	"apiextensions.k8s.io/v1":         {apiextensions.CustomResourceDefinition{}},
	"apiregistration.k8s.io/v1":       {apiregistration.APIService{}},
	"apps/v1":                         {apps.ControllerRevision{}, apps.DaemonSet{}, apps.Deployment{}, apps.ReplicaSet{}, apps.StatefulSet{}},
	"authentication.k8s.io/v1":        {authentication.SelfSubjectReview{}, authentication.TokenRequest{}, authentication.TokenReview{}},
	"authorization.k8s.io/v1":         {authorization.LocalSubjectAccessReview{}, authorization.SelfSubjectAccessReview{}, authorization.SelfSubjectRulesReview{}, authorization.SubjectAccessReview{}},
	"autoscaling/v1":                  {autoscaling.HorizontalPodAutoscaler{}, autoscaling.Scale{}},
	"autoscaling/v2":                  {autoscaling2.HorizontalPodAutoscaler{}},
	"batch/v1":                        {batch.CronJob{}, batch.Job{}},
	"certificates.k8s.io/v1":          {certificates.CertificateSigningRequest{}, certificates.ClusterTrustBundle{}, certificates.PodCertificateRequest{}},
	"coordination.k8s.io/v1":          {coordination.Lease{}},
	"discovery.k8s.io/v1":             {discovery.EndpointSlice{}},
	"events.k8s.io/v1":                {events.Event{}},
	"flowcontrol.apiserver.k8s.io/v1": {flowcontrol.FlowSchema{}, flowcontrol.PriorityLevelConfiguration{}},
	"networking.k8s.io/v1":            {networking.IPAddress{}, networking.Ingress{}, networking.IngressClass{}, networking.NetworkPolicy{}, networking.ServiceCIDR{}},
	"node.k8s.io/v1":                  {node.RuntimeClass{}},
	"policy/v1":                       {policy.Eviction{}, policy.PodDisruptionBudget{}},
	"rbac.authorization.k8s.io/v1":    {rbac.ClusterRole{}, rbac.ClusterRoleBinding{}, rbac.Role{}, rbac.RoleBinding{}},
	"resource.k8s.io/v1":              {resource.DeviceClass{}, resource.DeviceTaintRule{}, resource.ResourceClaim{}, resource.ResourceClaimTemplate{}, resource.ResourceSlice{}},
	"scheduling.k8s.io/v1":            {scheduling.PriorityClass{}},
	"storagemigration.k8s.io/v1":      {storagemigration.StorageVersionMigration{}},
	"storage.k8s.io/v1":               {storage.CSIDriver{}, storage.CSINode{}, storage.CSIStorageCapacity{}, storage.StorageClass{}, storage.VolumeAttachment{}, storage.VolumeAttributesClass{}},
}

// Types whose JSON is not what their fields say.
var special = map[string]string{
	"meta.Time": "time", "meta.MicroTime": "microtime", "meta.FieldsV1": "raw", "runtime.RawExtension": "raw",
	"resource.Quantity": "quantity", "intstr.IntOrString": "int-or-string",
	"authentication.ExtraValue": "strings", "authorization.ExtraValue": "strings", "certificates.ExtraValue": "strings",
	"apiextensions.JSON": "raw", "apiextensions.JSONSchemaPropsOrBool": "schema-or-bool",
	"apiextensions.JSONSchemaPropsOrArray": "schema-or-array", "apiextensions.JSONSchemaPropsOrStringArray": "schema-or-strings",
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
		if strings.HasPrefix(found, "schema-or-") {
			visit(reflect.TypeOf(apiextensions.JSONSchemaProps{}))
		}
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
	case reflect.Float64:
		return "float"
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
	for version, values := range bodies {
		for _, value := range values {
			kind := reflect.TypeOf(value)
			kinds[version+" "+kind.Name()] = shape(kind)
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
