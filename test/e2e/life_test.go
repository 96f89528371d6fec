package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestKilledAndStartedAgain: a kill at any moment leaves nothing behind that
// hinders the next agent, at the same address.
func TestKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	for range 3 {
		a := startAt(t, address, nil, "--interval", "200ms", "--processes", "all")
		a.next()
		if err := a.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-a.done
	}
	startAt(t, address, nil, "--interval", "200ms").next()
}

// TestTwoAgents: several agents on one machine do not disturb each other.
func TestTwoAgents(t *testing.T) {
	t.Parallel()
	g := newGroup(t, anyVersion(t))
	one, two := start(t, "--interval", "200ms"), start(t, "--interval", "300ms")
	end := g.play("spend 500ms")
	defer end()
	for _, a := range []*agent{one, two} {
		a.await("all of the unit's time", func() bool {
			return a.scrape().value("noether_unit_cpu_seconds_total", "unit", g.unit) > 0.49
		})
		if got, most := a.scrape().value("noether_unit_cpu_seconds_total", "unit", g.unit), g.usage().Seconds(); got > most {
			t.Errorf("the unit was credited %v s, it used %v s", got, most)
		}
	}
}

// TestInterrupted: SIGINT ends it as well as SIGTERM, while somebody reads.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	a := start(t, "--interval", "100ms", "--processes", "all")
	stop := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if resp, err := http.Get("http://" + a.address + "/metrics"); err == nil {
				resp.Body.Close()
			}
		}
	}()
	a.skip(2)
	if err := a.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-a.done
	close(stop)
	<-finished
	if a.err != nil {
		t.Errorf("the agent ended with %v\n%s", a.err, tail(a.log.String()))
	}
}

// TestEndpoints: health, readiness, the index, the snapshot.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	a := start(t, "--interval", "200ms")
	a.next()
	for path, word := range map[string]string{"/healthz": "", "/readyz": "", "/": "/metrics", "/api/noether/v1/snapshot": "{"} {
		code, body := fetch(t, "http://"+a.address+path)
		if code != http.StatusOK || !strings.Contains(body, word) {
			t.Errorf("GET %s: %d %s", path, code, body)
		}
	}
	if code, _ := fetch(t, "http://"+a.address+"/nothing"); code != http.StatusNotFound {
		t.Errorf("GET /nothing: %d", code)
	}
}
