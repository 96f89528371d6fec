// Package kube says what the pods of this machine are called: which namespace,
// which name, which workload they belong to, which containers they have and
// what they requested. It asks the Kubernetes API, by a watch of this node's
// pods alone, or this node's own kubelet.
//
// It refuses to know more than that: no other node's pods, no secret, no
// environment or command of a container; what it does not use is dropped while
// it is decoded. It needs no API to be there: without one the last answer
// stays valid, and no joule depends on it.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"noether/internal/probe"
	"noether/internal/workload"
)

// The modes.
const (
	API     = "api"     // a watch of the Kubernetes API
	Kubelet = "kubelet" // the list of pods of this node's kubelet
)

// Options say whom to ask and about what.
type Options struct {
	Mode string // API or Kubelet
	Node string // the name of this machine's Node object

	// Kubeconfig says where the API is and who asks. Without one the
	// environment of a pod says it.
	Kubeconfig string
	// TokenFile and CAFile replace those of the service account, or of Kubeconfig.
	TokenFile, CAFile string

	KubeletURL string // DefaultKubeletURL when empty
	// KubeletCA signs the kubelet's certificate; the service account's CA, or
	// the system's, when empty.
	KubeletCA string

	Labels []LabelKey
	Log    *slog.Logger
	// Machine is what this machine has: it stands for what pods can reserve
	// where the Node object may not be read.
	Machine workload.Reserved
	Now     func() time.Time
	// Version stands in the user agent; "devel" when empty.
	Version string
}

// DefaultKubeletURL is where a kubelet listens.
const DefaultKubeletURL = "https://127.0.0.1:10250"

// Source knows the pods of one node. It is safe for concurrent use.
type Source struct {
	mode   string
	log    *slog.Logger
	index  *index
	health *health
	meter  *meter
	run    func(context.Context) error
	check  func(context.Context) (reason string, err error)
	asks   *asks // nil: nobody can be asked for one pod
}

// silenceKlog drops what the Kubernetes client would write to standard error
// in a format of its own. What matters in it comes back as errors.
//
//nolint:gochecknoglobals // klog's logger is one for the process and may be set only once
var silenceKlog = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })

// Open returns a source that nothing has answered yet. It sends nothing. It
// fails when files or settings cannot be used, with a [probe.Error] that says
// what to do.
func Open(o Options) (*Source, error) {
	if o.Now == nil || o.Log == nil {
		return nil, errors.New("opening the source of pod names: it was given no clock or no logger")
	}
	if o.Node == "" {
		return nil, &probe.Error{
			Status: probe.Broken,
			Remedy: "set --node-name to this machine's name in: kubectl get nodes",
			Err:    errors.New("opening the source of pod names: the name of the node is not set"),
		}
	}
	silenceKlog()
	s := &Source{
		mode:  o.Mode,
		log:   o.Log,
		index: newIndex(o.Node, o.Labels, o.Now),
		meter: new(meter),
	}
	s.health = &health{source: o.Mode, log: o.Log, now: o.Now}
	var err error
	switch o.Mode {
	case API:
		err = s.openAPI(o)
	case Kubelet:
		err = s.openKubelet(o)
	default:
		err = fmt.Errorf("opening the source of pod names: mode %q is unknown: use %s or %s", o.Mode, API, Kubelet)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Run asks until ctx is done. Whatever fails is tried again, with growing
// distance, and logged once when it starts and once when it ends.
func (s *Source) Run(ctx context.Context) error { return s.run(ctx) }

// Latest returns what is known by now; the same pointer when nothing has
// changed since the last call.
func (s *Source) Latest() *workload.Names { return s.index.names() }

// Missing tells which living pods and containers have no name. A watch hears
// of each by itself; a kubelet is asked.
func (s *Source) Missing(owners []workload.Owner) {
	if s.asks != nil {
		s.asks.missing(owners)
	}
}

// Status appends how this source is doing to dst.
func (s *Source) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	up, synced := s.health.state()
	return append(dst, workload.NamesStatus{
		Source:   s.mode,
		Up:       up,
		Requests: s.meter.requests.Load(),
		Bytes:    s.meter.bytes.Load(),
		Known:    s.index.known(),
		Synced:   synced,
	})
}
