package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// What the chart is told of the site, and what the provider tells of its grid.
const (
	region       = "eu-central-1" // of a cloud, in Germany: the grid zone is DE
	pue          = 1.2
	embodiedKg   = 1000
	intensity    = 300.0 // g/kWh
	gramsOfJoule = pue * intensity / 3.6e6
	mapsHost     = "api.electricitymaps.com"
	gridKey      = "c2VjcmV0LW9mLXRoZS1ncmlk" // that only the hub may know
	proxyAddress = cluster.NodeIP + ":3128"
	heldForecast = "carbon-intensity" // ConfigMap in kube-system
)

// electricityMaps plays that service behind a proxy, which is how the cluster
// reaches the world, and counts what it is asked: https://portal.electricitymaps.com/docs/api.
type electricityMaps struct {
	mu    sync.Mutex
	began time.Time
	asked map[string]int // by the last element of the path
	wrong []string
}

// serveGrid starts the service and its proxy at an address of the cluster, and
// gives the hub a key and the authority of the service's certificate.
func (l *lab) serveGrid(t *testing.T) {
	t.Helper()
	authority, certificate := certify(t, mapsHost)
	l.grid = &electricityMaps{began: time.Now(), asked: map[string]int{}}
	inner := &tunnels{conns: make(chan net.Conn)}
	service := &http.Server{Handler: l.grid, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}}
	go service.ServeTLS(inner, "", "")
	var listener net.Listener
	if err := inside(l.Pid(cluster.Kubelet), func() (err error) {
		listener, err = net.Listen("tcp", proxyAddress)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != mapsHost+":443" {
			l.grid.object("the proxy was asked to %s %s", r.Method, r.Host)
			http.Error(w, "only "+mapsHost, http.StatusForbidden)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			l.grid.object("take over a connection: %v", err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		inner.conns <- conn
	})}
	go proxy.Serve(listener)
	t.Cleanup(func() { proxy.Close(); service.Close() })

	for _, object := range []map[string]any{
		{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "grid", "namespace": "noether"}, "data": map[string]string{"token": base64.StdEncoding.EncodeToString([]byte(gridKey + "\n"))}},
		{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "authority", "namespace": "noether"}, "data": map[string]string{"ca.crt": string(authority)}},
	} {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		l.apply(t, string(text))
	}
}

// carbonValues are those of the release with the hub.
func carbonValues() string {
	return fmt.Sprintf(`
carbon:
  providers: [electricitymaps]
  tokens: {secret: grid, keys: {electricitymaps: token}}
  pue: %g
  embodied: {kg: %d}
  hub:
    enabled: true
    zones: [DE]
    configMap: kube-system/%s
    extraEnv:
      - {name: HTTPS_PROXY, value: "http://%s"}
      - {name: NO_PROXY, value: %s}
      - {name: SSL_CERT_FILE, value: /authority/ca.crt}
    extraVolumes: [{name: authority, configMap: {name: authority}}]
    extraVolumeMounts: [{name: authority, mountPath: /authority, readOnly: true}]
    extraEgress: [{ports: [{port: 3128, protocol: TCP}]}]
networkPolicy: {enabled: true}
`, pue, embodiedKg, heldForecast, proxyAddress, cluster.ServiceCIDR)
}

func (m *electricityMaps) object(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(format, args...))
}

func (m *electricityMaps) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	m.mu.Lock()
	m.asked[what]++
	m.mu.Unlock()
	if got := r.Header.Get("auth-token"); got != gridKey {
		m.object("asked for %s with the key %q", what, got)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if zone := r.URL.Query().Get("zone"); zone != "DE" {
		m.object("asked for %s of zone %q", what, zone)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	hour := time.Now().UTC().Truncate(time.Hour)
	hours := func(from, to int) (list []any) {
		for i := from; i < to; i++ {
			list = append(list, mapsValue(hour.Add(time.Duration(i)*time.Hour)))
		}
		return list
	}
	answer := map[string]any{"zone": "DE", "temporalGranularity": "hourly"}
	switch what {
	case "latest":
		answer = mapsValue(hour)
	case "history":
		answer["history"] = hours(-23, 1)
	case "past-range":
		answer["data"] = hours(-48, -23)
	case "forecast":
		answer["forecast"] = hours(1, 25)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func mapsValue(from time.Time) map[string]any {
	return map[string]any{
		"zone": "DE", "carbonIntensity": intensity, "datetime": from.Format("2006-01-02T15:04:05.000Z"),
		"emissionFactorType": "lifecycle", "isEstimated": false, "estimationMethod": nil, "temporalGranularity": "hourly",
	}
}

// tunnels is a listener of connections that came through the proxy.
type tunnels struct {
	conns chan net.Conn
	once  sync.Once
}

func (l *tunnels) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *tunnels) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *tunnels) Addr() net.Addr { return &net.TCPAddr{} }

// certify makes a certificate that is its own authority.
func certify(t *testing.T, name string) (authority []byte, certificate tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hubPod is the pod of the hub.
func (l *lab) hubPod(t *testing.T) pod {
	t.Helper()
	return l.component(t, "carbon")
}

// component is the pod of a component of the first release that is no agent.
func (l *lab) component(t *testing.T, name string) pod {
	t.Helper()
	for _, p := range l.pods(t) {
		if p.Metadata.Namespace == "noether" && p.Metadata.Labels["app.kubernetes.io/component"] == name && p.Metadata.DeletionTimestamp == "" {
			return p
		}
	}
	t.Fatalf("there is no pod of the component %s", name)
	return pod{}
}

// testHub: one pod asks the provider for all agents, keeps the key to itself,
// and may do nothing else.
func (l *lab) testHub(t *testing.T) {
	l.kubectl(t, "rollout", "status", "deployment/noether-carbon", "-n", "noether", "--timeout=3m")
	for _, a := range []*agent{l.api, l.kubelet} {
		eventually(t, "the intensity of the hub's provider in "+a.release, func() error {
			if got := a.page(t).sum("noether_grid_carbon_intensity_grams_per_kwh", "grid_zone", "DE", "provider", "electricitymaps"); got != intensity {
				return fmt.Errorf("%g g/kWh", got)
			}
			return nil
		})
	}
	p := l.api.page(t)
	if got := p.sum("noether_pue_ratio"); got != pue {
		t.Errorf("PUE %g", got)
	}
	if got := p.sum("noether_node_embodied_grams"); math.Abs(got-1000*embodiedKg) > 1e-3 {
		t.Errorf("the hardware caused %g g", got)
	}

	pod := l.hubPod(t)
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	pid := l.pidOf(t, "the hub", id)
	status := statusOf(t, pid)
	if status["CapEff"] != "0000000000000000" || status["CapBnd"] != "0000000000000000" || status["NoNewPrivs"] != "1" || !strings.HasPrefix(status["Uid"], "65532\t") || status["Seccomp"] != "2" {
		t.Errorf("the hub has CapEff %s, CapBnd %s, NoNewPrivs %s, Uid %s, Seccomp %s", status["CapEff"], status["CapBnd"], status["NoNewPrivs"], status["Uid"], status["Seccomp"])
	}
	for _, c := range []struct{ verb, what, may string }{
		{"get", "configmap/" + heldForecast, "yes"},
		{"delete", "configmap/" + heldForecast, "yes"},
		{"get", "configmap/kube-root-ca.crt", "no"},
		{"delete", "configmap/kube-root-ca.crt", "no"},
		{"list", "configmaps", "no"},
		{"get", "secrets", "no"},
		{"list", "pods", "no"},
	} {
		// It ends with 1 for no.
		if out, _ := l.try("auth", "can-i", c.verb, c.what, "-n", "kube-system", "--as=system:serviceaccount:noether:noether-carbon"); strings.TrimSpace(out) != c.may {
			t.Errorf("may the hub %s %s? %s", c.verb, c.what, out)
		}
	}
	if got := l.kubectl(t, "get", "networkpolicy", "-n", "noether", "-o", "jsonpath={.items[*].metadata.name}"); got != "noether noether-carbon noether-ui" {
		t.Errorf("the network policies are %q", got)
	}
	eventually(t, "the forecast in the ConfigMap", func() error {
		got, err := l.try("get", "configmap", heldForecast, "-n", "kube-system", "-o", "jsonpath={.data.minForecast} {.data.numOfRecords}")
		if err != nil {
			return err
		}
		if !strings.HasPrefix(got, "300") {
			return fmt.Errorf("it says %q", got)
		}
		t.Logf("the ConfigMap's least and number of records: %s", got)
		return nil
	})
	eventually(t, "the hub in Prometheus", func() error {
		if up := l.prometheus.by(t, `up{job="noether-carbon"}`, time.Now(), "instance"); up["noether-carbon.noether"] != 1 {
			return fmt.Errorf("up: %v", up)
		}
		return nil
	})
}

// testCarbon: grams are joules by PUE and intensity, in Prometheus, for each
// namespace and for a Job whose pods are gone; hardware is shared by requests.
func (l *lab) testCarbon(t *testing.T) {
	// From the first scrape that has the provider's intensity on, all ticks have it.
	var from, to time.Time
	for _, a := range l.prometheus.ask(t, `noether_grid_carbon_intensity_grams_per_kwh{job="noether",provider="electricitymaps"}[30m]`, time.Now()) {
		// A value that is past its hour, until the next is asked for, is another series.
		if first := a.samples[0].at; from.IsZero() || first.Before(from) {
			from = first
		}
		to = maxTime(to, a.samples[len(a.samples)-1].at)
	}
	if to.Sub(from) < time.Minute {
		t.Fatalf("the intensity was scraped for %v", to.Sub(from))
	}
	if l.job.first.Before(from) {
		t.Fatalf("the Job began before anybody knew the intensity")
	}
	namespaces := l.prometheus.by(t, `sum by (namespace) (noether_namespace_joules_total{job="noether"})`, to.Add(time.Second), "namespace")
	if namespaces["shop"] == 0 || len(namespaces) < 2 {
		t.Fatalf("namespaces: %v", namespaces)
	}
	check := func(what, selector, view string, from, to time.Time) {
		t.Helper()
		joules := sumOf(l.rise(t, fmt.Sprintf("noether_%s_joules_total{job=%q%s}", view, "noether", selector), from, to))
		grams := sumOf(l.rise(t, fmt.Sprintf("noether_%s_co2e_grams_total{job=%q,phase=%q%s}", view, "noether", "operational", selector), from, to))
		if joules == 0 {
			t.Errorf("%s used nothing", what)
		}
		// A share is rounded to a nanogram in each tick, up or down.
		const rounding = 50e-9
		want := joules * gramsOfJoule
		near(t, "milligrams of "+what, 1e3*grams, 1e3*want, 1e-5+rounding/want)
	}
	check("the machine", "", "node", from, to)
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		check("namespace "+namespace, fmt.Sprintf(",namespace=%q", namespace), "namespace", from, to)
	}
	check("the Job's twenty pods, by the view", `,workload_kind="Job",workload="invoices",namespace="shop"`, "workload", l.job.first, to)
	for _, a := range l.prometheus.ask(t, fmt.Sprintf(`sum(increase(noether_workload_co2e_grams_total{job="noether",workload="invoices",namespace="shop",phase="operational"}[%ds]))`, int((to.Sub(l.job.first)+scrapeEvery).Seconds())), to.Add(time.Second)) {
		t.Logf("increase() says %.3f mg", 1e3*a.value)
	}

	at := to.Add(time.Second)
	node := l.prometheus.by(t, `sum by (phase) (noether_node_co2e_grams_total{job="noether"})`, at, "phase")
	owners := l.prometheus.by(t, `sum by (phase) ({__name__=~"noether_(pod|vm|unit|session|system)_co2e_grams_total|noether_retired_co2e_grams",job="noether"})`, at, "phase")
	for phase, v := range l.prometheus.by(t, `sum by (phase) (noether_container_co2e_grams_total{job="noether",pod_uid=""})`, at, "phase") {
		owners[phase] += v
	}
	if len(node) != 2 {
		t.Errorf("grams of the machine: %v", node)
	}
	for phase, v := range node {
		// In whole nanograms; sums of PromQL are of floating point.
		if math.Abs(v-owners[phase]) > 0.5e-9+1e-12*v {
			t.Errorf("in Prometheus the machine caused %.9f g (%s), its owners %.9f", v, phase, owners[phase])
		}
	}
	t.Logf("in Prometheus: machine %v g, owners %v g", node, owners)
	l.keepCarbon(t, at)
	t.Run("hardware goes by requests", l.testEmbodied)
	t.Run("the provider was asked once", l.testAskedOnce)
	t.Run("nobody tells the key", l.testKey)
}

// keepCarbon writes what users would see of it.
func (l *lab) keepCarbon(t *testing.T, at time.Time) {
	t.Helper()
	var b strings.Builder
	for _, query := range []string{
		`sort_desc(sum by (namespace, phase) (increase(noether_namespace_co2e_grams_total{job="noether"}[2m])))`,
		`noether_grid_carbon_intensity_grams_per_kwh`,
		`noether_pue_ratio`,
		`sum by (source) (noether_node_embodied_grams)`,
		`noether_site_source_requests_total`,
	} {
		fmt.Fprintln(&b, query)
		for _, a := range l.prometheus.ask(t, query, at) {
			fmt.Fprintf(&b, "  %.6g  %v\n", a.value, a.labels)
		}
	}
	l.keep("carbon.txt", b.String())
	l.keep("carbon-pods.txt", l.kubectl(t, "get", "pods,service,networkpolicy", "-n", "noether"))
	l.keep("carbon-hub.log", l.kubectl(t, "logs", "-n", "noether", "deployment/noether-carbon"))
}

// testEmbodied: between two ticks, what making the machine caused is shared by
// what pods request of its CPUs and memory, to the nanogram.
func (l *lab) testEmbodied(t *testing.T) {
	memory := float64(bytesOf(t, l.kubectl(t, "get", "node", l.Node, "-o", "jsonpath={.status.allocatable.memory}")))
	cpu := float64(l.allocatable(t))
	eventually(t, "two ticks without a change of pods", func() error {
		before := l.pods(t)
		a := l.api.page(t)
		b := l.api.next(t, a)
		after := l.pods(t)
		if !slices.EqualFunc(before, after, func(a, b pod) bool {
			return a.Metadata.UID == b.Metadata.UID && a.Status.Phase == b.Status.Phase
		}) {
			return errors.New("the pods changed")
		}
		delta := func(family string, want ...string) float64 {
			want = append(want, "phase", "embodied")
			return math.Round(1e9 * (b.sum(family, want...) - a.sum(family, want...)))
		}
		part := func(name string) float64 { return b.sum("noether_node_embodied_grams", "part", name) }
		all := part("cpu") + part("memory") + part("gpu") + part("rest")
		byCPU, byMemory := (part("cpu")+part("rest")/2)/all, (part("memory")+part("rest")/2)/all
		node := delta("noether_node_co2e_grams_total")
		if node <= 0 {
			return fmt.Errorf("the hardware caused %g ng", node)
		}
		pods := 0
		for _, p := range after {
			c, m := float64(p.millicores(t)), float64(p.memory(t))
			if c == 0 || m == 0 || p.Status.Phase != "Running" {
				continue
			}
			pods++
			got, want := delta("noether_pod_co2e_grams_total", "pod_uid", p.Metadata.UID), node*(byCPU*c/cpu+byMemory*m/memory)
			// Each container has shares of its own of the two, rounded to a nanogram,
			// as the machine's were.
			if leaves := 2 * float64(2+len(p.Spec.Containers)+len(p.Spec.InitContainers)); math.Abs(got-want) > leaves {
				return fmt.Errorf("%s requests %g of %g millicores and %g of %g bytes: %g ng of %g, want %.1f", p.name(), c, cpu, m, memory, got, node, want)
			}
			if by := b.sum("noether_pod_embodied_estimated", "pod_uid", p.Metadata.UID); by != 0 {
				return fmt.Errorf("%s pays by its requests, but is marked as estimated", p.name())
			}
		}
		if pods < 10 {
			return fmt.Errorf("%d pods request CPU and memory", pods)
		}
		t.Logf("%g ng of hardware in a tick, shared right by the requests of %d pods", node, pods)
		return nil
	})
}

// testAskedOnce: two agents and the ConfigMap, and one question for each value.
func (l *lab) testAskedOnce(t *testing.T) {
	l.grid.mu.Lock()
	defer l.grid.mu.Unlock()
	lasted := time.Since(l.grid.began)
	hours := int(time.Now().Truncate(time.Hour).Sub(l.grid.began.Truncate(time.Hour)) / time.Hour)
	t.Logf("asked in %v, over %d full hours: %v", lasted.Round(time.Second), hours, l.grid.asked)
	for what, most := range map[string]int{"latest": 1 + hours, "history": 1 + int(lasted.Hours()), "past-range": 1 + int(lasted.Hours()), "forecast": 1 + int(lasted.Hours())} {
		if n := l.grid.asked[what]; n < 1 || n > most {
			t.Errorf("%s was asked for %d times, want 1 to %d", what, n, most)
		}
	}
	for _, w := range l.grid.wrong {
		t.Error(w)
	}
}

// testKey: the key is in its Secret and in the hub's memory, and nowhere else.
func (l *lab) testKey(t *testing.T) {
	hub := l.hubPod(t)
	resp, err := l.client.Get("http://" + net.JoinHostPort(hub.Status.PodIP, "9878") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(page), `noether_site_source_requests_total{grid_zone="DE",source="electricitymaps"}`) {
		t.Errorf("the hub's page: %v\n%s", err, page)
	}
	said := map[string]string{
		"the hub's page": string(page), "the hub's log": l.kubectl(t, "logs", "-n", "noether", hub.Metadata.Name),
		"an object": l.kubectl(t, "get", "pods,deployments,daemonsets,configmaps,events", "-A", "-o", "yaml"),
	}
	_, id, _ := strings.Cut(hub.Status.ContainerStatuses[0].ContainerID, "://")
	pids := map[string]int{"the hub": l.pidOf(t, "the hub", id)}
	for _, a := range []*agent{l.api, l.kubelet} {
		said["the page of "+a.release] = a.page(t).text
		said["the log of "+a.release] = l.kubectl(t, "logs", "-n", a.namespace, "daemonset/"+a.release)
		pids[a.release] = l.pid(t, a)
	}
	for who, pid := range pids {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil || len(text) == 0 {
				t.Errorf("%s of %s: %d bytes, %v", file, who, len(text), err)
			}
			said[file+" of "+who] = string(text)
		}
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(gridKey + "\n"))
	for where, text := range said {
		if strings.Contains(text, gridKey) || strings.Contains(text, encoded) {
			t.Errorf("the key is in %s", where)
		}
	}
	for _, a := range []*agent{l.api, l.kubelet} {
		if tokens, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/etc/noether/tokens", l.pid(t, a))); tokens != nil {
			t.Errorf("%s has the tokens mounted", a.release)
		}
	}
}

// memory is the pod's request of memory in bytes, by the rule of millicores.
func (p pod) memory(t *testing.T) int64 {
	t.Helper()
	return p.request("memory", func(quantity string) int64 { return bytesOf(t, quantity) })
}

func bytesOf(t *testing.T, quantity string) int64 {
	t.Helper()
	if quantity == "" {
		return 0
	}
	number, unit := strings.TrimRight(quantity, "KMGi"), int64(1)
	switch quantity[len(number):] {
	case "":
	case "Ki":
		unit = 1 << 10
	case "Mi":
		unit = 1 << 20
	case "Gi":
		unit = 1 << 30
	default:
		t.Fatalf("request of memory %q", quantity)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		t.Fatalf("request of memory %q: %v", quantity, err)
	}
	return n * unit
}

func TestBytesOf(t *testing.T) {
	for quantity, want := range map[string]int64{"": 0, "123": 123, "8Ki": 8192, "16Mi": 16 << 20, "2Gi": 2 << 30} {
		if got := bytesOf(t, quantity); got != want {
			t.Errorf("%s: %d, want %d", quantity, got, want)
		}
	}
}

// The service answers through the proxy, to who has the key.
func TestElectricityMaps(t *testing.T) {
	authority, certificate := certify(t, mapsHost)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	m := &electricityMaps{asked: map[string]int{}}
	inner := &tunnels{conns: make(chan net.Conn, 1)}
	service := &http.Server{Handler: m, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go service.ServeTLS(inner, "", "")
	t.Cleanup(func() { service.Close() })
	client, server := net.Pipe()
	inner.conns <- server
	conn := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: mapsHost})
	request, _ := http.NewRequest(http.MethodGet, "https://"+mapsHost+"/v3/carbon-intensity/latest?zone=DE", nil)
	request.Header.Set("Auth-Token", gridKey)
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return conn, conn.HandshakeContext(ctx) }}
	resp, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ CarbonIntensity float64 }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.CarbonIntensity != intensity || m.asked["latest"] != 1 || m.wrong != nil {
		t.Errorf("%v, %v, %v, %v", answer, err, m.asked, m.wrong)
	}
}
