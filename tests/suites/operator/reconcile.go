// What a Flock becomes: a StatefulSet and its headless Service, applied as one of several owners of their fields.
package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	manager       = "flocks"
	finalizer     = Group + "/farewell"
	flockLabel    = Group + "/flock"
	greetingLabel = Group + "/greetings" // Of ConfigMaps that say what a greeting is; the operator sees no others.
	conditionName = "Ready"
)

var applied = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "flocks_applied_total", Help: "How often a flock's objects were applied.",
})

func init() { metrics.Registry.MustRegister(applied) }

type reconciler struct {
	client.Client
	events recorder
}

// recorder is what of the event recorder is used here.
type recorder interface {
	Eventf(regarding, related runtimeObject, eventtype, reason, action, note string, args ...any)
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	flock := &Flock{}
	if err := r.Get(ctx, request.NamespacedName, flock); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if flock.DeletionTimestamp != nil {
		return ctrl.Result{}, r.sayFarewell(ctx, flock)
	}
	before := flock.DeepCopyObject().(*Flock)
	if controllerutil.AddFinalizer(flock, finalizer) {
		return ctrl.Result{}, r.Patch(ctx, flock, client.MergeFrom(before)) // Its change brings us back here.
	}
	greeting, err := r.greeting(ctx, flock)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.apply(ctx, flock, greeting); err != nil {
		return ctrl.Result{}, unlessNamespaceGoes(err)
	}
	return ctrl.Result{}, r.tell(ctx, flock)
}

// greeting is what the flock's word for it means in its namespace.
func (r *reconciler) greeting(ctx context.Context, flock *Flock) (string, error) {
	known := &corev1.ConfigMapList{}
	if err := r.List(ctx, known, client.InNamespace(flock.Namespace)); err != nil {
		return "", err
	}
	for _, words := range known.Items {
		if text, ok := words.Data[flock.Spec.Greeting]; ok {
			return text, nil
		}
	}
	return flock.Spec.Greeting, nil
}

func (r *reconciler) apply(ctx context.Context, flock *Flock, greeting string) error {
	labels := map[string]string{flockLabel: flock.Name}
	owner := metaac.OwnerReference().WithAPIVersion(Stored.String()).WithKind("Flock").WithName(flock.Name).
		WithUID(flock.UID).WithController(true).WithBlockOwnerDeletion(true)
	service := coreac.Service(flock.Name, flock.Namespace).WithLabels(labels).WithOwnerReferences(owner).
		WithSpec(coreac.ServiceSpec().WithClusterIP(corev1.ClusterIPNone).WithSelector(labels))
	container := coreac.Container().WithName("pet").WithImage("busybox").
		WithEnv(coreac.EnvVar().WithName("GREETING").WithValue(greeting))
	pod := coreac.PodTemplateSpec().WithLabels(labels).
		WithSpec(coreac.PodSpec().WithTerminationGracePeriodSeconds(1).WithContainers(container))
	set := appsac.StatefulSet(flock.Name, flock.Namespace).WithLabels(labels).WithOwnerReferences(owner).
		WithSpec(appsac.StatefulSetSpec().WithReplicas(flock.Spec.Pets).WithServiceName(flock.Name).
			WithSelector(metaac.LabelSelector().WithMatchLabels(labels)).WithTemplate(pod))
	if err := r.Apply(ctx, service, client.FieldOwner(manager), client.ForceOwnership); err != nil {
		return err
	}
	if err := r.Apply(ctx, set, client.FieldOwner(manager), client.ForceOwnership); err != nil {
		return err
	}
	applied.Inc()
	return nil
}

// tell writes the status, and an event when the flock has become ready.
func (r *reconciler) tell(ctx context.Context, flock *Flock) error {
	set := &appsv1.StatefulSet{}
	if err := r.Get(ctx, client.ObjectKeyFromObject(flock), set); err != nil {
		return client.IgnoreNotFound(err) // It comes with the cache.
	}
	was := meta.IsStatusConditionTrue(flock.Status.Conditions, conditionName)
	ready := set.Status.ObservedGeneration == set.Generation && set.Status.UpdatedReplicas == flock.Spec.Pets &&
		set.Status.ReadyReplicas == flock.Spec.Pets && *set.Spec.Replicas == flock.Spec.Pets
	condition := metav1.Condition{
		Type: conditionName, Status: metav1.ConditionFalse, Reason: "Waiting", ObservedGeneration: flock.Generation,
		Message: fmt.Sprintf("%d of %d pets are ready", set.Status.ReadyReplicas, flock.Spec.Pets),
	}
	if ready {
		condition.Status, condition.Reason = metav1.ConditionTrue, "Complete"
	}
	before := flock.DeepCopyObject().(*Flock)
	flock.Status.Ready, flock.Status.Selector = set.Status.ReadyReplicas, flockLabel+"="+flock.Name
	flock.Status.ObservedGeneration = flock.Generation
	meta.SetStatusCondition(&flock.Status.Conditions, condition)
	if err := r.Status().Patch(ctx, flock, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	if ready && !was {
		r.events.Eventf(flock, set, corev1.EventTypeNormal, "Complete", "Watch", "all %d pets are ready", flock.Spec.Pets)
	}
	return nil
}

// sayFarewell leaves a ConfigMap behind before it lets a flock go.
func (r *reconciler) sayFarewell(ctx context.Context, flock *Flock) error {
	before := flock.DeepCopyObject().(*Flock)
	if !controllerutil.RemoveFinalizer(flock, finalizer) {
		return nil
	}
	farewell := coreac.ConfigMap(flock.Name+"-farewell", flock.Namespace).
		WithData(map[string]string{"pets": fmt.Sprint(flock.Spec.Pets)})
	if err := r.Apply(ctx, farewell, client.FieldOwner(manager), client.ForceOwnership); unlessNamespaceGoes(err) != nil {
		return err
	}
	return client.IgnoreNotFound(r.Patch(ctx, flock, client.MergeFrom(before)))
}

// unlessNamespaceGoes is the error, but for what cannot be made in a namespace that is being deleted: there is nobody left
// to miss it, and a finalizer that waited for it would hold up the namespace for ever.
func unlessNamespaceGoes(err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

func (r *reconciler) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).For(&Flock{}).Owns(&appsv1.StatefulSet{}).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.flocksOf)).Complete(r)
}

// flocksOf names every flock of the namespace whose greetings have changed.
func (r *reconciler) flocksOf(ctx context.Context, words client.Object) []reconcile.Request {
	flocks := &FlockList{}
	if err := r.List(ctx, flocks, client.InNamespace(words.GetNamespace())); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for _, flock := range flocks.Items {
		name := types.NamespacedName{Namespace: flock.Namespace, Name: flock.Name}
		requests = append(requests, reconcile.Request{NamespacedName: name})
	}
	return requests
}
