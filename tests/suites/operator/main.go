// An operator as people write them with controller-runtime: `operator --metrics ADDRESS` looks after Flocks for as long
// as it holds the Lease, and `operator --webhooks PORT --certificates FOLDER` answers the API server's questions.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/conversion"
)

type runtimeObject = runtime.Object

var (
	leaseDuration = 3 * time.Second
	renewDeadline = 2 * time.Second
	retryPeriod   = 500 * time.Millisecond
)

func main() {
	address := flag.String("metrics", "0", "where metrics are served; 0: nowhere")
	port := flag.Int("webhooks", 0, "serve webhooks at this port, and look after nothing")
	certificates := flag.String("certificates", "", "the folder of tls.crt and tls.key")
	namespace := flag.String("namespace", "default", "where the Lease is")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*address, *port, *certificates, *namespace); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run(address string, port int, certificates, namespace string) error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	addToScheme(scheme)
	options := ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: address},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}:   {Label: having(greetingLabel)},
			&appsv1.StatefulSet{}: {Label: having(flockLabel)},
		}},
		LeaderElection: port == 0, LeaderElectionID: "flocks", LeaderElectionNamespace: namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &leaseDuration, RenewDeadline: &renewDeadline, RetryPeriod: &retryPeriod,
	}
	if port != 0 {
		options.WebhookServer = webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certificates})
	}
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), options)
	if err != nil {
		return err
	}
	if port != 0 {
		err = setupWebhooks(mgr)
	} else {
		err = (&reconciler{Client: mgr.GetClient(), events: mgr.GetEventRecorder(manager)}).setup(mgr)
	}
	if err != nil {
		return err
	}
	return mgr.Start(ctrl.SetupSignalHandler())
}

func setupWebhooks(mgr ctrl.Manager) error {
	converter := conversion.NewHubSpokeConverter(&Flock{}, conversion.NewSpokeConverter(&OlderFlock{}, toOlder, fromOlder))
	return ctrl.NewWebhookManagedBy(mgr, &Flock{}).
		WithDefaulter(rules{}).WithValidator(rules{}).WithConverter(converter).Complete()
}

func having(label string) labels.Selector {
	requirement, err := labels.NewRequirement(label, selection.Exists, nil)
	if err != nil {
		panic(err)
	}
	return labels.NewSelector().Add(*requirement)
}
