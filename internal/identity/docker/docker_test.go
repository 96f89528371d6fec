package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
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

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/probe"
	"noether/internal/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine answers like the Docker Engine API, operation ContainerList.
type engine struct {
	mu         sync.Mutex
	containers map[string][]string // names by id
	requests   []string            // method and URI
	server     string
	versioned  bool // paths need one, as the documentation announces
	status     int  // instead of an answer
	body       string
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, r.Method+" "+r.URL.Path)
	w.Header().Set("Api-Version", "1.52")
	w.Header().Set("Server", e.server)
	w.Header().Set("Content-Type", "application/json")
	path, versioned := strings.CutPrefix(r.URL.Path, "/v1.52")
	switch {
	case e.status != 0:
		w.WriteHeader(e.status)
		fmt.Fprintln(w, `{"message":"no"}`)
		return
	case path != "/containers/json" || r.Method != http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
		return
	case e.versioned && !versioned:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintln(w, `{"message":"client version is too old"}`)
		return
	case e.body != "":
		io.WriteString(w, e.body)
		return
	}
	var filters struct{ ID []string }
	if f := r.URL.Query().Get("filters"); f != "" {
		if err := json.Unmarshal([]byte(f), &filters); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	type summary struct {
		ID     string `json:"Id"`
		Names  []string
		Labels map[string]string
		State  string
	}
	list := []summary{}
	for id, names := range e.containers {
		if filters.ID == nil || slices.Contains(filters.ID, id) {
			list = append(list, summary{id, names, map[string]string{"com.docker.compose.project": "secret"}, "running"})
		}
	}
	if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil && len(list) > limit {
		list = list[:limit]
	}
	json.NewEncoder(w).Encode(list)
}

func (e *engine) put(id string, names ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers == nil {
		e.containers = map[string][]string{}
	}
	e.containers[id] = names
}

func (e *engine) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *engine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// listen serves e at path.
func (e *engine) listen(t *testing.T, path string) (stop func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: e}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	stop = sync.OnceFunc(func() { server.Close(); <-done })
	t.Cleanup(stop)
	return stop
}

// root is a directory short enough for the path of a socket below it.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") //nolint:usetesting // TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func id(n int) string { return fmt.Sprintf("%064x", n) }

func container(runtime, id string) workload.Owner {
	return workload.Owner{Kind: workload.ContainerOwner, Container: workload.Container{ID: id, Runtime: runtime}}
}

// asked is a source whose clock a test moves and whose steps it makes.
type asked struct {
	*Source
	t    *testing.T
	mu   sync.Mutex
	time time.Time
	log  bytes.Buffer
}

func open(t *testing.T, o Options) *asked {
	t.Helper()
	a := &asked{t: t, time: time.Unix(1_700_000_000, 0)}
	o.Now = func() time.Time { a.mu.Lock(); defer a.mu.Unlock(); return a.time }
	o.Log = slog.New(slog.NewTextHandler(&a.log, nil))
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	a.Source = s
	return a
}

// tick is one tick of the agent, d after the last, and what Run does then. The
// agent asks only for what the names do not have.
func (a *asked) tick(d time.Duration, owners ...workload.Owner) time.Duration {
	a.mu.Lock()
	a.time = a.time.Add(d)
	a.mu.Unlock()
	var missing []workload.Owner
	for _, o := range owners {
		if a.Latest().Containers[o.Container.ID] == "" {
			missing = append(missing, o)
		}
	}
	a.Missing(missing)
	return a.step(a.t.Context())
}

func TestNamesOfContainersOutsidePods(t *testing.T) {
	e := &engine{}
	e.put(id(1), "/web/db", "/db")
	e.put(id(2), "/job")
	e.put(id(3), "/k8s_app_pod_default_uid_0")
	dir := root(t)
	e.listen(t, dir+"/run/docker.sock")
	a := open(t, Options{Root: dir})
	if !a.Latest().AsksContainers || a.Latest().AsksPods {
		t.Error("it says it does not ask, or that it asks for pods")
	}

	a.tick(0)
	a.tick(time.Second, workload.Owner{Kind: workload.PodOwner, Container: workload.Container{ID: id(3), Runtime: "docker"}})
	a.tick(time.Second, container("containerd", id(3)), container("lxc", "web"), container("docker", "short"))
	if n := e.count(); n != 0 {
		t.Fatalf("%d requests for what is none of its business", n)
	}

	a.tick(time.Second, container("docker", id(1)), container("", id(2)))
	if diff := cmp.Diff(map[string]string{id(1): "db", id(2): "job"}, a.Latest().Containers); diff != "" {
		t.Error(diff)
	}
	names := a.Latest()
	a.tick(time.Second, container("docker", id(1)), container("", id(2)))
	if a.Latest() != names || e.count() != 1 {
		t.Errorf("nothing changed, and there were %d requests and the same names: %t", e.count(), a.Latest() == names)
	}
	got := a.Status(nil)
	if len(got) != 1 || got[0].Bytes == 0 || !got[0].Synced.Equal(time.Unix(1_700_000_003, 0)) {
		t.Errorf("%+v", got)
	}
	got[0].Bytes, got[0].Synced = 0, time.Time{}
	if diff := cmp.Diff([]workload.NamesStatus{{Source: "docker", Up: true, Requests: 1, Known: 2}}, got); diff != "" {
		t.Error(diff)
	}
}

// A container is listed a moment after its cgroup is there: it is asked for
// three times and then no more, until it has gone and come.
func TestUnknownContainerIsAskedForThreeTimes(t *testing.T) {
	e := &engine{}
	dir := root(t)
	e.listen(t, dir+"/run/docker.sock")
	a := open(t, Options{Root: dir})
	for range 60 {
		a.tick(time.Second, container("docker", id(1)))
	}
	if n := e.count(); n != 3 {
		t.Errorf("%d requests in a minute, want 3", n)
	}
	a.tick(time.Second)
	e.put(id(1), "/late")
	if a.tick(time.Second, container("docker", id(1))); a.Latest().Containers[id(1)] != "late" {
		t.Errorf("%v after it came again", a.Latest().Containers)
	}
	// The second time of asking comes by itself, whatever the interval of ticks.
	again := a.tick(time.Second, container("docker", id(2)))
	if again <= 0 || again > 2*time.Second {
		t.Errorf("back after %v, want 2 s at most", again)
	}
	e.put(id(2), "/slow")
	a.mu.Lock()
	a.time = a.time.Add(2 * time.Second)
	a.mu.Unlock()
	if a.step(t.Context()); a.Latest().Containers[id(2)] != "slow" {
		t.Errorf("%v", a.Latest().Containers)
	}
}

func TestNewContainersAreAskedForOnceASecondAtMost(t *testing.T) {
	e := &engine{}
	dir := root(t)
	e.listen(t, dir+"/run/docker.sock")
	a := open(t, Options{Root: dir})
	for n := range 100 {
		e.put(id(n), "/c"+strconv.Itoa(n))
		a.tick(100*time.Millisecond, container("docker", id(n)))
	}
	if n := e.count(); n > 11 || n < 9 {
		t.Errorf("%d requests in ten seconds", n)
	}
	// Many at once take one request, and no longer address.
	var owners []workload.Owner
	for n := range 1000 {
		e.put(id(1000+n), "/many"+strconv.Itoa(n))
		owners = append(owners, container("docker", id(1000+n)))
	}
	before := e.count()
	if a.tick(time.Second, owners...); e.count() != before+1 || a.Latest().Containers[id(1999)] != "many999" {
		t.Errorf("%d requests, %d names", e.count()-before, len(a.Latest().Containers))
	}
}

func TestSocketThatComesLaterAndFails(t *testing.T) {
	dir := root(t)
	a := open(t, Options{Root: dir})
	if a.Latest().AsksContainers {
		t.Error("somebody is asked though nobody is there")
	}
	me := container("docker", id(1))
	if again := a.tick(time.Second); again <= 0 || again > lookEvery {
		t.Errorf("looks for a socket again after %v", again)
	}
	if len(a.Status(nil)) != 0 || a.log.Len() != 0 {
		t.Errorf("noise about an absent socket: %+v %s", a.Status(nil), a.log.String())
	}

	e := &engine{}
	e.put(id(1), "/web")
	stop := e.listen(t, dir+"/run/docker.sock")
	// Nobody is told who is missing before somebody can be asked.
	if a.tick(lookEvery); !a.Latest().AsksContainers || e.count() != 0 {
		t.Error("the socket was not found, or asked for nothing")
	}
	if a.tick(time.Second, me); a.Latest().Containers[id(1)] != "web" || !a.Latest().AsksContainers {
		t.Errorf("%+v", a.Latest())
	}

	e.set(func() { e.status = http.StatusInternalServerError })
	before := e.count()
	for range 120 {
		a.tick(time.Second, container("docker", id(2)))
	}
	if n := e.count() - before; n < 5 || n > 9 {
		t.Errorf("%d requests in two minutes of failure", n)
	}
	if n := strings.Count(a.log.String(), "out of reach"); n != 1 {
		t.Errorf("said %d times:\n%s", n, a.log.String())
	}
	if st := a.Status(nil); st[0].Up {
		t.Errorf("%+v is up", st)
	}
	if a.Latest().Containers[id(1)] != "web" {
		t.Error("a name was forgotten because its engine fails")
	}
	e.put(id(2), "/job")
	e.set(func() { e.status = 0 })
	if a.tick(maxPause, container("docker", id(2))); a.Latest().Containers[id(2)] != "job" || !a.Status(nil)[0].Up {
		t.Errorf("%v %s", a.Latest().Containers, a.log.String())
	}
	if !strings.Contains(a.log.String(), "come again") {
		t.Error(a.log.String())
	}
	stop()
	a.tick(maxPause, container("docker", id(3)))
	if a.Latest().Containers[id(2)] != "job" {
		t.Error("a name was forgotten because its engine has ended")
	}
}

func TestPodmanAndDockerAndUsers(t *testing.T) {
	dir := root(t)
	uid := strconv.Itoa(os.Getuid())
	system, users, forged := &engine{server: "Docker/29.0.0 (linux)"}, &engine{server: "Libpod/4.3.1 (linux)"}, &engine{}
	system.put(id(1), "/web")
	users.put(id(1), "/forged")
	users.put(id(2), "/mine")
	forged.put(id(3), "/forged")
	users.listen(t, dir+"/run/user/"+uid+"/podman/podman.sock")
	forged.listen(t, dir+"/run/user/54321/podman/podman.sock") // not of that user
	system.listen(t, dir+"/run/docker.sock")
	if err := os.Symlink("../run", dir+"/var"); err == nil {
		os.Symlink("../run/docker.sock", dir+"/run/podman.link")
	}
	os.MkdirAll(dir+"/run/podman", 0o755)
	os.Symlink("../docker.sock", dir+"/run/podman/podman.sock") // one socket under two names
	a := open(t, Options{Root: dir})
	a.tick(time.Second, container("docker", id(1)), container("podman", id(2)), container("podman", id(3)))
	if diff := cmp.Diff(map[string]string{id(1): "web", id(2): "mine"}, a.Latest().Containers); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, st := range a.Status(nil) {
		got = append(got, fmt.Sprint(st.Source, " ", st.Up, " ", st.Requests, " ", st.Known))
	}
	if diff := cmp.Diff([]string{"docker true 1 1", "podman true 1 1"}, got); diff != "" {
		t.Error(diff)
	}
	if forged.count() != 0 {
		t.Error("asked a socket that belongs to another user than its directory")
	}
}

func TestDaemonThatWantsItsVersionSaid(t *testing.T) {
	e := &engine{versioned: true}
	e.put(id(1), "/web")
	e.put(id(2), "/job")
	dir := root(t)
	e.listen(t, dir+"/x.sock")
	a := open(t, Options{Sockets: []string{dir + "/x.sock"}})
	a.tick(time.Second, container("docker", id(1)))
	a.tick(time.Second, container("docker", id(2)))
	if diff := cmp.Diff(map[string]string{id(1): "web", id(2): "job"}, a.Latest().Containers); diff != "" {
		t.Error(diff)
	}
	want := []string{"GET /containers/json", "GET /v1.52/containers/json", "GET /v1.52/containers/json"}
	if diff := cmp.Diff(want, e.requests); diff != "" {
		t.Error(diff)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"object":    `{"message":"hello"}`,
		"cut":       `[{"Id":"` + id(1) + `","Names":["/web"]}`,
		"not JSON":  `<html>`,
		"null":      `null`,
		"type":      `[{"Id":7}]`,
		"no string": `[{"Id":"` + id(1) + `","Names":"/web"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			e := &engine{body: body}
			dir := root(t)
			e.listen(t, dir+"/x.sock")
			a := open(t, Options{Sockets: []string{dir + "/x.sock"}})
			a.tick(time.Second, container("docker", id(1)))
			if len(a.Latest().Containers) != 0 || !strings.Contains(a.log.String(), "list of containers") {
				t.Errorf("%v %s", a.Latest().Containers, a.log.String())
			}
		})
	}
}

func TestForgetsWhatIsGoneWhenThereIsTooMuch(t *testing.T) {
	e := &engine{}
	dir := root(t)
	e.listen(t, dir+"/x.sock")
	a := open(t, Options{Sockets: []string{dir + "/x.sock"}})
	a.limit = 10
	e.put(id(500), "/stays")
	a.tick(time.Second, container("docker", id(500)))
	for n := range 30 {
		e.put(id(n), "/c"+strconv.Itoa(n))
		a.tick(time.Second, container("docker", id(n)), container("docker", id(500)))
		if got := a.Latest().Containers; got[id(n)] == "" || got[id(500)] == "" || len(got) > 10 {
			t.Fatalf("container %d: %d names, %v", n, len(got), got)
		}
		e.set(func() { delete(e.containers, id(n)) })
	}
}

func TestCheck(t *testing.T) {
	dir := root(t)
	if v := Check(t.Context(), Options{Root: dir, Now: time.Now}); len(v) != 1 || v[0].Status != probe.Absent {
		t.Errorf("%+v", v)
	}
	e := &engine{server: "Libpod/4.3.1 (linux)"}
	e.listen(t, dir+"/run/docker.sock")
	if v := Check(t.Context(), Options{Root: dir, Now: time.Now}); len(v) != 1 || v[0].Name != "podman" || v[0].Status != probe.Works {
		t.Errorf("%+v", v)
	}
	e.status = http.StatusForbidden
	v := Check(t.Context(), Options{Root: dir, Now: time.Now})
	if len(v) != 1 || v[0].Status == probe.Works || !strings.Contains(v[0].Reason, "403 Forbidden") {
		t.Errorf("%+v", v)
	}
	err := forbidden("/run/docker.sock", fmt.Errorf("ask: %w", os.ErrPermission))
	if got := probe.Of("docker", "", err); got.Status != probe.Forbidden || !strings.Contains(got.Remedy, "--container-names off") {
		t.Errorf("%+v", got)
	}
	if _, err := Open(Options{Sockets: []string{"docker.sock"}}); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Error(err)
	}
}

func TestRunAsksWhenItIsTold(t *testing.T) {
	e := &engine{}
	e.put(id(1), "/web")
	dir := root(t)
	e.listen(t, dir+"/x.sock")
	s, err := Open(Options{Sockets: []string{dir + "/x.sock"}, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.Missing([]workload.Owner{container("docker", id(1))})
	for s.Latest().Containers[id(1)] != "web" {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The agent calls these in each tick.
func TestATickAllocatesNothing(t *testing.T) {
	s, err := Open(Options{Root: root(t), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	owners := []workload.Owner{container("docker", id(1)), container("", id(2)), {Kind: workload.PodOwner}}
	status := make([]workload.NamesStatus, 0, 4)
	if n := testing.AllocsPerRun(100, func() {
		s.Missing(owners)
		_ = s.Latest()
		status = s.Status(status[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A list is understood or refused, and no name holds what a label may not.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"Id":"`+id(1)+`","Names":["/web"],"Labels":{"a":"b"}}]`), id(1))
	f.Add([]byte(`[{"Id":"x","Names":["/a/b","/\u0000"]},{"Id":"x","Names":null}]`), "x")
	f.Add([]byte(`[`), "")
	f.Add([]byte(`[] []`), "")
	f.Fuzz(func(t *testing.T, body []byte, id string) {
		names, err := parse(bytes.NewReader(body), []string{id})
		if err != nil && names != nil {
			t.Error("names and an error")
		}
		for got, name := range names {
			if got != id || name == "" || len(name) > 253 || strings.ContainsAny(name, "\x00\n/") {
				t.Errorf("%q is called %q", got, name)
			}
		}
	})
}
