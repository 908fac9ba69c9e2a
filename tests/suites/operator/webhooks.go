// What is filled in and refused before a Flock is stored.
package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	defaultGreeting = "hello"
	petsMax         = 5
	keepAnnotation  = Group + "/keep"
)

type rules struct{}

func (rules) Default(_ context.Context, flock *Flock) error {
	if flock.Spec.Greeting == "" {
		flock.Spec.Greeting = defaultGreeting
	}
	return nil
}

func (rules) ValidateCreate(_ context.Context, flock *Flock) (admission.Warnings, error) {
	if flock.Spec.Pets > petsMax {
		return nil, fmt.Errorf("a flock has %d pets at most, not %d", petsMax, flock.Spec.Pets)
	}
	if flock.Spec.Pets == 0 {
		return admission.Warnings{"a flock without pets does nothing"}, nil
	}
	return nil, nil
}

func (r rules) ValidateUpdate(ctx context.Context, _, flock *Flock) (admission.Warnings, error) {
	if flock.DeletionTimestamp != nil { // Whatever it says, it goes.
		return nil, nil
	}
	return r.ValidateCreate(ctx, flock)
}

func (rules) ValidateDelete(_ context.Context, flock *Flock) (admission.Warnings, error) {
	if flock.Annotations[keepAnnotation] != "" {
		return nil, fmt.Errorf("it is to be kept: remove its annotation %s first", keepAnnotation)
	}
	return nil, nil
}
