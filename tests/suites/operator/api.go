// The kind that the operator looks after: a Flock of pets, in a version that is stored and an older one.
package main

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const Group = "operator.example.com"

var (
	Stored = schema.GroupVersion{Group: Group, Version: "v1"}
	Older  = schema.GroupVersion{Group: Group, Version: "v1alpha1"}
)

type Flock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              FlockSpec   `json:"spec"`
	Status            FlockStatus `json:"status,omitempty"`
}

type FlockSpec struct {
	Pets     int32  `json:"pets"`
	Greeting string `json:"greeting,omitempty"`
}

type FlockStatus struct {
	Ready              int32              `json:"ready"`
	Selector           string             `json:"selector,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type FlockList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Flock `json:"items"`
}

// OlderFlock is a Flock as v1alpha1 has it: what is said by two fields now was one object of other names.
type OlderFlock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              OlderFlockSpec `json:"spec"`
	Status            FlockStatus    `json:"status,omitempty"`
}

type OlderFlockSpec struct {
	Size  int32  `json:"size"`
	Words string `json:"words,omitempty"`
}

func (status FlockStatus) copied() FlockStatus {
	status.Conditions = slices.Clone(status.Conditions) // A condition holds nothing that is shared.
	return status
}

func (flock *Flock) DeepCopyObject() runtime.Object {
	made := &Flock{TypeMeta: flock.TypeMeta, Spec: flock.Spec, Status: flock.Status.copied()}
	flock.ObjectMeta.DeepCopyInto(&made.ObjectMeta)
	return made
}

func (list *FlockList) DeepCopyObject() runtime.Object {
	made := &FlockList{TypeMeta: list.TypeMeta}
	list.ListMeta.DeepCopyInto(&made.ListMeta)
	for _, flock := range list.Items {
		made.Items = append(made.Items, *flock.DeepCopyObject().(*Flock))
	}
	return made
}

func (flock *OlderFlock) DeepCopyObject() runtime.Object {
	made := &OlderFlock{TypeMeta: flock.TypeMeta, Spec: flock.Spec, Status: flock.Status.copied()}
	flock.ObjectMeta.DeepCopyInto(&made.ObjectMeta)
	return made
}

// Hub says that other versions are converted to and from this one.
func (flock *Flock) Hub() {}

func toOlder(_ context.Context, from *Flock, to *OlderFlock) error {
	to.ObjectMeta, to.Status = from.ObjectMeta, from.Status
	to.Spec = OlderFlockSpec{Size: from.Spec.Pets, Words: from.Spec.Greeting}
	return nil
}

func fromOlder(_ context.Context, from *OlderFlock, to *Flock) error {
	to.ObjectMeta, to.Status = from.ObjectMeta, from.Status
	to.Spec = FlockSpec{Pets: from.Spec.Size, Greeting: from.Spec.Words}
	return nil
}

func addToScheme(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(Stored, &Flock{}, &FlockList{})
	scheme.AddKnownTypeWithName(Older.WithKind("Flock"), &OlderFlock{})
	metav1.AddToGroupVersion(scheme, Stored)
	metav1.AddToGroupVersion(scheme, Older)
}
