package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestATaskUsesWhatItWasTold(t *testing.T) {
	t.Setenv("SHOP_MILLICORES", "200")
	before := cpuTime()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"task", "-for", "500ms"}, &out); err != nil {
		t.Fatal(err)
	}
	// At most: a busy machine may give less.
	if used := cpuTime() - before; used <= 0 || used > 400*time.Millisecond {
		t.Errorf("a task of 200 millicores for half a second used %v", used)
	}
	if !strings.HasPrefix(out.String(), "done: ") {
		t.Errorf("it says %q", out.String())
	}
}

func TestServicesAreFoundAsKubernetesTells(t *testing.T) {
	env := map[string]string{"CART_SERVICE_HOST": "10.96.0.7", "CART_SERVICE_PORT": "80", "CACHE_SERVICE_HOST": "fd00::7", "CACHE_SERVICE_PORT": "8080"}
	for service, want := range map[string]string{
		"cart": "http://10.96.0.7:80/", "cache": "http://[fd00::7]:8080/", "email": "http://email:8080/",
	} {
		if got := address(service, func(name string) string { return env[name] }); got != want {
			t.Errorf("%s: %s, want %s", service, got, want)
		}
	}
}

func TestAnAnswerNamesWhoTookPart(t *testing.T) {
	cache := httptest.NewServer(handler("cache"))
	defer cache.Close()
	host, port, _ := strings.Cut(strings.TrimPrefix(cache.URL, "http://"), ":")
	t.Setenv("CACHE_SERVICE_HOST", host)
	t.Setenv("CACHE_SERVICE_PORT", port)
	w := httptest.NewRecorder()
	handler("cart").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got, want := w.Body.String(), "cart\n  cache\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if page, err := get(t.Context(), cache.Client(), cache.URL+"/metrics"); err != nil || !strings.Contains(page, "\nshop_requests_total{service=\"cache\"} 1\n") {
		t.Errorf("after one request the page says %v:\n%s", err, page)
	}
	cache.Close()
	w = httptest.NewRecorder()
	handler("cart").ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got, want := w.Body.String(), "cart\n  cache is closed\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRefusesWhatItCannotDo(t *testing.T) {
	for name, args := range map[string][]string{"no role": nil, "a flag first": {"-for", "1s"}, "no such flag": {"task", "-forever"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	t.Setenv("SHOP_MILLICORES", "lots")
	if err := run(t.Context(), []string{"task"}, io.Discard); err == nil || !strings.Contains(err.Error(), "SHOP_MILLICORES") {
		t.Errorf("a demand that is no number: %v", err)
	}
}

func TestAPortInUseEndsAService(t *testing.T) {
	taken := httptest.NewServer(nil)
	defer taken.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := run(ctx, []string{"ads", "-listen", strings.TrimPrefix(taken.URL, "http://")}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestManifestsAreElevenPodsWithKnownDemands(t *testing.T) {
	type object struct {
		Kind     string
		Metadata struct{ Name string }
		Data     map[string]string
		Spec     struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Name, Image string
						Env         []struct {
							ValueFrom struct {
								ConfigMapKeyRef struct{ Name, Key string } `yaml:"configMapKeyRef"`
							} `yaml:"valueFrom"`
						}
					}
				}
			}
		}
	}
	text, err := os.ReadFile("manifests/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	demand, asked, kinds := map[string]string{}, map[string]bool{}, map[string]int{}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds[o.Kind]++
		if o.Kind == "ConfigMap" {
			demand = o.Data
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			if c.Image != "shop:1" || len(c.Env) != 1 || c.Env[0].ValueFrom.ConfigMapKeyRef.Name != "demand" {
				t.Errorf("the container %s of %s: %+v", c.Name, o.Metadata.Name, c)
				continue
			}
			asked[c.Env[0].ValueFrom.ConfigMapKeyRef.Key] = true
		}
	}
	if kinds["Deployment"] != 11 || kinds["Service"] != 11 {
		t.Errorf("got %v, want eleven Deployments and Services", kinds)
	}
	total := 0
	for name, millicores := range demand {
		n, err := strconv.Atoi(millicores)
		if err != nil || (!asked[name] && name != "features") {
			t.Errorf("the demand of %s, %q, is asked for: %v", name, millicores, asked[name])
		}
		total += n
	}
	if total < 500 || total > 700 {
		t.Errorf("the whole shop wants %d thousandths of a CPU; the README says about 600", total)
	}
}
