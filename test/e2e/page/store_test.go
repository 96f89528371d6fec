package page

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"noether/internal/export"
	"noether/internal/snapshot"
	"noether/internal/store"
)

// fill lets a simulated node live for eight days and keeps its history in dir,
// as an agent on it would have.
func fill(t *testing.T, dir string, end time.Time) {
	t.Helper()
	var s *store.Store
	var now atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	machineOf("worker-1", 1, shop(), end.AddDate(0, 0, -fleetDays)).Live(t, end, func(snap *snapshot.Snapshot, about *export.About) {
		now.Store(snap.Time.UnixNano())
		if s == nil {
			var err error
			if s, err = store.New(store.Options{Path: dir, About: *about, Now: func() time.Time { return time.Unix(0, now.Load()) }}); err != nil {
				t.Fatal(err)
			}
			go func() { done <- s.Run(ctx) }()
			for s.Status().State == store.Loading {
				time.Sleep(time.Millisecond)
			}
		}
		before := s.Status().Samples
		s.Offer(snap)
		for deadline := time.Now().Add(patience); s.Status().Samples == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the store takes no sample: %+v", s.Status())
			}
		}
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestHistoryOfAnAgent opens a week that an agent has kept: of long times the
// page reads the five-minute copies.
func TestHistoryOfAnAgent(t *testing.T) {
	dir := t.TempDir()
	end := time.Now().Truncate(fleetStep)
	fill(t, dir, end)
	a := startAgent(t, "--interval", "1s", "--store.path", dir)
	f := &fleet{end: end}
	b := open(t, a.URL, desktop)
	for _, v := range views() {
		b.visit(f.at(v, "7d", "node=worker-1"))
		b.innocent()
		if words := b.texts(".trouble"); len(words) > 0 {
			t.Errorf("%s: %q", v, words)
		}
	}
	b.visit(f.at("overview", "24h", "node=worker-1"))
	for _, prefix := range []string{store.CopyPrefix, "noether_"} {
		joules := a.value(`sum(increase(`+prefix+`node_joules_total{node="worker-1"}[1d]))`, end)
		same(t, "energy by "+prefix, b.tile("Energy"), joules/3600, true)
	}
	b.visit(f.at("workloads", "24h", "node=worker-1", "kind=workload"))
	rows := b.table("workloads")
	want := map[string]float64{}
	for _, s := range a.query(`sum by (workload) (increase(`+store.CopyPrefix+`workload_joules_total{node="worker-1"}[1d]))`, end) {
		want[s.labels["workload"]] = s.value
	}
	for _, r := range rows {
		name, _ := r["workload"].(string)
		if math.Abs(number(r, "joules")/want[name]-1) > 1e-9 {
			t.Errorf("%s: %v J, the API says %v J", name, r["joules"], want[name])
		}
	}
	if len(rows) < 8 {
		t.Errorf("%d workloads", len(rows))
	}
}
