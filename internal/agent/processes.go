package agent

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"

	"noether/internal/attribution"
	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// series is one line of the process view: the label set, not the process.
// A process with the labels of one that has finished continues its counter.
type series struct {
	name         *snapshot.ProcessName
	payer        *account // of the process that was given these labels last
	total, delta [energy.Components]unit.Energy
	touched      bool          // delta is not zero
	processes    int           // alive with these labels
	end          time.Duration // when the last of them ended
}

// view is the process view of the dynamic energy.
type view struct {
	mode    Processes
	present bool // processes could be seen in this tick
	byName  map[snapshot.ProcessName]*series
	sorted  []*series // all of byName, without other
	dirty   bool      // sorted is not
	ended   []ending  // in the order of their end
	other   *series   // everything that has no series of its own
	touched []*series
	order   []int32
	weights []uint64
	parts   []unit.Energy
	tasks   []int32
}

// ending is an entry of the queue of ended series; it is void when the series lives again.
type ending struct {
	s  *series
	at time.Duration
}

func newView(mode Processes) view {
	return view{
		mode:   mode,
		byName: make(map[snapshot.ProcessName]*series),
		other:  &series{name: &snapshot.ProcessName{Comm: "other"}},
	}
}

// viewProcesses divides the dynamic energy of every account among its tasks.
func (b *books) viewProcesses(u *workload.Usage) {
	v := &b.view
	if v.mode.Mode == NoProcesses {
		return
	}
	for _, s := range v.touched {
		s.delta, s.touched = [energy.Components]unit.Energy{}, false
	}
	v.touched = v.touched[:0]
	b.enlist(u)
	for _, a := range b.active {
		if !a.system {
			b.viewAccount(u, a)
		}
	}
}

// enlist gives series to the processes that deserve one in this tick, and
// takes renamed ones to their new label set.
func (b *books) enlist(u *workload.Usage) {
	v := &b.view
	v.order = v.order[:0]
	for i := range u.Tasks {
		t := &u.Tasks[i]
		if t.Slot < 0 {
			continue
		}
		s := &b.slots[t.Slot]
		if s.account.system {
			continue
		}
		if s.series != nil && t.State&workload.Renamed != 0 {
			v.move(s, t, b.now)
		}
		passing := t.State&(workload.New|workload.Ended) == workload.New|workload.Ended
		switch {
		case s.series != nil || passing:
		case v.mode.Mode == AllProcesses:
			v.enter(s, t)
		case t.CPU > 0:
			v.order = append(v.order, int32(i))
		}
	}
	if v.mode.Mode != TopProcesses {
		return
	}
	for _, i := range b.busiest(u, v.mode.N) {
		if s := &b.slots[u.Tasks[i].Slot]; s.series == nil {
			v.enter(s, &u.Tasks[i])
		}
	}
}

// busiest returns which of the candidates in v.order are among the n busiest
// processes of the tick, those with a series included.
func (b *books) busiest(u *workload.Usage, n int) []int32 {
	v := &b.view
	if len(v.order) == 0 {
		return nil
	}
	candidates := len(v.order)
	for i := range u.Tasks {
		if t := &u.Tasks[i]; t.Slot >= 0 && t.CPU > 0 && b.slots[t.Slot].series != nil {
			v.order = append(v.order, int32(i))
		}
	}
	if len(v.order) <= n {
		return v.order[:candidates]
	}
	slices.SortFunc(v.order, func(x, y int32) int {
		a, b := &u.Tasks[x], &u.Tasks[y]
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(a.PID, b.PID))
	})
	return v.order[:n]
}

// viewAccount divides one account's dynamic energy by its tasks' CPU time.
// Time of the account that no task explains belongs to other.
func (b *books) viewAccount(u *workload.Usage, a *account) {
	v := &b.view
	v.tasks, v.weights = v.tasks[:0], v.weights[:0]
	rest := a.cpuDelta
	for i := a.first; i >= 0; i = b.next[i] {
		t := &u.Tasks[i]
		v.tasks = append(v.tasks, i)
		v.weights = append(v.weights, uint64(t.CPU))
		rest -= t.CPU
	}
	v.weights = append(v.weights, uint64(max(rest, 0)))
	for c := range a.delta {
		e := a.delta[c][energy.Dynamic]
		if e == 0 {
			continue
		}
		v.parts = slices.Grow(v.parts[:0], len(v.weights))[:len(v.weights)]
		if !attribution.Divide(&b.divider, v.parts, e, v.weights) {
			v.credit(v.other, c, e)
			continue
		}
		for j, i := range v.tasks {
			s := v.other
			if t := &u.Tasks[i]; t.Slot >= 0 && b.slots[t.Slot].series != nil {
				s = b.slots[t.Slot].series
			}
			v.credit(s, c, v.parts[j])
		}
		v.credit(v.other, c, v.parts[len(v.tasks)])
	}
}

func (v *view) credit(s *series, c int, e unit.Energy) {
	if e == 0 {
		return
	}
	if !s.touched {
		s.touched = true
		v.touched = append(v.touched, s)
	}
	s.delta[c] += e
	s.total[c] += e
}

// enter gives a process the series of its label set.
func (v *view) enter(s *slot, t *workload.TaskUsage) {
	name := snapshot.ProcessName{PID: t.PID, Comm: comm(t.Comm[:]), ContainerID: s.account.owner.Container.ID}
	sr := v.byName[name]
	if sr == nil {
		sr = &series{name: &name}
		v.byName[name] = sr
		v.sorted = append(v.sorted, sr)
		v.dirty = true
	}
	sr.processes++
	sr.payer = s.account
	s.series = sr
}

// move takes a process to another series when its labels have changed.
func (v *view) move(s *slot, t *workload.TaskUsage, now time.Duration) {
	name := s.series.name
	if name.Comm == comm(t.Comm[:]) && name.ContainerID == s.account.owner.Container.ID {
		s.series.payer = s.account
		return
	}
	old := s.series
	v.enter(s, t)
	v.leave(old, now)
}

// leave says that one process of a series has ended.
func (v *view) leave(s *series, now time.Duration) {
	if s == nil {
		return
	}
	s.processes--
	if s.processes == 0 {
		s.end = now
		v.ended = append(v.ended, ending{s, now})
	}
}

// sweep drops series that ended long ago or that are too many.
func (v *view) sweep(now, keep time.Duration) {
	n := 0
	for _, e := range v.ended {
		void := e.s.name == nil || e.s.processes > 0 || e.s.end != e.at
		if !void && len(v.ended)-n <= v.mode.maxEnded() && now-e.at <= keep {
			break
		}
		n++
		if !void {
			delete(v.byName, *e.s.name)
			e.s.name = nil // marks it for removal from sorted
			v.dirty = true
		}
	}
	v.ended = slices.Delete(v.ended, 0, n)
}

// list returns all series but other, sorted.
func (v *view) list() []*series {
	if v.dirty {
		v.dirty = false
		v.sorted = slices.DeleteFunc(v.sorted, func(s *series) bool { return s.name == nil })
		slices.SortFunc(v.sorted, func(x, y *series) int {
			return cmp.Or(cmp.Compare(x.name.PID, y.name.PID), cmp.Compare(x.name.Comm, y.name.Comm),
				cmp.Compare(x.name.ContainerID, y.name.ContainerID))
		})
	}
	return v.sorted
}

// comm returns a process name as valid UTF-8 without control characters other
// than newline: the kernel cuts names at 15 bytes, in the middle of a letter if
// need be, and any byte may be set with prctl(2). What a page would have to
// escape is replaced, so that different names never look the same there.
func comm(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
