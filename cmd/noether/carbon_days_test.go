package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"noether/internal/carbon"
	"noether/internal/config"
	"noether/internal/grid/exporter"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// gridOf is a made-up grid: every hour of a week has an intensity of its own.
func gridOf(at time.Time) float64 {
	h := at.Unix() / 3600
	return 150 + float64(h*37%101) + 0.125
}

// days are the parts between a provider and the grams of a machine, in fake
// time and without a network: Electricity Maps, an exporter, a site.
type days struct {
	t         *testing.T
	tokenFile string

	mu   sync.Mutex
	down bool // the provider
	sent int  // requests that it got
	hub  http.Handler
	stop func() // the hub
}

// serve answers as Electricity Maps does.
func (d *days) serve(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent++
	if d.down {
		return nil, errors.New("no route to host")
	}
	hour := time.Now().UTC().Truncate(time.Hour)
	from, to := hour, hour
	list := ""
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/history"):
		from, list = hour.Add(-23*time.Hour), "history"
	case strings.HasSuffix(path, "/past-range"):
		start, errFrom := time.Parse(time.RFC3339, r.URL.Query().Get("start"))
		end, errTo := time.Parse(time.RFC3339, r.URL.Query().Get("end"))
		if errFrom != nil || errTo != nil {
			d.t.Errorf("%s: %v %v", r.URL, errFrom, errTo)
		}
		from, to, list = start, end.Add(-time.Hour), "data"
	case strings.HasSuffix(path, "/forecast"):
		to, list = hour.Add(24*time.Hour), "forecast"
	}
	var points []map[string]any
	for at := from; !at.After(to); at = at.Add(time.Hour) {
		points = append(points, map[string]any{"zone": "DE", "carbonIntensity": gridOf(at), "datetime": at.Format(time.RFC3339), "emissionFactorType": "lifecycle", "temporalGranularity": "hourly"})
	}
	var answer any = map[string]any{"zone": "DE", list: points}
	if list == "" {
		answer = points[0]
	}
	w := httptest.NewRecorder()
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		d.t.Error(err)
	}
	return w.Result(), nil
}

// ask passes a request to the hub.
func (d *days) ask(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	hub := d.hub
	d.mu.Unlock()
	if hub == nil {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	hub.ServeHTTP(w, r)
	return w.Result(), nil
}

func (d *days) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *days) config(change func(*config.Config)) *config.Config {
	c := config.Default()
	c.Grid.Zone = "DE"
	change(&c)
	return &c
}

// startHub starts what noether carbon exporter consists of.
func (d *days) startHub() {
	d.t.Helper()
	cfg := d.config(func(c *config.Config) {
		c.Grid.Providers, c.Grid.TokenFiles = []string{"electricitymaps"}, []string{"electricitymaps=" + d.tokenFile}
	})
	at, err := openPlace(&process{transport: roundTrip(d.serve)}, cfg, time.Now)
	if err != nil {
		d.t.Fatal(err)
	}
	w, err := at.watch(time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	handler := exporter.New(exporter.Options{
		Now: time.Now, Names: []string{at.zone},
		Zones: []func() exporter.Zone{func() exporter.Zone { return shownZone(w.Latest(), time.Now()) }},
	})
	d.set(func() { d.hub = handler }) // it serves before anybody has answered
	d.stop = background(w.Run)
}

func (d *days) stopHub() {
	d.set(func() { d.hub = nil })
	d.stop()
}

// background runs f until stop is called.
func background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

// TestGramsOfThreeDays: the intensity changes every hour; the exporter is away
// and started again, its provider is away for longer than a value holds. What
// was booked and what was revised since add up to what the truth says, nobody
// is asked often, and the labels that are seen are few.
func TestGramsOfThreeDays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(siteToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &days{t: t, tokenFile: file}
		time.Sleep(7 * time.Minute)
		d.startHub()
		synctest.Wait()
		log := &lockedBuffer{}
		cfg := d.config(func(c *config.Config) { c.Grid.Hub, c.PUE = "http://hub:9878", "1.25" })
		s, err := openSite(&process{transport: roundTrip(d.ask)}, cfg, nil, slog.New(slog.NewTextHandler(log, nil)), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		stop := background(s.Run)
		defer stop()
		synctest.Wait()

		const step, watts = 30 * time.Second, 100
		events := map[time.Duration]func(){
			30 * time.Hour: d.stopHub,
			33 * time.Hour: d.startHub,
			40 * time.Hour: func() { d.set(func() { d.down = true }) },
			50 * time.Hour: func() { d.set(func() { d.down = false }) },
		}
		begin := time.Now()
		var o operations
		truth := 0.0
		seen := map[string]int{}
		for range int(72 * time.Hour / step) {
			from := time.Now()
			time.Sleep(step)
			now := time.Now()
			since := now.Sub(begin)
			if happens, ok := events[since]; ok {
				happens()
			}
			g := o.book(s.Between(from, now), from, now, (watts * unit.Watt).For(step))
			for at := from; at.Before(now); { // a tick may reach into the next hour
				end := at.Truncate(time.Hour).Add(time.Hour)
				if end.After(now) {
					end = now
				}
				truth += gridOf(at) * watts * end.Sub(at).Hours() / 1000 * 1.25
				at = end
			}
			seen[fmt.Sprint(g.Known, " ", g.Provider, " ", g.Estimated)]++
			steady := since < 30*time.Hour || since > 36*time.Hour && since < 40*time.Hour || since > 53*time.Hour
			if late := now.Sub(now.Truncate(time.Hour)); steady && late > 25*time.Minute && since > time.Hour {
				if want := unit.IntensityOf(gridOf(now)); g.Intensity != want || g.Provider != "electricitymaps" || g.Estimated {
					t.Errorf("after %s: %+v, want %v", since, g, want)
				}
			}
			if since > 30*time.Hour && since < 39*time.Hour && g.Provider == "yearly" {
				t.Errorf("after %s, since the exporter was started again: a yearly average, though a value was known", since)
			}
			if t.Failed() {
				break
			}
		}
		d.stopHub()
		t.Logf("truth %.3f g, booked %.3f g, revised by %.3f g; %d requests; %v", truth, o.booked.Grams(), o.revision.Off().Grams(), d.sent, seen)
		if got := (o.booked + o.revision.Off()).Grams(); math.Abs(got-truth) > truth*1e-3 {
			t.Errorf("booked and revised are %v g, the truth is %v", got, truth)
		}
		if math.Abs(o.booked.Grams()-truth) < truth*1e-3 {
			t.Error("ten hours without a provider make no difference: this test shows nothing")
		}
		if d.sent > 72*6 {
			t.Errorf("%d requests in three days", d.sent)
		}
		if len(seen) > 4 || seen["true yearly true"] == 0 {
			t.Errorf("the series are %v", seen)
		}
		if n := strings.Count(log.String(), "\n"); n > 12 {
			t.Errorf("%d lines in three days:\n%s", n, log)
		}
	})
}

// operations book as the agent does.
type operations struct {
	grams    carbon.Operational
	facility carbon.Facility
	revision carbon.Revision
	revised  uint64
	booked   unit.Mass
}

func (o *operations) book(s *snapshot.Site, from, to time.Time, e unit.Energy) snapshot.Grid {
	m := o.grams.Of(e, s.PUE, s.Grid.Intensity)
	o.booked += m
	o.revision.Add(from, to, o.facility.Of(e, s.PUE), m)
	if s.Revised != o.revised || o.revision.Stale() {
		o.revised = s.Revised
		var past []carbon.Past
		for _, p := range s.Past {
			past = append(past, carbon.Past(p))
		}
		o.revision.Revise(past, to)
	}
	return s.Grid
}
