package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"noether/internal/probe"
	"noether/internal/workload"
)

// The files of a service account in a pod:
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const (
	serviceAccount      = "/var/run/secrets/kubernetes.io/serviceaccount/"
	serviceAccountToken = serviceAccount + "token"
	serviceAccountCA    = serviceAccount + "ca.crt"
)

// The distances between requests.
const (
	listTimeout  = time.Minute      // of one page of pods
	watchTimeout = 90 * time.Second // until a watch begins to answer: longer than between two bookmarks
	watchGrace   = 30 * time.Second // after the time at which the server should have ended it
	nodeInterval = 5 * time.Minute
	apiBackoff   = 15 * time.Second // or up to twice that: for so long are names late after an outage
	pageSize     = 500
)

// api asks the Kubernetes API.
type api struct {
	node    string
	url     string
	client  *rest.RESTClient
	params  runtime.ParameterCodec
	machine workload.Reserved

	log    *slog.Logger
	index  *index
	health *health

	listTimeout, watchTimeout time.Duration

	watches sync.WaitGroup
	doubted atomic.Bool // the last watch ended with something that is no event
	backoff wait.Backoff
}

func (s *Source) openAPI(o Options) error {
	a, err := newAPI(o, s.index, s.health, s.meter)
	if err != nil {
		return err
	}
	s.run, s.check = a.run, a.check
	return nil
}

func newAPI(o Options, x *index, h *health, m *meter) (*api, error) {
	client, url, params, err := o.coreClient(m, map[string]runtime.Object{"Pod": &pod{}, "PodList": &podList{}, "Node": &node{}})
	if err != nil {
		return nil, err
	}
	return &api{
		node: o.Node, url: url, client: client, params: params,
		machine: o.Machine, log: o.Log, index: x, health: h,
		listTimeout: listTimeout, watchTimeout: watchTimeout,
		backoff: wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 1, Steps: 10, Cap: apiBackoff},
	}, nil
}

// CoreClient returns a client of the core API, and its address, for objects of
// other kinds than pods: it asks by the same settings, refuses what Open
// refuses, and reads no more. Node, Log and what concerns names may be left out.
func CoreClient(o Options, kinds map[string]runtime.Object) (*rest.RESTClient, string, error) {
	silenceKlog()
	client, url, _, err := o.coreClient(new(meter), kinds)
	return client, url, err
}

func (o *Options) coreClient(m *meter, kinds map[string]runtime.Object) (*rest.RESTClient, string, runtime.ParameterCodec, error) {
	config, err := o.apiConfig()
	if err != nil {
		return nil, "", nil, err
	}
	o.finish(config, m)
	scheme := runtime.NewScheme()
	v1 := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, v1)
	for kind, object := range kinds {
		scheme.AddKnownTypeWithName(v1.WithKind(kind), object)
	}
	config.APIPath = "/api"
	config.GroupVersion = &v1
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.AcceptContentTypes, config.ContentType = "application/json", "application/json"
	var client *rest.RESTClient
	through, err := httpClient(config)
	if err == nil {
		client, err = rest.RESTClientForConfigAndClient(config, through)
	}
	if err != nil {
		return nil, "", nil, &probe.Error{
			Status: probe.Broken,
			Remedy: "see --kube-config and --kube-token-file",
			Err:    fmt.Errorf("preparing to ask the Kubernetes API at %s%s: %w", config.Host, verifiedBy(config), err),
		}
	}
	return client, config.Host, runtime.NewParameterCodec(scheme), nil
}

// apiConfig returns where the API is and how it is asked.
func (o *Options) apiConfig() (*rest.Config, error) {
	var config *rest.Config
	if o.Kubeconfig != "" {
		var err error
		if config, err = readKubeconfig(o.Kubeconfig); err != nil {
			return nil, err
		}
	} else {
		// What every pod is told: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT") //nolint:forbidigo // as rest.InClusterConfig, which also insists on the default files
		if host == "" || port == "" {
			return nil, &probe.Error{
				Status: probe.Absent,
				Remedy: "outside a cluster set --kube-config FILE",
				Err:    errors.New("finding the Kubernetes API: this process runs in no pod (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set)"),
			}
		}
		config = &rest.Config{
			Host:            "https://" + net.JoinHostPort(host, port),
			BearerTokenFile: serviceAccountToken,
			TLSClientConfig: rest.TLSClientConfig{CAFile: serviceAccountCA},
		}
	}
	if o.TokenFile != "" {
		config.BearerToken, config.BearerTokenFile = "", o.TokenFile
	}
	if o.CAFile != "" {
		config.CAData, config.CAFile = nil, o.CAFile
	}
	if err := readable(config.BearerTokenFile, "token", "--kube-token-file"); err != nil {
		return nil, err
	}
	if err := readable(config.CAFile, "CA", "--kube-config"); err != nil {
		return nil, err
	}
	return config, nil
}

// readKubeconfig returns the current context of a kubeconfig. One that would
// start a program to log in, or that switches verification off, is refused.
func readKubeconfig(file string) (*rest.Config, error) {
	refuse := func(remedy string, err error) error {
		return &probe.Error{Status: probe.Broken, Remedy: remedy, Err: fmt.Errorf("reading kubeconfig %s: %w", file, err)}
	}
	raw, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return nil, refuse("check --kube-config: kubectl --kubeconfig "+file+" config view", err)
	}
	if err := clientcmd.ResolveLocalPaths(raw); err != nil {
		return nil, refuse("give certificates in it by absolute paths", err)
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, nil).ClientConfig()
	if err != nil {
		return nil, refuse("check its current-context: kubectl --kubeconfig "+file+" config current-context", err)
	}
	switch {
	case config.ExecProvider != nil || config.AuthProvider != nil:
		return nil, refuse("use a token (tokenFile) or a client certificate in it",
			errors.New("its user logs in by a program, and noether starts none"))
	case config.Insecure:
		return nil, refuse("give certificate-authority instead of insecure-skip-tls-verify",
			errors.New("it switches the verification of the API server off, and then anybody could read the token"))
	}
	return config, nil
}

// readable refuses a file that cannot be read; an empty name is none.
func readable(file, what, flag string) error {
	if file == "" {
		return nil
	}
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file that can be read again and again", file) // a pipe would also keep the agent from starting
	}
	if err == nil {
		var f *os.File
		if f, err = os.Open(file); err == nil {
			return f.Close()
		}
	}
	status := probe.Broken
	if errors.Is(err, os.ErrPermission) {
		status = probe.Forbidden
	}
	return &probe.Error{
		Status: status,
		Remedy: "in a pod mount the service account's token (automountServiceAccountToken: true), elsewhere set " + flag,
		Err:    fmt.Errorf("reading the %s for Kubernetes: %w", what, err),
	}
}

// finish sets what is the same for everybody who is asked.
func (o *Options) finish(config *rest.Config, m *meter) {
	version := o.Version
	if version == "" {
		version = "devel"
	}
	config.UserAgent = "noether/" + version
	config.WarningHandlerWithContext = rest.NoWarnings{}
	config.Wrap(m.through)
	if file := config.BearerTokenFile; file != "" {
		// The client's own way is not to look at the file for a minute, also after a 401.
		config.BearerToken, config.BearerTokenFile = "", ""
		config.Wrap(transport.ResettableTokenSourceWrapTransport(transport.NewCachedFileTokenSource(file)))
	}
}

// httpClient returns what sends the requests. A token is put on each of them,
// so that none may be sent on to where an answer points.
func httpClient(config *rest.Config) (*http.Client, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	direct := *client // it may be everybody's
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &direct, nil
}

// verifiedBy names the file of certificates, where there is one: no error of the client does.
func verifiedBy(config *rest.Config) string {
	if config.CAFile == "" {
		return ""
	}
	return ", verified by " + config.CAFile
}

// run keeps the index as the API has it until ctx is done.
func (a *api) run(ctx context.Context) error {
	var node sync.WaitGroup
	node.Go(func() { a.watchNode(ctx) })
	reflector := cache.NewReflectorWithOptions(a.listWatch(), &pod{}, store{a.index, a.health}, cache.ReflectorOptions{
		Name: "pods", Backoff: &a.backoff,
	})
	reflector.RunWithContext(ctx)
	node.Wait()
	a.watches.Wait()
	return nil
}

// listWatch asks for the pods of the node. The client streams them where the
// server can (sendInitialEvents), else lists them, as held in the server's
// memory where that is allowed, and watches from there.
func (a *api) listWatch() *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := a.list(ctx, options)
			if err != nil {
				a.note(ctx, err)
				return nil, err
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := a.watch(ctx, options)
			if err == nil {
				return w, nil
			}
			if options.SendInitialEvents == nil {
				a.note(ctx, err)
				return nil, err
			}
			if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
				return nil, err // the server is older than that: the client lists instead
			}
			a.note(ctx, err)
			if !expired(err) {
				// The client would wait for a refused connection without an ear for ctx.
				err = errors.New(err.Error())
			}
			return nil, err
		},
	}
}

// note says that an answer was an error, unless that is a matter of course.
func (a *api) note(ctx context.Context, err error) {
	if !expired(err) {
		a.health.failed(ctx, a.explain(err))
	}
}

// expired reports whether err says that the server has forgotten where the watch was.
func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

func (a *api) list(ctx context.Context, options metav1.ListOptions) (*podList, error) {
	ctx, cancel := context.WithTimeout(ctx, a.listTimeout)
	defer cancel()
	options.FieldSelector = a.selector()
	list := new(podList)
	err := a.client.Get().Resource("pods").VersionedParams(&options, a.params).Do(ctx).Into(list)
	if err == nil && list.ResourceVersion == "" {
		err = errors.New("the answer is no list of pods")
	}
	if err != nil {
		return nil, fmt.Errorf("listing the pods of node %s: %w", a.node, err)
	}
	return list, nil
}

func (a *api) selector() string { return fields.OneTermEqualSelector("spec.nodeName", a.node).String() }

// watchNode asks what pods can reserve, and what the node is, now and then.
func (a *api) watchNode(ctx context.Context) {
	known, said := false, false
	for ctx.Err() == nil {
		wait := nodeInterval
		n, err := a.readNode(ctx)
		if err == nil {
			known = true
			a.index.reserve(n.Status.Allocatable.reserved())
			a.index.describe(n.facts())
		} else if !known && ctx.Err() == nil {
			a.index.reserve(a.machine)
			denied := apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
			if denied {
				a.index.describe(workload.NodeFacts{Known: true})
			}
			if denied && !said {
				said = true
				attrs := []slog.Attr{slog.String("reason", err.Error())}
				if known, ok := errors.AsType[*probe.Error](a.explain(err)); ok {
					attrs = append(attrs, slog.String("remedy", known.Remedy))
				}
				a.log.LogAttrs(ctx, slog.LevelWarn,
					"the node cannot be read; this machine's own CPUs and memory stand for what pods can reserve", attrs...)
			}
			if !denied { // an API that does not answer at all is told by the watch
				wait = nodeInterval / 10
			}
		}
		pause(ctx, jittered(wait), nil)
	}
}

// readNode asks for the node: what pods can reserve on it, and where it is.
func (a *api) readNode(ctx context.Context) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, a.listTimeout)
	defer cancel()
	n := new(node)
	err := a.client.Get().Resource("nodes").Name(a.node).Do(ctx).Into(n)
	if err == nil && len(n.Status.Allocatable) == 0 {
		err = errors.New("the answer says nothing of what pods can reserve")
	}
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", a.node, err)
	}
	return n, nil
}

// store is the client's view of the index.
type store struct {
	index  *index
	health *health
}

// Add puts a pod.
func (s store) Add(obj any) error {
	if p, ok := obj.(*pod); ok {
		s.index.set(p)
	}
	return nil
}

// Update puts a pod.
func (s store) Update(obj any) error { return s.Add(obj) }

// Delete removes a pod.
func (s store) Delete(obj any) error {
	if p, ok := obj.(*pod); ok {
		s.index.remove(p)
	}
	return nil
}

// Replace puts all pods in place of those known.
func (s store) Replace(objs []any, _ string) error {
	all := make([]*derived, 0, len(objs))
	for _, obj := range objs {
		if p, ok := obj.(*pod); ok {
			if d, ok := s.index.derive(p); ok {
				all = append(all, d)
			}
		}
	}
	s.index.replace(all)
	s.health.complete()
	return nil
}

// Resync does nothing: the index is all there is.
func (s store) Resync() error { return nil }

// UpdateResourceVersion notes that all is known up to an event or bookmark.
func (s store) UpdateResourceVersion(string) { s.health.complete() }

// Transformer returns what is done to pods while they are still streamed, so
// that only what is used of them is ever held.
func (s store) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		p, ok := obj.(*pod)
		if !ok {
			return obj, nil
		}
		d, ok := s.index.derive(p)
		if !ok {
			d = &derived{}
		}
		slim := &pod{derived: d}
		slim.Metadata.Name, slim.Metadata.Namespace = p.Metadata.Name, p.Metadata.Namespace
		slim.Metadata.UID, slim.Metadata.ResourceVersion = p.Metadata.UID, p.Metadata.ResourceVersion
		return slim, nil
	}
}
