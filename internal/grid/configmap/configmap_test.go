package configmap

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"noether/internal/grid"
)

var (
	name = Name{"kube-system", "carbon-intensity"}
	day  = time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
)

func samples() []grid.Sample {
	return []grid.Sample{
		{From: day, To: day.Add(5 * time.Minute), Intensity: 550.9853294805798},
		{From: day.Add(5 * time.Minute), To: day.Add(65 * time.Minute), Intensity: 0},
		{From: day.Add(65 * time.Minute), To: day.Add(65*time.Minute + 20*time.Second), Intensity: 9},
	}
}

func carbonForecasts(t *testing.T, binary map[string][]byte) []carbonForecast {
	t.Helper()
	var got []carbonForecast
	if err := json.Unmarshal(binary["data"], &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// carbonForecast is the operator's struct of this name, CarbonForecast in its
// controllers/carbon_forecast_fetcher.go, which it decodes binaryData.data into.
type carbonForecast struct {
	Location  string    `json:"location,omitempty"`
	Timestamp time.Time `json:"timestamp"` // omitempty there, which changes nothing in a time
	Duration  int32     `json:"duration,omitempty"`
	Value     float64   `json:"value,omitempty"`
}

func TestMakeIsWhatTheOperatorReads(t *testing.T) {
	c, err := Make(name, "US-MIDA-PJM", samples(), day.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]carbonForecast{
		{"US-MIDA-PJM", day, 5, 550.9853294805798},
		{"US-MIDA-PJM", day.Add(5 * time.Minute), 60, 0},
	}, carbonForecasts(t, c.BinaryData)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{
		"forecastDateTime":  "2026-03-31 00:00:00 +0000 UTC",
		"lastHeartbeatTime": "2026-03-30 23:59:00 +0000 UTC",
		"maxForecast":       "550.985329",
		"message":           "",
		"minForecast":       "0.000000",
		"numOfRecords":      "2",
	}, c.Data); diff != "" {
		t.Error(diff)
	}
	if c.Immutable == nil || !*c.Immutable {
		t.Error("not immutable")
	}
}

func TestYAML(t *testing.T) {
	c, err := Make(name, "DE", samples()[:1], day)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   map[string]any    `yaml:"metadata"`
		Immutable  bool              `yaml:"immutable"`
		Data       map[string]string `yaml:"data"`
		BinaryData map[string]string `yaml:"binaryData"`
	}
	if err := yaml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != "v1" || got.Kind != "ConfigMap" || !got.Immutable || got.Metadata["namespace"] != "kube-system" || got.Metadata["name"] != "carbon-intensity" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(c.Data, got.Data); diff != "" {
		t.Error(diff)
	}
	raw, err := base64.StdEncoding.DecodeString(got.BinaryData["data"])
	if err != nil || carbonForecasts(t, map[string][]byte{"data": raw})[0].Duration != 5 {
		t.Errorf("%s %v", raw, err)
	}
}

func TestWhatIsNoForecast(t *testing.T) {
	for what, s := range map[string][]grid.Sample{
		"empty": nil, "only seconds": samples()[2:], "absurd": {{From: day, To: day.Add(time.Hour), Intensity: -1}},
	} {
		if c, err := Make(name, "DE", s, day); err == nil {
			t.Errorf("%s: %+v", what, c)
		}
	}
	long := make([]grid.Sample, maxRecords+1)
	for i := range long {
		long[i] = grid.Sample{From: day.Add(time.Duration(i) * time.Minute), To: day.Add(time.Duration(i+1) * time.Minute)}
	}
	if _, err := Make(name, "DE", long, day); err == nil || !strings.Contains(err.Error(), "--within") {
		t.Error(err)
	}
}

func TestParseName(t *testing.T) {
	for s, ok := range map[string]bool{"kube-system/carbon-intensity": true, "a/b.c": true, "carbon-intensity": false, "a/": false, "/b": false, "a/b/c": false, "A/b": false, "a/b c": false, "": false} {
		if got, err := ParseName(s); (err == nil) != ok || ok && got.String() != s {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
}

// apiServer is as much of an API server as a ConfigMap needs.
type apiServer struct {
	held    map[string]any // the one ConfigMap
	refuse  string         // a verb that is answered with status
	status  int
	reason  string
	said    []string
	version int
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const all, one = "/api/v1/namespaces/kube-system/configmaps", "/api/v1/namespaces/kube-system/configmaps/carbon-intensity"
	verb := map[string]string{http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete"}[r.Method]
	a.said = append(a.said, verb)
	if want := map[bool]string{true: all, false: one}[verb == "create"]; r.URL.Path != want {
		a.answer(w, http.StatusBadRequest, "BadRequest")
		return
	}
	if verb == a.refuse {
		a.answer(w, a.status, a.reason)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var sent map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &sent); err != nil {
			a.answer(w, http.StatusBadRequest, "BadRequest")
			return
		}
	}
	meta := func(o map[string]any, key string) any { m, _ := o["metadata"].(map[string]any); return m[key] }
	switch {
	case verb == "create" && a.held != nil:
		a.answer(w, http.StatusConflict, "AlreadyExists")
		return
	case verb != "create" && a.held == nil:
		a.answer(w, http.StatusNotFound, "NotFound")
		return
	case verb == "update" && a.held["immutable"] == true:
		a.answer(w, http.StatusUnprocessableEntity, "Invalid")
		return
	case verb == "update" && meta(sent, "resourceVersion") != meta(a.held, "resourceVersion"):
		a.answer(w, http.StatusConflict, "Conflict")
		return
	case verb == "delete":
		if p, _ := sent["preconditions"].(map[string]any); sent["kind"] != "DeleteOptions" || p["uid"] != meta(a.held, "uid") || p["resourceVersion"] != meta(a.held, "resourceVersion") {
			a.answer(w, http.StatusConflict, "Conflict")
			return
		}
		a.held = nil
		a.answer(w, http.StatusOK, "")
		return
	case verb == "create", verb == "update":
		a.version++
		m, _ := sent["metadata"].(map[string]any)
		m["uid"], m["resourceVersion"] = fmt.Sprintf("uid-%d", a.version), strconv.Itoa(a.version)
		a.held = sent
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(a.held)
}

func (a *apiServer) answer(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	status := map[bool]string{true: "Success", false: "Failure"}[code < 300]
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":%q,"reason":%q,"message":"the server says %s","code":%d}`, status, reason, reason, code)
}

func open(t *testing.T, a *apiServer) *Store {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	scheme := runtime.NewScheme()
	v1 := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, v1)
	for kind, object := range Kinds() {
		scheme.AddKnownTypeWithName(v1.WithKind(kind), object)
	}
	client, err := rest.RESTClientFor(&rest.Config{
		Host: server.URL, APIPath: "/api",
		ContentConfig: rest.ContentConfig{GroupVersion: &v1, NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion(), ContentType: "application/json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return NewStore(client, server.URL, name)
}

func (a *apiServer) forecast(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(a.held)
	if err != nil {
		t.Fatal(err)
	}
	var c ConfigMap
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(c.Data["message"], " ", c.Data["lastHeartbeatTime"][11:19], " ", carbonForecasts(t, c.BinaryData)[0].Value)
}

func TestPut(t *testing.T) {
	a := &apiServer{}
	s := open(t, a)
	for i, v := range []float64{100, 200} {
		c, err := Make(name, "DE", []grid.Sample{{From: day, To: day.Add(time.Hour), Intensity: v}}, day.Add(time.Duration(i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := a.forecast(t), " 01:00:00 200"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := s.Note(t.Context(), "no answer", day.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, want := a.forecast(t), "no answer 03:00:00 200"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if diff := cmp.Diff(strings.Fields("get create get delete create get delete create"), a.said); diff != "" {
		t.Error(diff)
	}
	a.held = nil
	if err := s.Note(t.Context(), "no answer", day); err != nil || a.held != nil {
		t.Error("a note made a ConfigMap of nothing", err)
	}
}

func TestOneThatIsNotImmutableIsReplacedAtOnce(t *testing.T) {
	a := &apiServer{held: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "carbon-intensity", "uid": "x", "resourceVersion": "7", "labels": map[string]any{managedBy: manager}},
	}}
	s := open(t, a)
	c, _ := Make(name, "DE", samples(), day)
	if err := s.Put(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"get", "update"}, a.said); diff != "" || a.held["immutable"] != nil {
		t.Error(diff, a.held)
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	foreign := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "carbon-intensity"}, "data": map[string]any{"Corefile": "…"}}
	c, _ := Make(name, "DE", samples(), day)
	held := func(immutable bool) map[string]any {
		return map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "immutable": immutable, "metadata": map[string]any{"name": "carbon-intensity", "uid": "x", "resourceVersion": "7"},
			"data": map[string]any{"lastHeartbeatTime": "…"}, "binaryData": map[string]any{"data": "W10="},
		}
	}
	for what, x := range map[string]struct {
		api  apiServer
		want []string
	}{
		"something else":    {apiServer{held: foreign}, []string{"something else", "kube-system/carbon-intensity"}},
		"forbidden to read": {apiServer{refuse: "get", status: 403, reason: "Forbidden"}, []string{"read ConfigMap kube-system/carbon-intensity", "Role in namespace kube-system", "verbs: [get, create, update, delete]"}},
		"forbidden to make": {apiServer{refuse: "create", status: 403, reason: "Forbidden"}, []string{"create ConfigMap", "verbs"}},
		"not known":         {apiServer{refuse: "get", status: 401, reason: "Unauthorized"}, []string{"--kube-token-file"}},
		"two writers":       {apiServer{held: held(true), refuse: "create", status: 409, reason: "AlreadyExists"}, []string{"somebody else"}},
		"changed meanwhile": {apiServer{held: held(false), refuse: "update", status: 409, reason: "Conflict"}, []string{"replace", "somebody else"}},
		"cannot delete":     {apiServer{held: held(true), refuse: "delete", status: 403, reason: "Forbidden"}, []string{"delete", "verbs"}},
		"no namespace":      {apiServer{refuse: "create", status: 404, reason: "NotFound"}, []string{"is there a namespace kube-system?"}},
	} {
		err := open(t, &x.api).Put(t.Context(), c)
		if err == nil {
			t.Errorf("%s: no error", what)
			continue
		}
		for _, w := range x.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", what, err, w)
			}
		}
	}
	if x := (&apiServer{held: foreign}); open(t, x).Put(t.Context(), c) == nil || x.held["data"].(map[string]any)["Corefile"] != "…" {
		t.Error("a ConfigMap of somebody else is lost")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, &apiServer{}).Put(over, c); err == nil {
		t.Error("written after the end")
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"kube-system/carbon-intensity", "a/b", "/", "a/b\nc: d", "a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err == nil && (n.String() != s || strings.ContainsAny(s, " \n\"'{}:#")) {
			t.Errorf("%q became %v", s, n)
		}
	})
}
