package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/unit"
)

// remote reads the machine's energy from a running agent, in that agent's
// intervals: a window begins with the last one before the command and ends
// with the first one after it.
type remote struct {
	url     string
	client  http.Client
	quality energy.Quality
	from    agentSnapshot
	last    agentSnapshot
	// Of the intervals of the window that were read: one that is missed is
	// taken to be as busy as the others.
	busy, read time.Duration
}

// agentSnapshot is what stat reads of an agent's snapshot; docs/json.md has all of it.
type agentSnapshot struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Start   time.Time `json:"start"`
	Elapsed float64   `json:"elapsed_seconds"`
	Usage   string    `json:"usage"`
	CPU     struct {
		Online int     `json:"online"`
		Busy   float64 `json:"busy_seconds"`
	} `json:"cpu"`
	Site      *agentSite `json:"site"` // absent where nobody is asked
	Footprint struct {
		Operational float64 `json:"operational_grams_total"`
	} `json:"footprint"`
	Node []struct {
		Component string  `json:"component"`
		Part      string  `json:"part"`
		Quality   string  `json:"quality"`
		Joules    float64 `json:"joules_total"`
	} `json:"node"`
	Errors []struct {
		Component string  `json:"component"`
		Bound     string  `json:"bound"`
		Joules    float64 `json:"joules_total"`
	} `json:"node_error"`
	Zones []struct {
		Sensor string `json:"sensor"`
	} `json:"zones"`
}

// Bounds of talking to an agent.
const (
	agentTimeout  = 5 * time.Second
	maxAgentReply = 64 << 20
	agentPoll     = 50 * time.Millisecond
)

func openRemote(ctx context.Context, url string) (*remote, error) {
	r := &remote{url: strings.TrimRight(url, "/"), client: http.Client{Timeout: agentTimeout}}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	for _, q := range r.last.totals().quality {
		r.quality = max(r.quality, q)
	}
	return r, nil
}

func (r *remote) get(ctx context.Context) (s agentSnapshot, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/noether/v1/snapshot", http.NoBody)
	if err != nil {
		return s, fmt.Errorf("ask the agent at %q: %w", r.url, err)
	}
	reply, err := r.client.Do(req)
	if err != nil {
		return s, fmt.Errorf("ask the agent at %s: %w", r.url, err)
	}
	defer reply.Body.Close() //nolint:errcheck // it was read
	if reply.StatusCode != http.StatusOK {
		return s, fmt.Errorf("ask the agent at %s: it answers %s", r.url, reply.Status)
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxAgentReply)).Decode(&s); err != nil {
		return s, fmt.Errorf("read the snapshot of the agent at %s: %w", r.url, err)
	}
	return s, nil
}

func (r *remote) begin(ctx context.Context) (err error) {
	if r.last, err = r.get(ctx); err != nil {
		return err
	}
	r.from, r.busy, r.read = r.last, 0, 0
	return nil
}

func (r *remote) tick(ctx context.Context) error {
	s, err := r.get(ctx)
	if err != nil {
		return err
	}
	if !s.Start.Equal(r.from.Start) {
		return fmt.Errorf("read the agent at %s: it was restarted while the command ran", r.url)
	}
	if s.Seq != r.last.Seq {
		r.busy += seconds(s.CPU.Busy)
		r.read += seconds(s.Elapsed)
		r.last = s
	}
	return nil
}

func (r *remote) end(ctx context.Context, cpu time.Duration) (window, error) {
	ended := time.Now()
	wait := 3*seconds(r.last.Elapsed) + agentTimeout
	for !r.last.Time.After(ended) {
		if time.Since(ended) > wait {
			return window{}, fmt.Errorf("wait for the agent at %s: no interval ended within %s", r.url, wait)
		}
		time.Sleep(agentPoll)
		if err := r.tick(ctx); err != nil {
			return window{}, err
		}
	}
	from := r.from.totals()
	w := r.last.totals().since(&from)
	w.busy = time.Duration(unit.MulDiv(uint64(max(r.busy, 0)), uint64(max(w.length, 0)), uint64(max(r.read, 1))))
	w.shareByTime(cpu)
	w.emit(r.last.Site.site())
	if now, before := r.last.Site, r.from.Site; now != nil && before != nil && now.Unknown == before.Unknown {
		w.booked(massOf(r.last.Footprint.Operational) - massOf(r.from.Footprint.Operational))
	}
	return w, nil
}

func (r *remote) about() (sensor, usage string) {
	names := map[string]bool{}
	var list []string
	for _, z := range r.last.Zones {
		if !names[z.Sensor] {
			names[z.Sensor] = true
			list = append(list, z.Sensor)
		}
	}
	return joined(list) + " of the agent at " + r.url, r.last.Usage
}

func (r *remote) follow(int) {}

func (r *remote) moves() time.Duration { return seconds(r.last.Elapsed) }

func (r *remote) close() error {
	r.client.CloseIdleConnections()
	return nil
}

// totals sorts what the agent said; words that this version does not know are left out.
func (s *agentSnapshot) totals() totals {
	t := totals{at: s.Time, online: s.CPU.Online}
	for _, n := range s.Node {
		c, ok := componentNamed(n.Component)
		if !ok {
			continue
		}
		t.present[c] = true
		for q := range energy.Qualities {
			if energy.Quality(q).String() == n.Quality {
				t.quality[c] = max(t.quality[c], energy.Quality(q))
			}
		}
		e := joules(n.Joules)
		t.total[c] += e
		if n.Part == energy.Dynamic.String() {
			t.dynamic[c] += e
		}
	}
	t.low, t.high = t.total, t.total
	for _, b := range s.Errors {
		c, ok := componentNamed(b.Component)
		if !ok {
			continue
		}
		t.banded = true
		if b.Bound == "low" {
			t.low[c] = joules(b.Joules)
		} else {
			t.high[c] = joules(b.Joules)
		}
	}
	return t
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func joules(j float64) unit.Energy { return unit.Energy(math.Round(j * float64(unit.Joule))) }

func componentNamed(name string) (energy.Component, bool) {
	for c := range energy.Components {
		if energy.Component(c).String() == name {
			return energy.Component(c), true
		}
	}
	return 0, false
}
