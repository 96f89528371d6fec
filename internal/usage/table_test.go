package usage

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/workload"
)

const ms = time.Millisecond

func comm(s string) (c [16]byte) { copy(c[:], s); return c }

func TestTable(t *testing.T) {
	home, away := &workload.Place{}, &workload.Place{}
	places := map[uint64]*workload.Place{1: home, 2: away}
	type event struct {
		exit bool
		s    Seen
		at   uint64
	}
	type tick struct {
		now    time.Duration
		events []event
		want   []workload.TaskUsage
	}
	p := func(pid uint32, start, cpu time.Duration) Seen {
		return Seen{PID: pid, Parent: 1, Start: start, CPU: cpu, Comm: comm("p")}
	}
	u := func(slot int32, pid uint32, start, cpu time.Duration, state workload.TaskState) workload.TaskUsage {
		return workload.TaskUsage{Slot: slot, PID: pid, Parent: 1, Start: start, CPU: cpu, State: state, Comm: comm("p"), Place: home}
	}
	const (
		isNew = workload.New
		ended = workload.Ended
	)
	for _, tt := range []struct {
		name   string
		linger time.Duration
		ticks  []tick
	}{
		{"what runs at the first tick is the baseline", 0, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, []event{{s: p(7, 10*ms, 530*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 30*ms, 0)}},
			{3000 * ms, []event{{s: p(7, 10*ms, 530*ms), at: 1}}, nil},
		}},
		{"what starts after a tick is credited in full", 0, []tick{
			{1000 * ms, nil, nil},
			{2000 * ms, []event{{s: p(7, 1500*ms, 40*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 1500*ms, 40*ms, isNew)}},
		}},
		{"a start time rounded down to USER_HZ still counts as after the tick", 0, []tick{
			{1005 * ms, nil, nil},
			{2000 * ms, []event{{s: p(7, 1000*ms, 40*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 1000*ms, 40*ms, isNew)}},
		}},
		{"what becomes visible late does not dump its lifetime", 0, []tick{
			{1000 * ms, nil, nil},
			{2000 * ms, []event{{s: p(7, 10*ms, 900*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{3000 * ms, []event{{s: p(7, 10*ms, 905*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 5*ms, 0)}},
		}},
		{"a sum that dips is neither negative nor credited twice", 0, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, []event{{s: p(7, 10*ms, 400*ms), at: 1}}, nil},
			{3000 * ms, []event{{s: p(7, 10*ms, 510*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 10*ms, 0)}},
		}},
		{"a reused pid is another process", 0, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, []event{{s: p(7, 1500*ms, 3*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, ended), u(1, 7, 1500*ms, 3*ms, isNew)}},
			{3000 * ms, []event{{s: p(7, 1500*ms, 3*ms), at: 1}, {s: p(8, 2500*ms, 1*ms), at: 1}}, []workload.TaskUsage{u(0, 8, 2500*ms, 1*ms, isNew)}},
		}},
		{"an exit credits the rest and ends it at once", 2000 * ms, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, []event{{exit: true, s: p(7, 10*ms, 620*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 120*ms, ended)}},
			{3000 * ms, []event{{exit: true, s: p(7, 10*ms, 620*ms), at: 1}}, nil},
		}},
		{"an exit in the tick that still observed it is not credited twice", 2000 * ms, []tick{
			{1000 * ms, nil, nil},
			{2000 * ms, []event{{s: p(7, 1500*ms, 20*ms), at: 1}, {exit: true, s: p(7, 1500*ms, 25*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 1500*ms, 25*ms, isNew|ended)}},
		}},
		{"a vanished process waits for its exit record", 2000 * ms, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, nil, nil},
			{3000 * ms, []event{{exit: true, s: p(7, 10*ms, 501*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 1*ms, ended)}},
		}},
		{"without an exit record it ends after the linger, and a record later still changes nothing", 1000 * ms, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 500*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, nil, nil},
			{3000 * ms, nil, []workload.TaskUsage{u(0, 7, 10*ms, 0, ended)}},
			{4000 * ms, []event{{exit: true, s: p(7, 10*ms, 501*ms), at: 1}}, nil},
		}},
		{"born and died between ticks: summed by place and parent", 2000 * ms, []tick{
			{1000 * ms, []event{{exit: true, s: p(6, 10*ms, 900*ms), at: 1}}, nil},
			{2000 * ms, []event{
				{exit: true, s: p(7, 1500*ms, 2*ms), at: 1},
				{exit: true, s: p(8, 1501*ms, 3*ms), at: 1},
				{exit: true, s: p(9, 1502*ms, 4*ms), at: 2},
			}, []workload.TaskUsage{
				{Slot: -1, Parent: 1, State: ended, CPU: 5 * ms, Place: home},
				{Slot: -1, Parent: 1, State: ended, CPU: 4 * ms, Place: away},
			}},
			{3000 * ms, nil, nil},
		}},
		{"born and died between ticks, with a record that is late", 2000 * ms, []tick{
			{1000 * ms, nil, nil},
			{2000 * ms, nil, nil},
			{3000 * ms, []event{{exit: true, s: p(7, 1500*ms, 2*ms), at: 1}}, []workload.TaskUsage{{Slot: -1, Parent: 1, State: ended, CPU: 2 * ms, Place: home}}},
			{4000 * ms, []event{{exit: true, s: p(8, 1500*ms, 2*ms), at: 1}}, []workload.TaskUsage{{Slot: -1, Parent: 1, State: ended, CPU: 2 * ms, Place: home}}},
			{5000 * ms, nil, nil},
			{6000 * ms, []event{{exit: true, s: p(9, 1500*ms, 2*ms), at: 1}}, nil}, // no record is so late: it was hidden
		}},
		{"a record that is later than the linger is not credited on top of what was observed", 2000 * ms, []tick{
			{1000 * ms, nil, nil},
			{2000 * ms, []event{{s: p(7, 1500*ms, 20*ms), at: 1}}, []workload.TaskUsage{u(0, 7, 1500*ms, 20*ms, isNew)}},
			{3000 * ms, nil, nil},
			{4000 * ms, nil, nil},
			{5000 * ms, nil, []workload.TaskUsage{u(0, 7, 1500*ms, 0, ended)}},
			{6000 * ms, []event{{exit: true, s: p(7, 1500*ms, 25*ms), at: 1}}, nil},
		}},
		{"exec and a move are told once", 0, []tick{
			{1000 * ms, []event{{s: p(7, 10*ms, 0), at: 1}}, []workload.TaskUsage{u(0, 7, 10*ms, 0, isNew)}},
			{2000 * ms, []event{{s: Seen{PID: 7, Start: 10 * ms, Comm: comm("q")}, at: 1}}, []workload.TaskUsage{{Slot: 0, PID: 7, Start: 10 * ms, State: workload.Renamed, Comm: comm("q"), Place: home}}},
			{3000 * ms, []event{{s: Seen{PID: 7, Start: 10 * ms, Comm: comm("q")}, at: 2}}, []workload.TaskUsage{{Slot: 0, PID: 7, Start: 10 * ms, State: workload.Renamed, Comm: comm("q"), Place: away}}},
			{4000 * ms, []event{{s: Seen{PID: 7, Start: 10 * ms, Comm: comm("q")}, at: 2}}, nil},
		}},
		{"a kernel thread says so", 0, []tick{
			{1000 * ms, []event{{s: Seen{PID: 2, Kernel: true}, at: 1}}, []workload.TaskUsage{{PID: 2, State: workload.New | workload.KernelTask, Place: home}}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := NewTable(tt.linger)
			for i, tick := range tt.ticks {
				table.Begin(tick.now)
				for _, ev := range tick.events {
					do := table.Observe
					if ev.exit {
						do = table.Exit
					}
					if e, moved := do(&ev.s, Where{V2: ev.at}); moved {
						e.Place = places[ev.at]
					}
				}
				got := table.Finish(nil)
				if diff := cmp.Diff(tick.want, got); diff != "" {
					t.Errorf("tick %d (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}

// A tick that was given up before Finish loses nothing and credits nothing twice.
func TestTableAbandonedTick(t *testing.T) {
	place := &workload.Place{}
	table := NewTable(0)
	observe := func(cpu time.Duration) {
		if e, moved := table.Observe(&Seen{PID: 7, Start: 1100 * ms, CPU: cpu}, Where{}); moved {
			e.Place = place
		}
	}
	table.Begin(1000 * ms)
	table.Finish(nil)
	table.Begin(2000 * ms)
	observe(30 * ms)
	table.Begin(3000 * ms) // the walk of 2000 failed
	observe(50 * ms)
	table.Exit(&Seen{PID: 8, Start: 1500 * ms, CPU: 9 * ms}, Where{})
	got := table.Finish(nil)
	want := []workload.TaskUsage{
		{Slot: 0, PID: 7, Start: 1100 * ms, CPU: 50 * ms, State: workload.New, Place: place},
		{Slot: -1, CPU: 9 * ms, State: workload.Ended},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever the order of births, deaths, walks and late records, every process
// is credited with exactly what it used after the first tick.
func TestTableCreditsExactlyOnce(t *testing.T) {
	type proc struct {
		Seen
		rate  int64 // CPU time in nanoseconds per millisecond
		death time.Duration
		late  time.Duration // how much later its exit record comes
		done  bool
	}
	cpu := func(p *proc, at time.Duration) time.Duration {
		return time.Duration(int64(min(at, p.death)-p.Start) * p.rate / int64(ms))
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
		table := NewTable(2 * time.Second)
		now := time.Hour
		var procs []*proc
		spawn := func(from, to time.Duration) {
			p := &proc{rate: r.Int64N(4 * int64(ms)), late: upTo(150 * ms)}
			p.PID = uint32(r.IntN(50)) // reused all the time
			p.Parent = uint32(r.IntN(3))
			p.Start = from + upTo(to-from)
			p.death = p.Start + upTo(time.Duration(1+r.IntN(3000))*ms)
			procs = append(procs, p)
		}
		var got, want time.Duration
		for tick := range 300 {
			last := now
			now += 10*ms + upTo(time.Duration(1+r.IntN(3000))*ms)
			if tick < 290 {
				for range r.IntN(20) {
					spawn(last, now)
				}
			}
			if tick == 0 { // the baseline: all alive
				for _, p := range procs {
					p.death += now - p.Start
					want -= cpu(p, now)
				}
			}
			table.Begin(now)
			for _, p := range procs {
				if !p.done && p.Start <= now && now < p.death {
					p.CPU = cpu(p, now)
					table.Observe(&p.Seen, Where{})
				}
			}
			for _, p := range procs {
				if !p.done && p.death+p.late <= now {
					p.CPU, p.done = cpu(p, now), true
					table.Exit(&p.Seen, Where{})
				}
			}
			for _, u := range table.Finish(nil) {
				if u.CPU < 0 {
					t.Fatalf("seed %d: %v credited", seed, u.CPU)
				}
				got += u.CPU
			}
		}
		for _, p := range procs {
			if !p.done {
				t.Fatalf("seed %d: a process outlives the test", seed)
			}
			want += cpu(p, p.death)
		}
		if got != want {
			t.Errorf("seed %d: credited %v, used %v", seed, got, want)
		}
		if table.Len() != 0 {
			t.Errorf("seed %d: %d processes left", seed, table.Len())
		}
	}
}

func round(table *Table, now time.Duration, n int, shift time.Duration, dst []workload.TaskUsage) []workload.TaskUsage {
	table.Begin(now)
	for i := range n {
		s := Seen{PID: uint32(i + 1), Start: time.Duration(i) * ms, CPU: shift}
		if e, moved := table.Observe(&s, Where{V2: uint64(i % 100)}); moved {
			e.Place = &workload.Place{}
		}
	}
	for i := range 100 {
		s := Seen{PID: uint32(n + i + 1), Parent: 3, Start: now - ms, CPU: ms}
		table.Exit(&s, Where{V2: uint64(i % 10)})
	}
	return table.Finish(dst[:0])
}

func TestTableAllocatesNothingInSteadyState(t *testing.T) {
	const n = 10_000
	table := NewTable(time.Second)
	var dst []workload.TaskUsage
	now := time.Hour
	for range 3 {
		now += time.Second
		dst = round(table, now, n, now, dst)
	}
	if len(dst) != n+10 {
		t.Fatalf("%d records, want %d processes and 10 sums", len(dst), n)
	}
	if got := testing.AllocsPerRun(5, func() {
		now += time.Second
		dst = round(table, now, n, now, dst)
	}); got != 0 {
		t.Errorf("%v allocations per tick of %d processes, want 0", got, n)
	}
}

func BenchmarkTable(b *testing.B) {
	table := NewTable(time.Second)
	var dst []workload.TaskUsage
	now := time.Hour
	for b.Loop() {
		now += time.Second
		dst = round(table, now, 10_000, now, dst)
	}
}
