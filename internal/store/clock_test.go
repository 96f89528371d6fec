package store

import (
	"testing"
	"time"
)

// TestClock plays what wall and monotonic clocks tell at each snapshot.
func TestClock(t *testing.T) {
	const s = time.Second
	type step struct {
		wall, mono time.Duration // since the step before
		want       verdict
	}
	regular := func(n int, tick time.Duration, want verdict) (list []step) {
		for range n {
			list = append(list, step{tick, tick, want})
		}
		return list
	}
	for name, c := range map[string]struct {
		tick  time.Duration
		last  time.Duration // before the first snapshot, 0 for an empty history
		steps []step
	}{
		"an empty history believes any time":                {15 * s, 0, []step{{-24 * time.Hour, 0, take}, {15 * s, 15 * s, take}}},
		"ticks shorter than the interval":                   {5 * s, 0, []step{{0, 0, take}, {5 * s, 5 * s, early}, {5 * s, 5 * s, early}, {5 * s, 5 * s, take}, {5 * s, 5 * s, early}}},
		"ticks longer than the interval":                    {time.Minute, 0, []step{{0, 0, take}, {time.Minute, time.Minute, take}, {time.Minute, time.Minute, take}}},
		"the tick nearest to the interval":                  {4 * s, 0, []step{{0, 0, take}, {4 * s, 4 * s, early}, {4 * s, 4 * s, early}, {4 * s, 4 * s, early}, {4 * s, 4 * s, take}}},
		"a tick a little early is taken":                    {5 * s, 0, []step{{0, 0, take}, {5 * s, 5 * s, early}, {5 * s, 5 * s, early}, {4900 * time.Millisecond, 4900 * time.Millisecond, take}}},
		"a nap of minutes is believed":                      {15 * s, 0, []step{{0, 0, take}, {9 * time.Minute, 15 * s, take}}},
		"a pause without samples is no jump":                {15 * s, 0, []step{{0, 0, take}, {24 * time.Hour, 24 * time.Hour, take}}},
		"a jump forwards needs three witnesses":             {15 * s, 0, []step{{0, 0, take}, {8 * time.Hour, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, take}, {15 * s, 15 * s, take}}},
		"a jump forwards that is taken back leaves nothing": {15 * s, 0, []step{{0, 0, take}, {8 * time.Hour, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {-8*time.Hour + 15*s, 15 * s, take}}},
		"witnesses have to agree":                           {15 * s, 0, []step{{0, 0, take}, {8 * time.Hour, 15 * s, doubt}, {8 * time.Hour, 15 * s, doubt}, {8 * time.Hour, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, take}}},
		"a witness each interval, not each tick":            {5 * s, 0, []step{{0, 0, take}, {8 * time.Hour, 5 * s, doubt}, {5 * s, 5 * s, early}, {5 * s, 5 * s, early}, {5 * s, 5 * s, doubt}, {5 * s, 5 * s, early}, {5 * s, 5 * s, early}, {5 * s, 5 * s, take}}},
		"a short way back is waited for":                    {15 * s, 0, append([]step{{0, 0, take}, {-50 * s, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, doubt}}, regular(3, 15*s, take)...)},
		"a long way back cuts, after three":                 {15 * s, 0, []step{{0, 0, take}, {-time.Hour, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, cut}}},
		"a long way back that is taken back":                {15 * s, 0, []step{{0, 0, take}, {-time.Hour, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {time.Hour + 15*s, 15 * s, take}}},
		"a run long after the last one":                     {15 * s, -300 * time.Hour, []step{{0, 0, take}}},
		"a run so late that all would be deleted":           {15 * s, -400 * time.Hour, []step{{0, 0, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, take}}},
		"a history that ends in the future":                 {15 * s, 400 * time.Hour, append(regular(3+240-1, 15*s, doubt), step{15 * s, 15 * s, cut})},
		"a clock without a battery, set after a while":      {15 * s, 400 * time.Hour, append(regular(200, 15*s, doubt), step{401 * time.Hour, 15 * s, take}, step{15 * s, 15 * s, take})},
		"a clock without a battery, set later than that":    {time.Minute, 400 * time.Hour, append(regular(3+60-1, time.Minute, doubt), step{time.Minute, time.Minute, cut})},
		"a history that ends in a minute":                   {15 * s, 40 * s, append([]step{{0, 0, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, doubt}, {15 * s, 15 * s, take}}, regular(3, 15*s, take)...)},
	} {
		t.Run(name, func(t *testing.T) {
			k := clock{interval: 15 * s, retain: DefaultRetentionTime}
			if c.last != 0 {
				k.last = day.Add(c.last)
			}
			wall, mono := day, day
			for i, step := range c.steps {
				wall, mono = wall.Add(step.wall), mono.Add(step.mono)
				v, at := k.judge(wall, mono, c.tick)
				if v != step.want {
					t.Fatalf("step %d: verdict %d, want %d", i, v, step.want)
				}
				if v == take {
					if !at.After(k.last) && !k.last.IsZero() {
						t.Fatalf("step %d: time goes from %v back to %v", i, k.last, at)
					}
					k.took(at, mono)
				}
			}
		})
	}
}

// TestGrid has the times of snapshots that come a little early and late.
func TestGrid(t *testing.T) {
	k := clock{interval: 15 * time.Second, retain: DefaultRetentionTime}
	start := day.Add(3217 * time.Millisecond)
	for i, c := range []struct{ off, want time.Duration }{
		{0, 0}, {40 * time.Millisecond, 0}, {-40 * time.Millisecond, 0}, {149 * time.Millisecond, 0}, {151 * time.Millisecond, 151 * time.Millisecond}, {160 * time.Millisecond, 151 * time.Millisecond}, {151 * time.Millisecond, 151 * time.Millisecond},
	} {
		grid := start.Add(time.Duration(i) * 15 * time.Second)
		v, at := k.judge(grid.Add(c.off), grid.Add(c.off), 5*time.Second)
		if v != take || !at.Equal(grid.Add(c.want)) {
			t.Errorf("sample %d at %v: verdict %d at %v, want at %v", i, grid.Add(c.off), v, at, grid.Add(c.want))
		}
		k.took(at, grid.Add(c.off))
	}
}
