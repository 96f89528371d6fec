package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/config"
	"noether/internal/grid/exporter"
	"noether/internal/grid/watch"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/store"
	"noether/internal/web"
)

// pageInfo is what the page needs to know about its server.
type pageInfo struct {
	Version  string     `json:"version"`
	Source   string     `json:"source"`            // of history: store, prometheus or none
	Reason   string     `json:"reason,omitempty"`  // why none, and what to do
	Backend  string     `json:"backend,omitempty"` // the host that answers for prometheus
	Node     string     `json:"node,omitempty"`
	Interval float64    `json:"interval_seconds"`
	Step     float64    `json:"step_seconds"` // between two samples of a series
	Long     *longRange `json:"long"`
	// Retention is how far back the history may reach, null if nobody knows.
	Retention *float64 `json:"retention_seconds"`
	Processes string   `json:"processes,omitempty"` // as the setting; absent if nobody knows
	Snapshot  bool     `json:"snapshot"`
	Check     bool     `json:"check"`
	Forecast  bool     `json:"forecast"`
	Now       float64  `json:"now"` // the server's clock, in seconds since 1970
}

// longRange names the copies for ranges that are long.
type longRange struct {
	Prefix string  `json:"prefix"`
	After  float64 `json:"after_seconds"`
	Step   float64 `json:"step_seconds"`
}

// longAfter is the length of a range from which on the copies are read.
const longAfter = 6 * time.Hour

// Sources of history.
const (
	fromStore      = "store"
	fromPrometheus = "prometheus"
	fromNowhere    = "none"
)

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// agentDocuments are what an agent tells its page. Its fields do not change
// once the server runs, and what they return is safe for any goroutine.
type agentDocuments struct {
	cfg      *config.Config
	clock    agent.Clock
	history  *history
	machine  *machine
	snapshot func() *snapshot.Snapshot
	grid     func() *watch.State // nil while nobody knows the grid zone
}

// page returns what the page needs to know.
func (d *agentDocuments) page() (any, error) {
	info := pageInfo{
		Version:   build().version,
		Source:    fromNowhere,
		Node:      d.cfg.Agent.NodeName,
		Interval:  d.cfg.Agent.Interval.Seconds(),
		Step:      max(d.cfg.Store.Interval, d.cfg.Agent.Interval).Seconds(),
		Processes: d.cfg.Agent.Processes.String(),
		Snapshot:  true, Check: true, Forecast: d.grid() != nil,
		Now: unixSeconds(d.clock.Wall()),
	}
	state := d.store()
	if state.State == storeOff || state.State == string(store.Failed) {
		info.Reason = state.Reason
		if state.Remedy != "" {
			info.Reason += ": " + state.Remedy
		}
		return info, nil
	}
	retention := d.cfg.Store.Retention.Seconds()
	info.Source, info.Retention = fromStore, &retention
	info.Long = &longRange{store.CopyPrefix, longAfter.Seconds(), store.CopyStep.Seconds()}
	return info, nil
}

// checkAnswer is what a running agent knows without opening anything again.
type checkAnswer struct {
	At      time.Time  `json:"at"`
	Sensors []verdict  `json:"sensors"`
	Usage   []verdict  `json:"usage"`
	Names   []verdict  `json:"names"`
	Site    []verdict  `json:"site"`
	Store   storeState `json:"store"`
	Agent   agentState `json:"agent"`
}

// storeOff is the state of a history that is not kept, beside those of the store.
const storeOff = "off"

type storeState struct {
	State  string     `json:"state"`
	Reason string     `json:"reason,omitempty"`
	Remedy string     `json:"remedy,omitempty"`
	Series int        `json:"series"`
	Bytes  int64      `json:"bytes"`
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	Aside  []aside    `json:"aside,omitempty"`
}

// aside is a part of the history that had to be put away.
type aside struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

type agentState struct {
	Usage       string  `json:"usage"`
	Policy      string  `json:"policy"`
	Tick        float64 `json:"tick_seconds"`     // wall time that the last tick's work took
	CPU         float64 `json:"tick_cpu_seconds"` // CPU time of all ticks' work so far
	RSS         int64   `json:"rss_bytes,omitempty"`
	Imbalance   float64 `json:"imbalance_joules"`
	MissedTicks uint64  `json:"missed_ticks"`
	Exits       uint64  `json:"dropped_exits"`
}

// check returns how the agent and its parts are doing.
func (d *agentDocuments) check() (any, error) {
	s := d.snapshot()
	if s == nil {
		return nil, fmt.Errorf("the first tick is not complete: %w", web.ErrNotYet)
	}
	names, _ := d.machine.sensorNames()
	open := strings.Split(names, ", ")
	answer := checkAnswer{At: s.Time.UTC(), Sensors: []verdict{}, Usage: []verdict{}, Names: []verdict{}, Site: []verdict{}, Store: d.store()}
	for _, v := range s.Sensors {
		shown := verdictOf(d.machine.now(v, s.Zones))
		shown.Chosen = slices.Contains(open, v.Name)
		answer.Sensors = append(answer.Sensors, shown)
	}
	if u := s.Self.Usage; u != "" {
		answer.Usage = append(answer.Usage, verdict{Name: u, Status: probe.Works.String(), Reason: "in use; noether check looks at the others", Chosen: true})
	}
	for i := range s.Names {
		n := &s.Names[i]
		answer.Names = append(answer.Names, sourceVerdict(n.Source, n.Up, n.Requests, n.Synced, strconv.Itoa(n.Known)+" known"))
	}
	if s.Site != nil {
		for i := range s.Site.Sources {
			src := &s.Site.Sources[i]
			answer.Site = append(answer.Site, sourceVerdict(src.Source, src.Up, src.Requests, src.Success, src.Zone))
		}
	}
	answer.Agent = agentState{
		Usage: s.Self.Usage, Policy: s.Self.Policy, Tick: s.Self.TickDuration.Seconds(), CPU: s.Self.TickCPU.Seconds(),
		RSS: resident(), Imbalance: s.Self.Imbalance.Joules(), MissedTicks: s.Self.MissedTicks, Exits: s.Self.DroppedExits,
	}
	return answer, nil
}

// sourceVerdict says how somebody who is asked again and again is doing.
func sourceVerdict(name string, up bool, requests uint64, success time.Time, about string) verdict {
	v := verdict{Name: name, Status: probe.Works.String(), Reason: about, Chosen: up}
	switch {
	case up:
	case requests == 0:
		v.Status, v.Reason = probe.Unknown.String(), "not asked yet"
	case success.IsZero():
		v.Status, v.Reason = probe.Broken.String(), "it has not answered yet; the agent's log says why"
	default:
		v.Status, v.Reason = probe.Stale.String(), "no answer since "+success.UTC().Format(time.RFC3339)+"; the agent's log says why"
	}
	return v
}

// store returns how the history is doing.
func (d *agentDocuments) store() storeState {
	if d.history.store == nil {
		return storeState{State: storeOff, Reason: d.history.off}
	}
	s := d.history.store.Status()
	state := storeState{State: string(s.State), Reason: s.Reason, Remedy: s.Remedy, Series: s.Series, Bytes: s.Bytes}
	if !s.Oldest.IsZero() {
		oldest, newest := s.Oldest.UTC(), s.Newest.UTC()
		state.Oldest, state.Newest = &oldest, &newest
	}
	for _, a := range s.Aside {
		state.Aside = append(state.Aside, aside(a))
	}
	return state
}

// resident returns the memory of this process in bytes, 0 if it is not known (proc_pid_statm(5)).
func resident() int64 {
	content, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(content)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 48)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// forecast returns what is known of the machine's grid zone.
func (d *agentDocuments) forecast() (any, error) {
	state := d.grid()
	if state == nil {
		return nil, errors.New("the grid zone of this machine is not known: set --grid.zone, such as DE (noether carbon zones lists them)")
	}
	zone := shownZone(state, d.clock.Wall())
	return exporter.AnswerOf(&zone), nil
}
