package kube

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"noether/internal/probe"
	"noether/internal/workload"
)

// The distances between requests to a kubelet.
const (
	pollInterval   = 30 * time.Second
	askInterval    = time.Second // at least, between any two requests
	maxBackoff     = 30 * time.Second
	kubeletTimeout = 15 * time.Second
)

// kubelet asks this node's kubelet for its pods: all of them, each time, since
// its API knows no other question.
type kubelet struct {
	url string // of the list of pods
	// clients verify the kubelet's certificate against one name each. A kubelet
	// that is asked by an address has a certificate for its node's name, and not
	// always one for that address.
	clients []*http.Client
	now     func() time.Time
	index   *index
	health  *health
	asks    *asks
}

func (s *Source) openKubelet(o Options) error {
	address := o.KubeletURL
	if address == "" {
		address = DefaultKubeletURL
	}
	to, err := url.Parse(address)
	if err != nil || to.Scheme != "https" || to.Hostname() == "" {
		return &probe.Error{
			Status: probe.Broken,
			Remedy: "set --kube-kubelet-url to https://ADDRESS:10250; noether sends a token and does so over verified TLS alone",
			Err:    fmt.Errorf("opening the source of pod names: %q is no https address", address),
		}
	}
	token, ca := o.TokenFile, o.KubeletCA
	if token == "" {
		token = serviceAccountToken
	}
	if err := readable(token, "token", "--kube-token-file"); err != nil {
		return err
	}
	if ca == "" {
		ca = o.CAFile
	}
	if ca == "" {
		if _, err := os.Stat(serviceAccountCA); err == nil {
			ca = serviceAccountCA
		}
	}
	if err := readable(ca, "kubelet's CA", "--kube-kubelet-ca"); err != nil {
		return err
	}
	k := &kubelet{url: to.JoinPath("pods").String(), now: o.Now, index: s.index, health: s.health, asks: newAsks(o.Now)}
	names := []string{""} // that of the address
	if net.ParseIP(to.Hostname()) != nil || to.Hostname() == "localhost" {
		names = []string{o.Node, ""}
	}
	for _, name := range names {
		config := &rest.Config{
			Host:            address,
			BearerTokenFile: token,
			TLSClientConfig: rest.TLSClientConfig{CAFile: ca, ServerName: name},
			// It runs on this machine: HTTPS_PROXY is for what is further away.
			Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		}
		o.finish(config, s.meter)
		client, err := httpClient(config)
		if err != nil {
			return &probe.Error{
				Status: probe.Broken,
				Remedy: "see --kube-token-file and --kube-kubelet-ca",
				Err:    fmt.Errorf("preparing to ask the kubelet at %s%s: %w", address, verifiedBy(config), err),
			}
		}
		k.clients = append(k.clients, client)
	}
	s.index.node = "" // a kubelet has no others
	s.index.reserve(o.Machine)
	s.index.describe(workload.NodeFacts{Known: true}) // a kubelet says nothing of its node
	s.asks = k.asks
	s.run, s.check = k.run, k.check
	return nil
}

// run keeps the index as the kubelet has it until ctx is done.
func (k *kubelet) run(ctx context.Context) error {
	backoff := askInterval
	for ctx.Err() == nil {
		asked := k.now()
		err := k.poll(ctx)
		if err == nil {
			k.asks.answered(asked)
			backoff = askInterval
			pause(ctx, jittered(pollInterval), k.asks.wake)
			pause(ctx, askInterval-k.now().Sub(asked), nil)
			continue
		}
		k.health.failed(ctx, err)
		pause(ctx, jittered(backoff), nil)
		backoff = min(2*backoff, maxBackoff)
	}
	return nil
}

// jittered returns d and up to a tenth more, so that machines that started
// together do not ask together.
func jittered(d time.Duration) time.Duration { return d + time.Duration(rand.Int64N(int64(d/10))) }

// pause waits for d, or until woken, or until ctx is done.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

// poll asks once.
func (k *kubelet) poll(ctx context.Context) error {
	var all []*derived
	err := k.fetch(ctx, func(p *pod) {
		if len(all) == maxPods {
			return
		}
		if d, ok := k.index.derive(p); ok {
			all = append(all, d)
		}
	})
	if err != nil {
		return k.explain(err)
	}
	k.index.replace(all)
	k.health.answered(ctx)
	k.health.complete()
	return nil
}

// fetch gets the list of pods and calls each with every one, under whichever
// name the kubelet's certificate is for.
func (k *kubelet) fetch(ctx context.Context, each func(*pod)) error {
	ctx, cancel := context.WithTimeout(ctx, kubeletTimeout)
	defer cancel()
	var err error
	for i, client := range k.clients {
		if err = k.fetchWith(ctx, client, each); !isOtherName(err) {
			// The one that was right this time is the first to be tried next time.
			k.clients[0], k.clients[i] = k.clients[i], k.clients[0]
			break
		}
	}
	return err
}

func isOtherName(err error) bool {
	var name x509.HostnameError
	return errors.As(err, &name)
}

func (k *kubelet) fetchWith(ctx context.Context, client *http.Client, each func(*pod)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	return decodePods(resp.Body, each)
}

// statusError is an answer other than 200 OK.
type statusError int

// Error returns the status; the answer's text is the kubelet's and may name the token's user.
func (e statusError) Error() string {
	return fmt.Sprintf("it answered %d %s", int(e), http.StatusText(int(e)))
}

// decodePods reads a core/v1 PodList and calls each with one pod after the other.
func decodePods(r io.Reader, each func(*pod)) error {
	decoder := json.NewDecoder(r)
	if err := expect(decoder, json.Delim('{')); err != nil {
		return err
	}
	found := false
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("reading the list of pods: %w", err)
		}
		if key != "items" {
			var dropped json.RawMessage
			if err := decoder.Decode(&dropped); err != nil {
				return fmt.Errorf("reading the list of pods: %w", err)
			}
			continue
		}
		found = true
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("reading the list of pods: %w", err)
		}
		if token == nil {
			continue // null: there are none
		}
		if token != json.Delim('[') {
			return errors.New("reading the list of pods: its items are no list")
		}
		for decoder.More() {
			p := new(pod)
			if err := decoder.Decode(p); err != nil {
				return fmt.Errorf("reading the list of pods: %w", err)
			}
			each(p)
		}
		if err := expect(decoder, json.Delim(']')); err != nil {
			return err
		}
	}
	if err := expect(decoder, json.Delim('}')); err != nil {
		return err
	}
	if !found {
		return errors.New("reading the list of pods: it has no items")
	}
	return nil
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("reading the list of pods: %w", err)
	}
	if token != want {
		return fmt.Errorf("reading the list of pods: %s was expected and something else found", want)
	}
	return nil
}

// explain returns err with what can be done about it.
func (k *kubelet) explain(err error) error {
	status, remedy := probe.Broken, "is the kubelet running? In a pod without hostNetwork, and where a NetworkPolicy forbids it, "+
		"its loopback address is out of reach: set --kube-kubelet-url https://NODE-IP:10250"
	var code statusError
	switch {
	case errors.As(err, &code) && code == http.StatusForbidden:
		status = probe.Forbidden
		remedy = `grant it: a ClusterRole with {apiGroups: [""], resources: [nodes/pods], verbs: [get]}, bound to the agent's service account. ` +
			"A kubelet before Kubernetes 1.33 without the feature gate KubeletFineGrainedAuthz asks for nodes/proxy instead, " +
			"which also permits running commands in every container of the node: use --kube-source api there"
	case errors.As(err, &code) && code == http.StatusUnauthorized:
		status = probe.Forbidden
		remedy = "the kubelet does not accept the token: see --kube-token-file; the kubelet needs authentication.webhook.enabled: true"
	case errors.As(err, &code):
		remedy = "does --kube-kubelet-url lead to a kubelet's secure port (10250)?"
	case isToken(err):
		remedy = tokenRemedy
	case isOtherName(err):
		remedy = "set --kube-kubelet-url to a name or address that the certificate is for, such as https://NODE-IP:10250"
	case isTLS(err):
		remedy = tlsRemedy(err, "the service account's CA, or --kube-kubelet-ca,") +
			". A kubelet signs its certificate itself unless it has serverTLSBootstrap: true: " +
			"then set --kube-kubelet-ca to a copy of /var/lib/kubelet/pki/kubelet.crt of this node"
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s", kubeletTimeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok { // it would repeat the address
		err = wrapped.Err
	}
	return &probe.Error{Status: status, Remedy: remedy, Err: fmt.Errorf("asking the kubelet at %s: %w", strings.TrimSuffix(k.url, "/pods"), err)}
}

// check asks once.
func (k *kubelet) check(ctx context.Context) (string, error) {
	n := 0
	if err := k.fetch(ctx, func(*pod) { n++ }); err != nil {
		return "", k.explain(err)
	}
	return fmt.Sprintf("%d pods", n), nil
}
