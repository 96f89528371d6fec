package agent

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

const fourYears = 4 * 365 * 24 * time.Hour

// germany is a site with everything known: 1 J is 0.1 mg at 300 g/kWh and a PUE of 1.2.
func germany() *snapshot.Site {
	return &snapshot.Site{
		Grid: snapshot.Grid{Zone: "DE", Known: true, Intensity: unit.IntensityOf(300)},
		PUE:  unit.RatioOf(1.2), Price: unit.PriceOf(0.30), Priced: true, Currency: "EUR",
		// A tick of 5 s is 1 mg of the CPU, 2 mg of the memory, 4 mg of the GPU and 2 mg of the rest.
		Hardware: snapshot.Hardware{CPU: ticks(1), Memory: ticks(2), GPU: ticks(4), Rest: ticks(2), Lifetime: fourYears},
	}
}

// ticks returns the mass of which a tick of 5 s has so many milligrams.
func ticks(milligrams int64) unit.Mass {
	return unit.Mass(milligrams) * unit.Gram / 1000 * unit.Mass(fourYears/(5*time.Second))
}

// around makes the next ticks happen at a site.
func (w *world) around(s *snapshot.Site) {
	w.books.carbon.asked, w.books.carbon.site = true, s
}

// milligrams returns what each pod, unit and system account emitted in the tick.
func milligrams(s *snapshot.Snapshot, p snapshot.Phase) map[string]int64 {
	out := map[string]int64{}
	add := func(name string, f *snapshot.Footprint) {
		if m := f.CO2e[p]; m != 0 {
			out[name] = int64(m) / 1e6
		}
	}
	for i := range s.Pods {
		add(s.Pods[i].Owner.Pod.UID, &s.Pods[i].FootprintDelta)
	}
	for i := range s.Units {
		add(s.Units[i].Owner.Unit, &s.Units[i].FootprintDelta)
	}
	for i := range s.System {
		add(workload.SystemAccount(i).String(), &s.System[i].FootprintDelta)
	}
	return out
}

func TestGramsFollowJoules(t *testing.T) {
	w := newWorld(t, Default())
	w.around(germany())
	w.enter(0)
	w.cgroup("/a.service", 10*time.Second)
	w.cgroup("/pod/u1/c1", 5*time.Second)
	s := w.enter(20*time.Second, 200, 40) // 240 J, of which 12 J a busy second
	same(t, "operational", map[string]int64{"/a.service": 12, "u1": 6, "kernel": 0, "unattributed": 5}, milligrams(s, snapshot.Operational))
	if got, want := s.FootprintDelta, (snapshot.Footprint{
		CO2e: [snapshot.Phases]unit.Mass{24_000_000, 9_000_000}, Cost: 24_000, // 240 J × 1.2 at 0.30 a kWh
	}); got != want {
		t.Errorf("the machine's is %+v, want %+v", got, want)
	}
	if got := s.Pods[0].FootprintDelta.Cost; got != 6_000 {
		t.Errorf("the pod costs %d", got)
	}
	if s.Containers[0].FootprintDelta != s.Pods[0].FootprintDelta {
		t.Errorf("the container's is %+v, its pod's %+v", s.Containers[0].FootprintDelta, s.Pods[0].FootprintDelta)
	}
	s = w.enter(20 * time.Second)
	if s.FootprintDelta.CO2e[snapshot.Operational] != 0 || s.FootprintDelta.CO2e[snapshot.Embodied] != 9_000_000 {
		t.Errorf("a tick without energy emitted %+v", s.FootprintDelta)
	}
	if got := s.Footprint.CO2e; got != [snapshot.Phases]unit.Mass{24_000_000, 18_000_000} {
		t.Errorf("in all %v", got)
	}
}

// Three ticks at three intensities, reckoned by hand: 100 J × 1.2 = 120 J, which
// is 1/30 Wh; at 123.456 g/kWh 4115200 ng, at 0.000001 g/kWh 0.03 ng, at 600 g/kWh 20 mg.
func TestAChangingIntensityIntegratesExactly(t *testing.T) {
	w := newWorld(t, Default())
	w.enter(0)
	var got []unit.Mass
	site := germany()
	for _, i := range []float64{123.456, 0.000001, 600} {
		now := *site
		now.Grid.Intensity = unit.IntensityOf(i)
		w.around(&now)
		got = append(got, w.enter(20*time.Second, 100).FootprintDelta.CO2e[snapshot.Operational])
	}
	same(t, "grams", []unit.Mass{4_115_200, 0, 20_000_000}, got)
	dim := *site
	dim.Grid.Intensity = 1 // µg/kWh: a thirtieth of a nanogram a tick, and one such is left from above
	w.around(&dim)
	var sum unit.Mass
	for range 29 {
		sum += w.enter(20*time.Second, 100).FootprintDelta.CO2e[snapshot.Operational]
	}
	if sum != 1 {
		t.Errorf("thirty ticks of a thirtieth of a nanogram are %d", sum)
	}
}

func TestUnknownIntensityBooksNoGrams(t *testing.T) {
	w := newWorld(t, Default())
	w.enter(0)
	site := germany()
	site.Grid = snapshot.Grid{Zone: "DE"}
	w.around(site)
	s := w.enter(20*time.Second, 100)
	if s.NoIntensity != 100*unit.Joule || s.FootprintDelta.CO2e != [snapshot.Phases]unit.Mass{0, 9_000_000} || s.FootprintDelta.Cost == 0 {
		t.Errorf("%d µJ unknown, %+v", s.NoIntensity, s.FootprintDelta)
	}
	w.around(nil)
	s = w.enter(20*time.Second, 100)
	if s.NoIntensity != 200*unit.Joule || s.FootprintDelta != (snapshot.Footprint{}) || s.Site != nil {
		t.Errorf("%d µJ unknown, %+v", s.NoIntensity, s.FootprintDelta)
	}
	w.around(germany())
	if s = w.enter(20*time.Second, 100); s.NoIntensity != 200*unit.Joule || s.Footprint.CO2e[snapshot.Operational] != 10_000_000 {
		t.Errorf("%d µJ unknown, %+v", s.NoIntensity, s.Footprint)
	}
}

func TestNegativePriceIsCredit(t *testing.T) {
	w := newWorld(t, Default())
	site := germany()
	w.around(site)
	w.cgroup("/pod/u1/c1", 20*time.Second)
	w.enter(20*time.Second, 100)
	site.Price = unit.PriceOf(-0.15)
	w.cgroup("/pod/u1/c1", 20*time.Second)
	s := w.enter(20*time.Second, 100)
	for name, f := range map[string]snapshot.Footprint{"machine": s.Footprint, "pod": s.Pods[0].Footprint} {
		if f.Cost != 10_000 || f.Credit != 5_000 {
			t.Errorf("%s: %d paid, %d earned", name, f.Cost, f.Credit)
		}
	}
}

// 4 CPUs, of which 4000 millicores and 8 GiB can be reserved; a tick is 2 mg by
// CPU, 3 mg by memory, 4 mg by device.
func TestHardwareIsSharedByRequests(t *testing.T) {
	const gib = 1 << 30
	pod := func(uid string, r workload.Reserved) *workload.PodFacts {
		f := facts(uid, uid, 0, "c-"+uid, "app")
		f.Reserved = r
		return f
	}
	for _, c := range []struct {
		name string
		can  workload.Reserved
		pods []*workload.PodFacts
		use  map[string]time.Duration // of 20 s
		want map[string]int64         // in micrograms
	}{
		{
			"by what each asked for",
			workload.Reserved{CPU: 4000, Memory: 8 * gib, Devices: 2},
			[]*workload.PodFacts{pod("u1", workload.Reserved{CPU: 1000, Memory: 4 * gib, Devices: 1}), pod("u2", workload.Reserved{CPU: 2000, Memory: 1 * gib})},
			map[string]time.Duration{"/pod/u1/c-u1": 19 * time.Second, "/pod/u2/c-u2": 0},
			map[string]int64{"u1": 500 + 1500 + 2000, "u2": 1000 + 375, "unreserved": 500 + 1125 + 2000},
		},
		{
			"who asked for nothing pays for use",
			workload.Reserved{CPU: 4000, Memory: 8 * gib},
			[]*workload.PodFacts{pod("u1", workload.Reserved{CPU: 2000, Memory: 4 * gib}), pod("u2", workload.Reserved{})},
			map[string]time.Duration{"/pod/u1/c-u1": 2 * time.Second, "/pod/u2/c-u2": 4 * time.Second, "/a.service": 2 * time.Second},
			map[string]int64{"u1": 1000 + 1500, "u2": 400 + 600, "/a.service": 200 + 300, "unreserved": 400 + 600 + 4000},
		},
		{
			"use above what is unreserved",
			workload.Reserved{CPU: 4000, Memory: 8 * gib},
			[]*workload.PodFacts{pod("u1", workload.Reserved{CPU: 3000, Memory: 6 * gib}), pod("u2", workload.Reserved{})},
			map[string]time.Duration{"/pod/u1/c-u1": 0, "/pod/u2/c-u2": 15 * time.Second, "/a.service": 5 * time.Second},
			map[string]int64{"u1": 1500 + 2250, "u2": 375 + 562, "/a.service": 125 + 187, "unreserved": 4000},
		},
		{
			"a request for one of the two",
			workload.Reserved{CPU: 4000, Memory: 8 * gib},
			[]*workload.PodFacts{pod("u1", workload.Reserved{CPU: 1000})},
			map[string]time.Duration{"/pod/u1/c-u1": 10 * time.Second},
			map[string]int64{"u1": 500 + 1500, "unreserved": 1500 + 1500 + 4000},
		},
		{
			"requests above capacity",
			workload.Reserved{CPU: 4000, Memory: 8 * gib, Devices: 1},
			[]*workload.PodFacts{pod("u1", workload.Reserved{CPU: 6000, Memory: 12 * gib, Devices: 3}), pod("u2", workload.Reserved{CPU: 2000, Memory: 4 * gib, Devices: 1}), pod("u3", workload.Reserved{})},
			map[string]time.Duration{"/pod/u1/c-u1": 0, "/pod/u2/c-u2": 0, "/pod/u3/c-u3": 9 * time.Second},
			map[string]int64{"u1": 1500 + 2250 + 3000, "u2": 500 + 750 + 1000},
		},
		{
			"no Kubernetes",
			workload.Reserved{},
			nil,
			map[string]time.Duration{"/pod/u1/c-u1": 5 * time.Second, "/a.service": 10 * time.Second},
			map[string]int64{"u1": 500 + 750, "/a.service": 1000 + 1500, "idle": 500 + 750 + 4000},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Default())
			w.around(germany())
			pods := map[string]*workload.PodFacts{}
			for _, f := range c.pods {
				pods[f.UID] = f
			}
			w.names = asked(pods)
			w.names.AsksPods = c.pods != nil
			w.names.Allocatable = c.can
			w.enter(0)
			for _, path := range slices.Sorted(maps.Keys(c.use)) {
				w.cgroup(path, c.use[path])
			}
			s := w.enter(20*time.Second, 100)
			got := map[string]int64{}
			for i := range s.Pods {
				p := &s.Pods[i]
				got[p.Owner.Pod.UID] = int64(p.FootprintDelta.CO2e[snapshot.Embodied]) / 1000
				f := pods[p.Owner.Pod.UID]
				if want := f == nil || f.Reserved.CPU == 0 || f.Reserved.Memory == 0; p.EmbodiedByUse != want {
					t.Errorf("%s pays by use: %t", p.Owner.Pod.UID, p.EmbodiedByUse)
				}
			}
			for i := range s.Units {
				got[s.Units[i].Owner.Unit] = int64(s.Units[i].FootprintDelta.CO2e[snapshot.Embodied]) / 1000
			}
			for i := range s.System {
				got[workload.SystemAccount(i).String()] = int64(s.System[i].FootprintDelta.CO2e[snapshot.Embodied]) / 1000
			}
			maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A pod pays for the hardware it holds also in a tick without energy, and what
// it is called says so; when it has finished it is still one that paid by request.
func TestHardwareWithoutEnergy(t *testing.T) {
	w := newWorld(t, Default())
	w.around(germany())
	f := facts("u1", "web-1", 1000, "c-u1", "nginx")
	f.Reserved.Memory = 1 << 30
	w.names = asked(map[string]*workload.PodFacts{"u1": f})
	w.names.Allocatable = workload.Reserved{CPU: 4000, Memory: 8 << 30}
	w.enter(0)
	w.busyPod("u1")
	s := w.enter(0)
	want := [snapshot.Phases]unit.Mass{0, 500_000 + 375_000}
	if got := s.Pods[0].FootprintDelta.CO2e; got != want || s.Namespaces[0].FootprintDelta.CO2e != want || s.Pods[0].EmbodiedByUse {
		t.Errorf("the pod's is %v, its namespace's %v", got, s.Namespaces[0].FootprintDelta.CO2e)
	}
	done := *w.names
	done.Pods = map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")}
	w.names = &done
	w.cgroup("/pod/u1", time.Millisecond)
	if s = w.enter(0); s.Pods[0].EmbodiedByUse {
		t.Error("a pod that has finished pays by use")
	}
}

func TestHardwareIsNobodysWhileWhoRanIsUnknown(t *testing.T) {
	w := newWorld(t, Default())
	w.around(germany())
	w.cgroup("/pod/u1", time.Second)
	w.enter(20*time.Second, 80)
	w.now += 5 * time.Second
	w.books.enter(&workload.Usage{}, []energy.Amount{{Component: energy.CPU, Energy: 80}}, w.now)
	s := w.books.snapshot()
	laws(t, s)
	if got := s.System[workload.IdleAccount].FootprintDelta.CO2e[snapshot.Embodied]; got != 9_000_000 || s.Pods[0].FootprintDelta != (snapshot.Footprint{}) {
		t.Errorf("%d ng are idle, the pod's is %+v", got, s.Pods[0].FootprintDelta)
	}
}

// A pod waits for its name, gets it late, ends and retires: its grams go where
// its joules go.
func TestGramsOfALateName(t *testing.T) {
	c := Default()
	c.KeepFinished = 0
	w := newWorld(t, c)
	w.around(germany())
	w.names = asked(nil)
	w.enter(0)
	w.busyPod("u1")
	s := w.enter(20*time.Second, 100)
	var sum snapshot.Footprint
	sum.Add(&w.books.podList[0].foot)
	if len(s.Pods) != 0 || s.RetiredCO2e[workload.PodOwner] != sum.CO2e || sum.CO2e[0] == 0 || sum.CO2e[1] == 0 {
		t.Errorf("while it waits %v is retired, of %v", s.RetiredCO2e, sum)
	}
	for range 3 {
		w.busyPod("u1")
		s = w.enter(20*time.Second, 100)
	}
	if len(s.Pods) != 1 || s.RetiredCO2e[workload.PodOwner] != [snapshot.Phases]unit.Mass{} || len(s.Namespaces) != 0 {
		t.Fatalf("without a name: %d pods, %v retired", len(s.Pods), s.RetiredCO2e)
	}
	w.names = asked(map[string]*workload.PodFacts{"u1": facts("u1", "web-1", 0, "c-u1", "nginx")})
	w.busyPod("u1")
	s = w.enter(20*time.Second, 100)
	all := s.Pods[0].Footprint
	if len(s.Namespaces) != 1 || s.Namespaces[0].Footprint != all || s.Workloads[0].Footprint != all || s.Namespaces[0].FootprintDelta != s.Pods[0].FootprintDelta {
		t.Errorf("its views have %+v, it has %+v", s.Namespaces, all)
	}
	for range 5 {
		s = w.enter(0, 0)
	}
	if len(s.Pods) != 0 || s.RetiredCO2e[workload.PodOwner] != all.CO2e || s.Namespaces[0].Footprint != all {
		t.Errorf("when it is gone %v is retired, its namespace has %+v, it had %+v", s.RetiredCO2e, s.Namespaces[0].Footprint, all)
	}
}

// gramLaws checks what has to hold for the footprints of every snapshot: the
// machine's are those of its accounts, in each tick and in all, and nobody's
// falls or is negative.
type gramLaws struct{ last map[string]snapshot.Footprint }

func (l *gramLaws) check(t testing.TB, w *world, s *snapshot.Snapshot) {
	t.Helper()
	if s.Self.ImbalanceCO2e != 0 {
		t.Fatalf("the books are off by %d ng", s.Self.ImbalanceCO2e)
	}
	var delta snapshot.Footprint
	now := map[string]snapshot.Footprint{"machine": s.Footprint}
	hidden := func(a *account) { delta.Add(&a.footDelta) }
	for _, p := range w.books.podList {
		if !p.listed {
			hidden(&p.account)
		}
	}
	for _, a := range w.books.waiting {
		if !a.gone {
			hidden(a)
		}
	}
	for kind, list := range [][]snapshot.Account{s.Pods, s.Containers, s.VMs, s.Sessions, s.Units} {
		for i := range list {
			a := &list[i]
			now[strconv.Itoa(kind)+a.Owner.Pod.UID+" "+a.Owner.Container.ID+a.Owner.VM.Name+a.Owner.User+a.Owner.Unit] = a.Footprint
			if kind != 1 || a.Owner.Pod.UID == "" {
				delta.Add(&a.FootprintDelta)
			}
		}
	}
	for i := range s.System {
		now[workload.SystemAccount(i).String()] = s.System[i].Footprint
		delta.Add(&s.System[i].FootprintDelta)
	}
	for _, views := range [][]snapshot.View{s.Namespaces, s.Workloads} {
		for _, v := range views {
			now["view "+v.Namespace+"/"+v.WorkloadKind+"/"+v.Workload] = v.Footprint
		}
	}
	if delta != s.FootprintDelta {
		t.Fatalf("accounts have %+v, the machine %+v", delta, s.FootprintDelta)
	}
	for name, f := range now {
		was := l.last[name]
		for p := range f.CO2e {
			if f.CO2e[p] < was.CO2e[p] {
				t.Fatalf("%s fell from %+v to %+v", name, was, f)
			}
		}
		if f.Cost < was.Cost || f.Credit < was.Credit {
			t.Fatalf("%s fell from %+v to %+v", name, was, f)
		}
	}
	l.last = now
}

// anySite makes up a site, absurd figures included.
func anySite(n func(int) int) *snapshot.Site {
	if n(8) == 0 {
		return nil
	}
	amount := func() int64 {
		switch n(12) {
		case 0:
			return -int64(n(1000))
		case 1:
			return 1<<63 - 1
		}
		return int64(n(256))*100_003<<n(20) + int64(n(256))
	}
	return &snapshot.Site{
		Grid: snapshot.Grid{Known: n(4) != 0, Intensity: unit.Intensity(amount() % 3e9)},
		PUE:  unit.Ratio(n(256) * 10_000), Priced: n(2) == 0, Price: unit.Price(amount()%1e12) * unit.Price(1-n(3)),
		Hardware: snapshot.Hardware{
			CPU: unit.Mass(amount() % 1e15), Memory: unit.Mass(amount() % 1e15), GPU: unit.Mass(amount() % 1e15), Rest: unit.Mass(amount() % 1e15),
			Lifetime: time.Duration(n(3)) * 365 * 24 * time.Hour,
		},
		Revised: uint64(n(3)),
	}
}

// FuzzFootprints plays the scripts of pods and names at sites that change.
func FuzzFootprints(f *testing.F) {
	f.Add([]byte("intensity, price and hardware change while pods come and go, named or not"))
	f.Fuzz(func(t *testing.T, s []byte) {
		if len(s) < 4000 {
			playFootprints(t, s)
		}
	})
}

func playFootprints(t testing.TB, s []byte) {
	p := newPlayer(t, s)
	var l gramLaws
	at := time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)
	p.each = func(s *snapshot.Snapshot) {
		l.check(t, p.world, s)
		p.around(anySite(p.script.n))
		p.books.carbon.from = at
		at = at.Add(5*time.Second + time.Duration(p.script.n(3)-1)*time.Minute)
		p.books.carbon.to = at
	}
	p.play()
}

func TestRandomFootprints(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 13))
		s := make([]byte, 2000)
		for i := range s {
			s[i] = byte(r.Uint32())
		}
		playFootprints(t, s)
	}
}

// schedule is a site whose intensity changes with the hour.
type schedule struct {
	start    time.Time
	hours    []float64
	asked    [][2]time.Time
	past     []snapshot.Past
	revised  uint64
	panicked bool
}

func (s *schedule) Between(from, to time.Time) *snapshot.Site {
	s.asked = append(s.asked, [2]time.Time{from, to})
	if s.panicked {
		panic("no site")
	}
	site := germany()
	var sum float64
	for at := from; at.Before(to); {
		since := at.Sub(s.start)
		next := s.start.Add(since.Truncate(time.Hour) + time.Hour)
		if next.After(to) {
			next = to
		}
		sum += s.hours[int(since/time.Hour)%len(s.hours)] * next.Sub(at).Seconds()
		at = next
	}
	site.Grid.Intensity = unit.IntensityOf(sum / to.Sub(from).Seconds())
	site.Past, site.Revised = s.past, s.revised
	return site
}

// surround gives the rig a site before it runs.
func (r *rig) surround(s Site) {
	r.agent.opts.Site = s
	r.agent.books.carbon.asked = true
}

// A day of 100 W, of which every hour has an intensity of its own.
func TestADayOfGrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := &schedule{start: time.Now(), hours: []float64{250, 480, 0.5, 333.25}}
		r := newRig(t, 7*time.Second, 100*unit.Watt, 0)
		r.surround(site)
		s := r.run(t, 24*time.Hour+3*time.Second) // the last tick ends two seconds after the day
		if used := nodeTotal(s); used != 100*86_402*unit.Joule || s.Self.ImbalanceCO2e != 0 {
			t.Fatalf("%d µJ, off by %d ng", used, s.Self.ImbalanceCO2e)
		}
		// 100 W × 1.2 for an hour is 0.12 kWh, six of each kind; and 240 J at 250 g/kWh.
		// The mean of a tick between two hours is rounded to a µg/kWh: up to 0.12 ng of 0.00023 kWh.
		const want = unit.Mass(765_900_000_000 + 16_666_667)
		if got := s.Footprint.CO2e[snapshot.Operational]; max(got-want, want-got) > 4 {
			t.Errorf("%d ng, want %d", got, want)
		}
		// 86402 s are 17280.4 times 5 s, and each of these is 9 mg.
		if got, want := s.Footprint.CO2e[snapshot.Embodied], unit.Mass(155_523_600_000); max(got-want, want-got) > 3 {
			t.Errorf("%d ng embodied, want %d", got, want)
		}
		if got := s.Footprint.Cost; got != 864_020_000 {
			t.Errorf("it costs %d", got)
		}
		for i, span := range site.asked {
			if i > 0 && span[0] != site.asked[i-1][1] {
				t.Fatalf("tick %d begins at %s, the one before ended at %s", i, span[0], site.asked[i-1][1])
			}
		}
	})
}

func TestRevisionIsAGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := &schedule{start: time.Now().Truncate(time.Hour), hours: []float64{400}}
		r := newRig(t, 5*time.Second, 100*unit.Watt, 0)
		r.surround(site)
		r.agent.opts.OnTick = func(s *snapshot.Snapshot) {
			if s.Time.Sub(site.start) >= 2*time.Hour && site.revised == 0 {
				site.revised = 1
				site.past = []snapshot.Past{
					{From: site.start, To: site.start.Add(time.Hour), Intensity: unit.IntensityOf(300)},
					{From: site.start.Add(2 * time.Hour), To: site.start.Add(3 * time.Hour), Intensity: unit.IntensityOf(410)},
				}
			}
			r.ticks = append(r.ticks[:0], s)
		}
		s := r.run(t, 3*time.Hour+time.Minute)
		// The first hour: 0.12 kWh at 100 g less. The third, which is told before it is over: at 10 g more.
		if got := s.Revision.Grams(); got > -10.799 || got < -10.801 {
			t.Errorf("revised by %f g", got)
		}
		if got, want := s.Footprint.CO2e[snapshot.Operational].Grams(), nodeTotal(s).Joules()*1.2/3.6e6*400; got < want-1e-6 || got > want+1e-6 {
			t.Errorf("the counter has %f g, want %f", got, want)
		}
	})
}

// The site is asked about the length of the tick, whatever the clock does.
func TestSiteIsAskedAboutTheTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := &schedule{start: time.Now().AddDate(0, 0, -2), hours: []float64{400}}
		r := newRig(t, time.Second, 100*unit.Watt, 0)
		r.surround(site)
		r.agent.opts.Clock.Wall = func() time.Time {
			switch since := time.Since(r.started); {
			case since > 6*time.Second:
				return time.Now().AddDate(0, 0, 1)
			case since > 3*time.Second:
				return time.Now().AddDate(0, 0, -1)
			}
			return time.Now()
		}
		r.run(t, 9500*time.Millisecond)
		if len(site.asked) != 9 {
			t.Fatalf("asked %d times", len(site.asked))
		}
		for i, span := range site.asked {
			if span[1].Sub(span[0]) != time.Second {
				t.Errorf("tick %d is asked for from %s to %s", i, span[0], span[1])
			}
		}
	})
}

func TestASiteThatPanicsStopsNoTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := &schedule{start: time.Now(), hours: []float64{400}}
		r := newRig(t, time.Second, 100*unit.Watt, 0)
		r.surround(site)
		keep := r.agent.opts.OnTick
		r.agent.opts.OnTick = func(s *snapshot.Snapshot) {
			site.panicked = s.Seq >= 3 && s.Seq < 6
			keep(s)
		}
		s := r.run(t, 9500*time.Millisecond)
		if len(r.ticks) != 9 || nodeTotal(s) != 900*unit.Joule || s.NoIntensity != 300*unit.Joule || s.Site == nil || r.ticks[4].Site != nil {
			t.Errorf("%d ticks, %d µJ, %d unknown", len(r.ticks), nodeTotal(s), s.NoIntensity)
		}
		log := r.log.String()
		if strings.Count(log, "asking about the site:") != 1 || strings.Count(log, "asking about the site works again") != 1 {
			t.Error(log)
		}
	})
}

func TestWithoutASiteNothingIsEmitted(t *testing.T) {
	w := newWorld(t, Default())
	w.cgroup("/a.service", time.Second)
	s := w.enter(20*time.Second, 100)
	if s.Site != nil || s.NoIntensity != 0 || s.Footprint != (snapshot.Footprint{}) || s.Units[0].Footprint != (snapshot.Footprint{}) {
		t.Errorf("%+v", s.Footprint)
	}
}
