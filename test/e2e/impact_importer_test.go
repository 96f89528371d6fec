package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestBackendsKeepTheHistoryTheyAreGiven holds what other tests here stand on:
// both databases answer with the samples that went in.
func TestBackendsKeepTheHistoryTheyAreGiven(t *testing.T) {
	t.Parallel()
	var h history
	at := time.Now().Add(-6 * time.Hour).Truncate(time.Hour)
	for i := range 10 {
		h.add(`energy_joules_total{pod="a"}`, at.Add(time.Duration(i)*15*time.Second), 1e6+float64(i)/3)
		h.add(`power_watts{pod="a"}`, at.Add(time.Duration(i)*15*time.Second), 7)
	}
	last := at.Add(9 * 15 * time.Second)
	check := func(s *server) {
		t.Helper()
		got := s.query(`last_over_time(energy_joules_total[5m])`, last)
		if v := got[`energy_joules_total{pod="a"}`] + got[`{pod="a"}`]; v != 1e6+3 {
			t.Errorf("%s: %v", s.url, got)
		}
	}
	check(startPrometheus(t, promOptions{history: h.openMetrics()}))
	vm := startVictoriaMetrics(t)
	vm.load(h.openMetrics())
	check(vm)
	gateway := startPushgateway(t)
	gateway.post("/metrics/job/test", fmt.Sprintln("up_to_now 1"))
}
