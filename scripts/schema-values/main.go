// Prints the enumerations and defaults of the Kubernetes API's types as JSON, as upstream's own generator reads them off
// the API's Go types (the marks +enum and +default, and what a field is that Go never leaves out).
//
// The output is src/petset/objects/schema_values.json: type -> property -> {enum, default, items, additionalProperties}.
// To make it anew, copy this file into an empty directory and run, with the version of Kubernetes 1.N as v0.N:
//
//	go mod init facts
//	go get k8s.io/{api,apimachinery,apiextensions-apiserver,kube-aggregator}@v0.37.2 k8s.io/kube-openapi/cmd/openapi-gen@v0.0.0-20260721132016-d427ff9ee9ad
//	touch header
//	go run k8s.io/kube-openapi/cmd/openapi-gen --go-header-file header --output-dir out --output-pkg facts/out -r violations \
//	  k8s.io/apimachinery/pkg/{apis/meta/v1,runtime,version,api/resource,util/intstr} \
//	  k8s.io/api/{admissionregistration,apps,authentication,authorization,autoscaling,batch,certificates,coordination,core,discovery,events,flowcontrol,networking,node,policy,rbac,resource,scheduling,storage,storagemigration}/v1 \
//	  k8s.io/api/autoscaling/v2 k8s.io/api/scheduling/v1alpha3 \
//	  k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1 k8s.io/kube-aggregator/pkg/apis/apiregistration/v1
//	go mod tidy && go run . > schema_values.json
//
// Only values are taken: no sentence of upstream's.
package main

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"facts/out"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

type values struct {
	Enum       []any   `json:"enum,omitempty"`
	Default    any     `json:"default,omitempty"`
	Items      *values `json:"items,omitempty"`
	Additional *values `json:"additionalProperties,omitempty"`
}

func of(schema *spec.Schema) *values {
	found := values{Enum: schema.Enum, Default: schema.Default}
	if schema.Items != nil && schema.Items.Schema != nil {
		found.Items = of(schema.Items.Schema)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		found.Additional = of(schema.AdditionalProperties.Schema)
	}
	if found.Enum == nil && found.Default == nil && found.Items == nil && found.Additional == nil {
		return nil
	}
	return &found
}

// io.k8s.api.core.v1.Pod -> core_v1.Pod.
func typeOf(definition string) string {
	parts := strings.Split(definition, ".")
	last := len(parts) - 1
	return parts[last-2] + "_" + parts[last-1] + "." + parts[last]
}

func main() {
	lines := []string{}
	for name, definition := range out.GetOpenAPIDefinitions(func(path string) spec.Ref { return spec.Ref{} }) {
		rows := map[string]*values{}
		for property, schema := range definition.Schema.Properties {
			if found := of(&schema); found != nil {
				rows[property] = found
			}
		}
		if len(rows) > 0 {
			text, err := json.Marshal(rows)
			if err != nil {
				panic(err)
			}
			lines = append(lines, fmt.Sprintf("%q: %s", typeOf(name), text))
		}
	}
	sort.Strings(lines)
	fmt.Printf("{\n%s\n}\n", strings.Join(lines, ",\n"))
}
