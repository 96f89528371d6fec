package agent

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// script is a stream of choices; at its end every choice is 0.
type script []byte

func (s *script) n(limit int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % limit
}

// player plays a script: pods that come and go, and an API that names them
// early, late, never, differently, or is away.
type player struct {
	*world
	script    script
	pods      map[string]*workload.PodFacts
	versions  int
	last      map[string]unit.Energy
	unclaimed unit.Energy              // what pods had used that retired without a name
	each      func(*snapshot.Snapshot) // called after each tick; may be nil
}

const scriptPods = 6

func (p *player) change() {
	uid := "u" + strconv.Itoa(p.script.n(scriptPods))
	switch p.script.n(4) {
	case 0:
		delete(p.pods, uid)
		return
	case 1: // nothing new
		return
	}
	p.versions++
	f := &workload.PodFacts{
		UID: uid, Namespace: "ns" + strconv.Itoa(p.script.n(2)), Name: "pod-" + uid,
		WorkloadKind: "Job", Workload: "w" + strconv.Itoa(p.script.n(3)), Labels: []string{strconv.Itoa(p.versions)},
		Reserved:   workload.Reserved{CPU: uint64(p.script.n(4)) * 500, Memory: uint64(p.script.n(3)) << 20},
		Containers: map[string]workload.ContainerFacts{},
	}
	if uid <= "u2" {
		f.UID, f.Name = "api"+strconv.Itoa(p.script.n(2)), "static"
	}
	for _, c := range []string{"c1", "c2"} {
		if p.script.n(2) == 1 {
			f.Containers[c] = workload.ContainerFacts{Name: c, Reserved: workload.Reserved{CPU: uint64(p.script.n(3)) * 400}}
		}
	}
	p.pods[uid] = f
}

func (p *player) names() *workload.Names {
	n := &workload.Names{Pods: map[string]*workload.PodFacts{}, Containers: map[string]string{}, AsksPods: true}
	maps.Copy(n.Pods, p.pods)
	if p.script.n(2) == 1 {
		n.Containers["x"] = "db" + strconv.Itoa(p.script.n(2))
	}
	n.AsksContainers = p.script.n(2) == 1
	if p.script.n(4) != 0 {
		n.Allocatable = workload.Reserved{CPU: 2000, Memory: 4 << 20}
	}
	return n
}

func (p *player) play() {
	for len(p.script) > 0 {
		for p.script.n(3) != 0 { // else the API says nothing new
			p.change()
			p.world.names = p.names()
		}
		var busy time.Duration
		alive := p.script.n(256)
		for i := range scriptPods {
			if alive>>i&1 == 0 {
				continue
			}
			for _, c := range []string{"", "/pause", "/c1", "/c2"} {
				if p.script.n(3) != 0 {
					d := time.Duration(p.script.n(3)) * 100 * time.Millisecond
					busy += d
					p.cgroup("/pod/u"+strconv.Itoa(i)+c, d)
				}
			}
		}
		if alive>>7 != 0 {
			p.cgroup("/ctr/x", time.Millisecond)
		}
		unnamed := map[*pod]bool{}
		for _, q := range p.books.podList {
			unnamed[q] = q.facts == nil
		}
		s := p.enter(busy+time.Duration(p.script.n(8))*time.Second, 7, 3)
		for q := range unnamed {
			if q.gone && q.facts == nil {
				p.unclaimed += q.total.Component(energy.CPU)
			}
		}
		p.check(s)
		if p.each != nil {
			p.each(s)
		}
	}
}

func (p *player) check(s *snapshot.Snapshot) {
	p.t.Helper()
	now := map[string]unit.Energy{}
	var pods, spaces, works unit.Energy
	for _, list := range [][]snapshot.Account{s.Pods, s.Containers} {
		for i := range list {
			now[fmt.Sprint(*list[i].Owner)] = list[i].Total.Component(energy.CPU)
		}
	}
	for _, v := range s.Namespaces {
		spaces += v.Total.Component(energy.CPU)
		now["namespace "+v.Namespace] = v.Total.Component(energy.CPU)
	}
	for _, v := range s.Workloads {
		works += v.Total.Component(energy.CPU)
		now["workload "+v.Namespace+v.Workload] = v.Total.Component(energy.CPU)
	}
	for name, e := range now {
		if e < p.last[name] {
			p.t.Fatalf("%s fell from %d to %d µJ", name, p.last[name], e)
		}
	}
	for name := range p.last {
		if _, ok := now[name]; !ok && (name[0] == 'n' || name[0] == 'w') {
			p.t.Fatalf("%s is gone", name)
		}
	}
	p.last = now

	shared := p.books.tickData.Allocatable[energy.CPU] > 0
	for c := range energy.GPU {
		var idle, node unit.Energy
		for _, q := range p.books.podList {
			idle += q.delta[c][energy.Idle]
			holds := q.facts != nil && q.facts.Reserved != workload.Reserved{} && (q.live || q.pending())
			if (!shared || !holds) && q.delta[c][energy.Idle] != 0 {
				p.t.Fatalf("pod %s has idle energy and holds nothing", q.uid)
			}
			if !holds && q.cpuDelta == 0 && q.delta != (snapshot.Ledger{}) {
				p.t.Fatalf("pod %s did nothing and pays %v", q.uid, q.delta)
			}
		}
		for _, n := range s.Nodes {
			if n.Component == c {
				node += n.Delta[energy.Idle]
			}
		}
		left := workload.IdleAccount
		if shared {
			left = workload.Unreserved
		}
		if idle += s.System[left].Delta[c][energy.Idle]; idle != node {
			p.t.Fatalf("component %d: %d µJ of %d idle are shared", c, idle, node)
		}
	}
	if shared {
		p.symmetry()
	}

	for _, q := range p.books.podList {
		if q.facts != nil {
			pods += q.total.Component(energy.CPU)
		}
	}
	pods += p.books.retired[workload.PodOwner][energy.CPU] - p.unclaimed
	if spaces != pods || works != pods {
		p.t.Fatalf("named pods used %d µJ, namespaces have %d, workloads %d", pods, spaces, works)
	}
}

// symmetry holds that equal requests cost the same, to a microjoule a leaf.
func (p *player) symmetry() {
	by := map[workload.Reserved]unit.Energy{}
	for _, q := range p.books.podList {
		if q.facts == nil || !q.live && !q.pending() {
			continue
		}
		var sum workload.Reserved
		for _, a := range q.leaves {
			sum.CPU += a.reserved.CPU
			sum.Memory += a.reserved.Memory
		}
		e := q.delta[energy.CPU][energy.Idle]
		if other, ok := by[sum]; ok && max(e-other, other-e) > 4 {
			p.t.Fatalf("%v cost %d µJ and %d", sum, e, other)
		}
		by[sum] = e
	}
}

func newPlayer(t testing.TB, s []byte) *player {
	c := Default()
	p := &player{script: s, pods: map[string]*workload.PodFacts{}, last: map[string]unit.Energy{}}
	c.KeepFinished = time.Duration(p.script.n(40)) * time.Second
	p.world = newWorld(t, c)
	return p
}

func TestRandomNames(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 11))
		s := make([]byte, 1500)
		for i := range s {
			s[i] = byte(r.Uint32())
		}
		newPlayer(t, s).play()
	}
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("names come late, change, vanish; pods end; the API is away"))
	f.Fuzz(func(t *testing.T, s []byte) {
		if len(s) < 4000 {
			newPlayer(t, s).play()
		}
	})
}

// fullNode returns a tick of a node full of named pods, at a site or without.
func fullNode(t testing.TB, site *snapshot.Site) (*world, func()) {
	w := newWorld(t, Default())
	w.names = asked(map[string]*workload.PodFacts{})
	w.names.Allocatable = workload.Reserved{CPU: 64000}
	for i := range 300 {
		uid := "u" + strconv.Itoa(i)
		f := facts(uid, "pod-"+uid, 100, "c-"+uid, "app")
		f.Containers["c-"+uid] = workload.ContainerFacts{Name: "app", Reserved: workload.Reserved{CPU: 60}}
		w.names.Pods[uid] = f
		for _, p := range []string{"/pod/" + uid, "/pod/" + uid + "/pause", "/pod/" + uid + "/c-" + uid} {
			w.at(p)
		}
	}
	if site != nil {
		w.around(site)
	}
	w.books.carbon.to = time.Unix(0, 0)
	amounts := []energy.Amount{{Component: energy.CPU, Energy: 100 * unit.Joule}}
	tick := func() {
		w.now += 5 * time.Second
		w.books.carbon.from, w.books.carbon.to = w.books.carbon.to, time.Unix(0, 0).Add(w.now)
		w.u.HasTasks = true
		w.u.CPU = workload.CPUTime{Capacity: 20 * time.Second, Idle: 10 * time.Second}
		for p, g := range w.group {
			w.u.Groups = append(w.u.Groups, workload.GroupUsage{Group: g, CPU: time.Duration(len(p)) * time.Microsecond})
		}
		w.books.learn(w.names)
		w.books.enter(&w.u, amounts, w.now)
		w.u.Reset()
	}
	for range 3 {
		tick()
	}
	return w, tick
}

// A tick of a node full of named pods allocates nothing, and neither does
// asking for the names that are always missing.
func TestSteadyTickWithNamesAllocatesNothing(t *testing.T) {
	site := germany()
	now := time.Unix(0, 0)
	site.Past = []snapshot.Past{{From: now, To: now.Add(time.Hour), Intensity: unit.IntensityOf(299)}}
	w, tick := fullNode(t, site)
	if n := testing.AllocsPerRun(100, func() {
		site.Revised++
		tick()
		if n := len(w.books.missing()); n != 300 {
			t.Fatalf("%d are missing", n)
		}
	}); n != 0 {
		t.Errorf("a steady tick allocates %v times", n)
	}
	if w.books.carbon.revision.Off() == 0 || w.books.podList[0].footDelta.CO2e[snapshot.Embodied] == 0 {
		t.Error("nothing was revised or shared")
	}
}

func BenchmarkTickOfPods(b *testing.B) {
	for name, site := range map[string]*snapshot.Site{"joules": nil, "grams": germany()} {
		b.Run(name, func(b *testing.B) {
			_, tick := fullNode(b, site)
			b.ReportAllocs()
			for b.Loop() {
				tick()
			}
		})
	}
}
