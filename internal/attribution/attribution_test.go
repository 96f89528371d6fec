package attribution

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

func TestDivide(t *testing.T) {
	f := func(name string, total unit.Energy, weights []uint64, want []unit.Energy) {
		t.Helper()
		got := make([]unit.Energy, len(weights))
		var d Divider
		Divide(&d, got, total, weights)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	f("thirds give the last microjoule to the first", 100, []uint64{1, 1, 1}, []unit.Energy{34, 33, 33})
	f("the largest remainder gets it", 10, []uint64{1, 2, 4}, []unit.Energy{1, 3, 6}) // quotas 1.43 2.86 5.71
	f("nothing to nobody", 100, []uint64{0, 0}, []unit.Energy{0, 0})
	f("null player", 7, []uint64{0, 3, 0}, []unit.Energy{0, 7, 0})
	f("fewer microjoules than takers", 2, []uint64{1, 1, 1}, []unit.Energy{1, 1, 0})
	f("products above 64 bits", 9_000_000_000_000_000_000, []uint64{1 << 62, 1 << 62}, []unit.Energy{4_500_000_000_000_000_000, 4_500_000_000_000_000_000})
	f("weights that overflow divide nothing", 5, []uint64{1 << 63, 1 << 63}, []unit.Energy{0, 0})
}

// tickOf is a tick of 5 s on 2 CPUs with the given busy times.
func tickOf(amounts []energy.Amount, claims []Claim, system [workload.SystemAccounts]time.Duration) *Tick {
	t := &Tick{Amounts: amounts, Capacity: 10 * time.Second, System: system}
	for _, c := range claims {
		t.Busy += c.CPU
	}
	for _, s := range system {
		t.Busy += s
	}
	return t
}

func TestAttribute(t *testing.T) {
	cpu := []energy.Amount{{Component: energy.CPU, Energy: 100 * unit.Joule}}
	claims := []Claim{{CPU: 3 * time.Second}, {CPU: time.Second}, {}}
	sys := [workload.SystemAccounts]time.Duration{workload.Kernel: time.Second}
	ledger := func(dynamic, idle unit.Energy) (l snapshot.Ledger) {
		l[energy.CPU] = [energy.Parts]unit.Energy{dynamic, idle}
		return l
	}
	f := func(name string, p Policy, tick *Tick, want Shares) {
		t.Helper()
		var d Divider
		var got Shares
		d.Attribute(&got, p, tick, claims)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
	f("utilisation leaves the idle half to nobody", Utilisation{}, tickOf(cpu, claims, sys), Shares{
		Claims: []snapshot.Ledger{ledger(30*unit.Joule, 0), ledger(10*unit.Joule, 0), {}},
		System: [workload.SystemAccounts]snapshot.Ledger{
			workload.IdleAccount: ledger(0, 50*unit.Joule), workload.Kernel: ledger(10*unit.Joule, 0),
		},
	})
	f("proportional gives both parts to those who ran", Proportional{}, tickOf(cpu, claims, sys), Shares{
		Claims:     []snapshot.Ledger{ledger(30*unit.Joule, 30*unit.Joule), ledger(10*unit.Joule, 10*unit.Joule), {}},
		System:     [workload.SystemAccounts]snapshot.Ledger{workload.Kernel: ledger(10*unit.Joule, 10*unit.Joule)},
		SharesIdle: true,
	})
	floor := []energy.Amount{{Component: energy.CPU, Energy: 100 * unit.Joule, Floor: 20 * unit.Joule, HasFloor: true}}
	f("a stated floor is the idle part", Utilisation{}, tickOf(floor, claims, sys), Shares{
		Claims: []snapshot.Ledger{ledger(48*unit.Joule, 0), ledger(16*unit.Joule, 0), {}},
		System: [workload.SystemAccounts]snapshot.Ledger{
			workload.IdleAccount: ledger(0, 20*unit.Joule), workload.Kernel: ledger(16*unit.Joule, 0),
		},
	})
	over := tickOf(cpu, claims, sys)
	over.Capacity = time.Second
	f("more busy than capacity is all dynamic", Utilisation{}, over, Shares{
		Claims: []snapshot.Ledger{ledger(60*unit.Joule, 0), ledger(20*unit.Joule, 0), {}},
		System: [workload.SystemAccounts]snapshot.Ledger{workload.Kernel: ledger(20*unit.Joule, 0)},
	})

	claims = []Claim{{}, {}}
	f("nothing ran", Utilisation{}, tickOf(floor, claims, [workload.SystemAccounts]time.Duration{}), Shares{
		Claims: []snapshot.Ledger{{}, {}},
		System: [workload.SystemAccounts]snapshot.Ledger{workload.IdleAccount: ledger(0, 100*unit.Joule)},
	})
	claims = []Claim{{Reserved: [energy.Components]uint64{energy.CPU: 500}}, {Reserved: [energy.Components]uint64{energy.CPU: 250}}}
	reserved := tickOf(cpu, claims, [workload.SystemAccounts]time.Duration{})
	reserved.Allocatable[energy.CPU] = 2000
	f("idle by reservation, the rest is unreserved", Utilisation{}, reserved, Shares{
		Claims:     []snapshot.Ledger{ledger(0, 25*unit.Joule), ledger(0, 12_500_000)},
		System:     [workload.SystemAccounts]snapshot.Ledger{workload.Unreserved: ledger(0, 62_500_000)},
		SharesIdle: true,
	})
	reserved.Allocatable[energy.CPU] = 100
	f("reservations above what there is share all of it", Utilisation{}, reserved, Shares{
		Claims:     []snapshot.Ledger{ledger(0, 66_666_667), ledger(0, 33_333_333)},
		SharesIdle: true,
	})
}

func TestByName(t *testing.T) {
	for _, name := range []string{"utilisation", "proportional"} {
		if p, err := ByName(name); err != nil || p.Name() != name {
			t.Errorf("ByName(%q) = %v, %v", name, p, err)
		}
	}
	for name, want := range map[string]string{
		"calibrated": `policy "calibrated" is not available yet: use utilisation or proportional`,
		"fair":       `policy "fair" is unknown: use utilisation or proportional`,
	} {
		if _, err := ByName(name); err == nil || err.Error() != want {
			t.Errorf("ByName(%q) = %v, want %s", name, err, want)
		}
	}
}

// randomCase is a tick with up to 40 accounts; r decides everything.
func randomCase(r *rand.Rand) (*Tick, []Claim) {
	claims := make([]Claim, r.IntN(40))
	for i := range claims {
		if r.IntN(3) > 0 {
			claims[i].CPU = time.Duration(r.Int64N(int64(20 * time.Second)))
		}
		if r.IntN(2) > 0 {
			claims[i].Reserved = [energy.Components]uint64{r.Uint64N(8000), r.Uint64N(1 << 40), r.Uint64N(4), r.Uint64N(8000)}
		}
	}
	var system [workload.SystemAccounts]time.Duration
	for _, a := range []workload.SystemAccount{workload.Kernel, workload.Exited, workload.Unattributed} {
		system[a] = time.Duration(r.Int64N(int64(2 * time.Second)))
	}
	var amounts []energy.Amount
	for c := range energy.Component(energy.Components) {
		if r.IntN(4) == 0 {
			continue
		}
		a := energy.Amount{Component: c, Energy: unit.Energy(r.Int64N(int64(5000 * unit.Joule)))}
		if r.IntN(2) == 0 {
			a.HasFloor, a.Floor = true, unit.Energy(r.Int64N(int64(a.Energy)+1))
		}
		amounts = append(amounts, a)
	}
	t := tickOf(amounts, claims, system)
	t.Capacity = time.Duration(r.Int64N(int64(400 * time.Second)))
	if r.IntN(2) == 0 {
		t.Allocatable = [energy.Components]uint64{r.Uint64N(64000), r.Uint64N(1 << 42), r.Uint64N(8), r.Uint64N(64000)}
	}
	return t, claims
}

// check holds the laws of the books against one division.
func check(t *testing.T, p Policy, tick *Tick, claims []Claim, got *Shares) {
	t.Helper()
	for _, a := range tick.Amounts {
		sum := unit.Energy(0)
		for i := range got.Claims {
			sum += got.Claims[i].Component(a.Component)
		}
		for i := range got.System {
			sum += got.System[i].Component(a.Component)
		}
		if sum != a.Energy {
			t.Fatalf("%s %s: shares sum to %d µJ of %d µJ", p.Name(), a.Component, sum, a.Energy)
		}
	}
	for i := range got.Claims {
		for c := range got.Claims[i] {
			for part, e := range got.Claims[i][c] {
				if e < 0 {
					t.Fatalf("%s: claim %d pays %d µJ", p.Name(), i, e)
				}
				if e > 0 && claims[i].CPU == 0 && (part == int(energy.Dynamic) || claims[i].Reserved[c] == 0) {
					t.Fatalf("%s: claim %d neither ran nor reserved and pays %d µJ", p.Name(), i, e)
				}
			}
		}
		for j := range i {
			if claims[i] != claims[j] {
				continue
			}
			for c := range got.Claims[i] {
				for part := range got.Claims[i][c] {
					if d := got.Claims[i][c][part] - got.Claims[j][c][part]; d < -1 || d > 1 {
						t.Fatalf("%s: equal claims %d and %d differ by %d µJ", p.Name(), i, j, d)
					}
				}
			}
		}
	}
	if tick.Allocatable[energy.CPU] > 0 && got.System[workload.IdleAccount][energy.CPU][energy.Idle] != 0 && p.Name() == "utilisation" {
		t.Fatal("idle is 0 where requests are known")
	}
}

func TestLaws(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var d Divider
	var got, halves Shares
	for range 20_000 {
		tick, claims := randomCase(r)
		if len(claims) > 1 && r.IntN(2) == 0 {
			claims[1] = claims[0] // symmetry needs equals
			tick.Busy = tickOf(nil, claims, tick.System).Busy
		}
		for _, p := range []Policy{Utilisation{}, Proportional{}} {
			d.Attribute(&got, p, tick, claims)
			check(t, p, tick, claims, &got)

			// Splitting one workload in two moves at most 1 µJ per account and part.
			if len(claims) == 0 {
				continue
			}
			c := claims[0]
			c.CPU /= 2
			rest := claims[0]
			rest.CPU -= c.CPU
			for i := range c.Reserved {
				c.Reserved[i] /= 2
				rest.Reserved[i] -= c.Reserved[i]
			}
			split := append([]Claim{c, rest}, claims[1:]...)
			d.Attribute(&halves, p, tick, split)
			for comp := range energy.Components {
				for part := range energy.Parts {
					sum := halves.Claims[0][comp][part] + halves.Claims[1][comp][part]
					if diff := sum - got.Claims[0][comp][part]; diff < -2 || diff > 2 {
						t.Fatalf("%s: splitting a claim moved %d µJ", p.Name(), diff)
					}
				}
			}
		}
	}
}

func TestAttributeAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tick, claims := randomCase(r)
	for len(claims) < 20 {
		tick, claims = randomCase(r)
	}
	var d Divider
	var got Shares
	if n := testing.AllocsPerRun(100, func() { d.Attribute(&got, Utilisation{}, tick, claims) }); n != 0 {
		t.Errorf("Attribute allocates %v times", n)
	}
}

func FuzzAttribute(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"), uint8(3))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		next := func() uint64 {
			var b [8]byte
			data = data[copy(b[:], data):]
			return binary.LittleEndian.Uint64(b[:])
		}
		const day = uint64(24 * time.Hour)
		claims := make([]Claim, n)
		for i := range claims {
			claims[i] = Claim{CPU: time.Duration(next() % day), Reserved: [energy.Components]uint64{energy.CPU: next() >> 16}}
		}
		amounts := []energy.Amount{{Component: energy.CPU, Energy: unit.Energy(next() >> 1)}, {Component: energy.Memory, Energy: unit.Energy(next() >> 1), HasFloor: true, Floor: unit.Energy(next() >> 1)}}
		tick := tickOf(amounts, claims, [workload.SystemAccounts]time.Duration{workload.Kernel: time.Duration(next() % day)})
		tick.Capacity = time.Duration(next() >> 1)
		tick.Allocatable[energy.CPU] = next() >> 16
		var d Divider
		var got Shares
		for _, p := range []Policy{Utilisation{}, Proportional{}} {
			d.Attribute(&got, p, tick, claims)
			check(t, p, tick, claims, &got)
		}
	})
}

func BenchmarkAttribute300(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	claims := make([]Claim, 300)
	for i := range claims {
		claims[i].CPU = time.Duration(r.Int64N(int64(time.Second)))
	}
	tick := tickOf([]energy.Amount{{Component: energy.CPU, Energy: 500 * unit.Joule}, {Component: energy.Memory, Energy: 50 * unit.Joule}}, claims, [workload.SystemAccounts]time.Duration{})
	var d Divider
	var got Shares
	for b.Loop() {
		d.Attribute(&got, Utilisation{}, tick, claims)
	}
}
