// Package exporttest makes snapshots for the tests of everything that shows
// them: one by hand with every kind of line, balanced ones at random, and
// large ones. It is no part of the program.
package exporttest

import (
	"math/rand/v2"
	"strconv"
	"time"

	"noether/internal/energy"
	"noether/internal/export"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// About returns a fixed program on a fixed machine.
func About() export.About {
	return export.About{
		Version: "1.2.3", Revision: "0123abc", GoVersion: "go1.26.0",
		OS: "linux", Arch: "amd64", Kernel: "6.12.0", CPUModel: "Test CPU @ 2.00GHz",
		Start:     time.Unix(1_700_000_000, 0).UTC(),
		PodLabels: []string{"label_app_kubernetes_io_name", "annotation_team"},
	}
}

// Snapshot returns a balanced snapshot that has every kind of line, and names
// with quotes, newlines and bytes that are not UTF-8.
func Snapshot() *snapshot.Snapshot {
	bare := workload.Pod{UID: "8a3c0f4e-0001-4d2b-9f6e-0123456789ab", QoS: "burstable"}
	named := workload.Pod{
		UID: "8a3c0f4e-0002-4d2b-9f6e-0123456789ab", QoS: "guaranteed", Namespace: "shop", Name: "web-7d9f",
		WorkloadKind: "Deployment", Workload: "web",
	}
	inPod := workload.Container{ID: "c1" + hex62, Runtime: "containerd", Name: "nginx"}
	outside := workload.Container{ID: "c2" + hex62, Runtime: "docker", Name: "a\"b\\c\nd\xff"}
	s := &snapshot.Snapshot{
		Seq: 7, Start: time.Unix(1_700_000_000, 0).UTC(), Time: time.Unix(1_700_000_035, 250_000_000).UTC(),
		Elapsed: 5_000_250 * time.Microsecond, Node: "node-1",
		CPU:  workload.CPUTime{Elapsed: 5_000_250 * time.Microsecond, Online: 2, Capacity: 10_000_500 * time.Microsecond, Idle: 6 * time.Second, Interrupt: 10 * time.Millisecond},
		Busy: 4_000_500 * time.Microsecond,
		Bands: []snapshot.Band{
			{Component: energy.Memory, Present: true, LowTotal: 1_000_000, HighTotal: 9_000_000, LowDelta: 500_000, HighDelta: 4_500_000},
		},
		Zones: []snapshot.Zone{
			zone("package-0", energy.Package, 0, -1, 60_000_001),
			zone("core", energy.Core, 0, -1, 40_000_000),
			zone("core", energy.Core, 1, -1, 40_000_002),
			zone("package-0", energy.MMIOPackage, 0, -1, 60_000_003),
			zone("dram", energy.DRAM, 0, 0, 1),
			zone("dram", energy.DRAM, 0, 1, 2),
			zone("psys", energy.Psys, -1, -1, 3),
			zone("psys", energy.Psys, -1, -1, 4),
			{Zone: energy.Zone{Sensor: "powercap", Name: "uncore", Domain: energy.Uncore, Die: -1}, Status: probe.Forbidden, Reason: "permission denied"},
		},
		Sensors: []probe.Verdict{
			{Name: "powercap", Status: probe.Works, Reason: "9 zones"},
			{Name: "msr", Status: probe.Unknown, Reason: "open /dev/cpu/0/msr: input/output error", Remedy: "modprobe msr"},
		},
		Pods: []snapshot.Account{
			account(workload.Owner{Kind: workload.PodOwner, Pod: bare}, 300, 200),
			account(workload.Owner{Kind: workload.PodOwner, Pod: named}, 7_000_001, 1_000_001),
		},
		Containers: []snapshot.Account{
			account(workload.Owner{Kind: workload.PodOwner, Pod: named, Container: inPod}, 7_000_000, 1_000_000),
			account(workload.Owner{Kind: workload.ContainerOwner, Container: outside}, 123_456, 0),
		},
		VMs:      []snapshot.Account{account(workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: "énergie", Hypervisor: "libvirt"}}, 5, 6)},
		Sessions: []snapshot.Account{account(workload.Owner{Kind: workload.SessionOwner, User: "ada"}, 2_500_000, 10)},
		Units: []snapshot.Account{
			account(workload.Owner{Kind: workload.UnitOwner, Unit: "/"}, 1, 0),
			account(workload.Owner{Kind: workload.UnitOwner, Unit: `dev-disk-by\x2dlabel.swap`}, 2, 0),
			account(workload.Owner{Kind: workload.UnitOwner, Unit: "ended.service"}, 0, 0),
		},
		HasProcesses: true,
		Processes: []snapshot.Process{
			process(0, "other", "", 1_000),
			process(42, "nginx: \"w\\\n", inPod.ID, 6_000_000),
			process(4242, "done", "", 0),
		},
		Self: snapshot.Self{
			Usage: "bpf", Policy: "utilisation", TickDuration: 1_234_567, TickCPU: 9_876_543,
			DroppedExits: 3, MissedTicks: 1,
		},
	}
	s.Units[2].Ended, s.Units[2].Total[energy.CPU][energy.Dynamic] = true, 77
	s.Processes[2].Ended, s.Processes[2].Owner = true, s.Units[0].Owner
	s.Pods[1].Extra = []string{"web", `"a" team`}
	s.Containers[0].Extra = s.Pods[1].Extra
	s.Namespaces = []snapshot.View{
		{Namespace: "jobs", Total: s.Units[0].Total, Delta: s.Units[0].Delta, Fresh: true},
		{Namespace: "shop", Total: s.Pods[1].Total, Delta: s.Pods[1].Delta},
	}
	s.Workloads = []snapshot.View{
		{Namespace: "jobs", WorkloadKind: "Job", Workload: "once", Total: s.Units[0].Total, Delta: s.Units[0].Delta, Fresh: true},
		{Namespace: "shop", WorkloadKind: "Deployment", Workload: "web", Total: s.Pods[1].Total, Delta: s.Pods[1].Delta},
	}
	s.NamesPods, s.Unnamed = true, 1
	s.Names = []workload.NamesStatus{
		{Source: "api", Up: true, Requests: 3, Bytes: 45_678, Known: 1, Synced: time.Unix(1_700_000_033, 500_000_000).UTC()},
		{Source: "docker", Requests: 7},
	}
	s.System[workload.IdleAccount] = system(energy.Idle, 12_345_678)
	s.System[workload.Kernel] = system(energy.Dynamic, 1_000)
	s.Retired[workload.ContainerOwner][energy.CPU] = 99
	surround(s)
	Balance(s)
	// Memory was measured at first, and is estimated now.
	s.Nodes = append(s.Nodes, s.Nodes[1])
	s.Nodes[1].Quality, s.Nodes[2].Quality = energy.Measured, energy.Estimated
	s.Nodes[1].Present, s.Nodes[1].Delta = false, [energy.Parts]unit.Energy{}
	s.Nodes[1].Total[energy.Dynamic] -= 3
	s.Nodes[2].Total = [energy.Parts]unit.Energy{3}
	return s
}

// surround tells about the site of s, and what its accounts emitted.
func surround(s *snapshot.Snapshot) {
	s.Site = &snapshot.Site{
		Grid: snapshot.Grid{
			Zone: "DE", Known: true, Intensity: unit.IntensityOf(381.25), Provider: "electricitymaps", Signal: "average", Factor: "lifecycle",
			Updated: time.Unix(1_700_000_000, 0).UTC(),
			Forecast: []snapshot.Forecast{
				{Horizon: time.Hour, Intensity: unit.IntensityOf(350)},
				{Horizon: 90 * time.Minute, Intensity: 1},
				{Horizon: 24 * time.Hour, Intensity: unit.IntensityOf(120.5)},
				{Horizon: 25 * time.Hour, Intensity: 1},
			},
		},
		PUE: unit.RatioOf(1.2), PUEFrom: "fixed", Price: unit.PriceOf(0.25), Priced: true, Currency: "EUR",
		Hardware: snapshot.Hardware{
			CPU: 100 * unit.Kilogram, Memory: 500 * unit.Kilogram, Rest: 400 * unit.Kilogram,
			Lifetime: 4 * 365 * 24 * time.Hour, Source: "components", Estimated: true,
		},
		Sources: []snapshot.SourceStatus{
			{Source: "electricitymaps", Zone: "DE", Up: true, Requests: 3, Failures: 1, Success: time.Unix(1_700_000_000, 0).UTC()},
			{Source: "yearly", Zone: "DE"},
			{Source: "price", Up: true, Requests: 2, Success: time.Unix(1_700_000_010, 0).UTC()},
		},
	}
	footprint := func(n int64) snapshot.Footprint {
		return snapshot.Footprint{CO2e: [snapshot.Phases]unit.Mass{unit.Mass(n) * 1_000_003, unit.Mass(n) * 2_000_000}, Cost: unit.Money(n) * 7, Credit: unit.Money(n)}
	}
	for at, list := range [][]snapshot.Account{s.Pods, s.Containers, s.VMs, s.Sessions, s.Units} {
		for i := range list {
			n := int64(10*at + i + 1)
			list[i].Footprint = footprint(3 * n)
			if !list[i].Ended {
				list[i].FootprintDelta = footprint(n)
			}
		}
	}
	s.Pods[0].EmbodiedByUse = true
	for i := range s.System {
		s.System[i].Footprint, s.System[i].FootprintDelta = footprint(int64(200+i)), footprint(int64(i))
	}
	s.RetiredCO2e[workload.ContainerOwner][snapshot.Operational] = 12
	s.Namespaces[1].Footprint, s.Namespaces[1].FootprintDelta = s.Pods[1].Footprint, s.Pods[1].FootprintDelta
	s.Workloads[1].Footprint, s.Workloads[1].FootprintDelta = s.Pods[1].Footprint, s.Pods[1].FootprintDelta
	s.Namespaces[0].Footprint, s.Workloads[0].Footprint = footprint(5), footprint(5)
	s.NoIntensity, s.Revision = 7*unit.Joule, -unit.Gram/2
}

const hex62 = "b5f1c0d9e8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2"

// Balance replaces the nodes of s by the sums of its accounts: cpu and memory,
// measured, and what they emitted.
func Balance(s *snapshot.Snapshot) {
	var total, delta snapshot.Ledger
	s.Footprint, s.FootprintDelta = snapshot.Footprint{}, snapshot.Footprint{}
	add := func(list []snapshot.Account) {
		for i := range list {
			total.Add(&list[i].Total)
			delta.Add(&list[i].Delta)
			s.Footprint.Add(&list[i].Footprint)
			s.FootprintDelta.Add(&list[i].FootprintDelta)
		}
	}
	for _, list := range [][]snapshot.Account{s.Pods, s.VMs, s.Sessions, s.Units} {
		add(list)
	}
	for i := range s.Containers {
		if s.Containers[i].Owner.Pod.UID == "" {
			add(s.Containers[i : i+1])
		}
	}
	for i := range s.System {
		total.Add(&s.System[i].Total)
		delta.Add(&s.System[i].Delta)
		s.Footprint.Add(&s.System[i].Footprint)
		s.FootprintDelta.Add(&s.System[i].FootprintDelta)
	}
	for k := range s.Retired {
		for c, e := range s.Retired[k] {
			total[c][energy.Dynamic] += e
		}
		for p, m := range s.RetiredCO2e[k] {
			s.Footprint.CO2e[p] += m
		}
	}
	s.Nodes = s.Nodes[:0]
	for _, c := range []energy.Component{energy.CPU, energy.Memory} {
		s.Nodes = append(s.Nodes, snapshot.Node{Component: c, Present: true, Total: total[c], Delta: delta[c]})
	}
}

// Random returns a balanced snapshot. Some of its owners have ended, some
// have idle energy, some have strange names.
func Random(r *rand.Rand) *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Seq: 1 + r.Uint64N(1000), Start: time.Unix(1_700_000_000, 0), Time: time.Unix(1_700_000_000+r.Int64N(1e6), 0),
		Elapsed: time.Duration(1 + r.Int64N(int64(10*time.Second))), SharesIdle: r.IntN(2) == 0, HasProcesses: true,
	}
	amount := func() unit.Energy { return unit.Energy(r.Int64N(1 << (1 + r.IntN(50)))) }
	if r.IntN(3) > 0 {
		s.Site = &snapshot.Site{PUE: unit.RatioOf(1 + r.Float64()), Currency: []string{"", "EUR"}[r.IntN(2)]}
		if r.IntN(2) == 0 {
			s.Site.Grid.Zone, s.Site.Grid.Known = "FR", r.IntN(2) == 0
		}
	}
	footprint := func() (f snapshot.Footprint) {
		if s.Site != nil {
			for p := range f.CO2e {
				f.CO2e[p] = unit.Mass(amount())
			}
			f.Cost = unit.Money(amount())
		}
		return f
	}
	some := func(owner func(n string) workload.Owner) (list []snapshot.Account) {
		for i := range r.IntN(5) {
			a := account(owner(strconv.Itoa(i)+string([]byte{byte(r.IntN(256)), byte(r.IntN(256))})), 0, 0)
			for c := range energy.GPU {
				a.Delta[c][energy.Dynamic] = amount()
				if s.SharesIdle {
					a.Delta[c][energy.Idle] = amount()
				}
			}
			a.Total = a.Delta
			a.Total[energy.CPU][energy.Dynamic] += amount()
			a.Footprint = footprint()
			if a.Ended = r.IntN(4) == 0; a.Ended {
				a.Delta = snapshot.Ledger{}
			}
			list = append(list, a)
		}
		return list
	}
	s.Pods = some(func(n string) workload.Owner {
		return workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: n}}
	})
	s.Containers = append(
		some(func(n string) workload.Owner {
			return workload.Owner{Kind: workload.PodOwner, Pod: workload.Pod{UID: n}, Container: workload.Container{ID: n}}
		}),
		some(func(n string) workload.Owner {
			return workload.Owner{Kind: workload.ContainerOwner, Container: workload.Container{ID: n}}
		})...)
	s.VMs = some(func(n string) workload.Owner {
		return workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: n}}
	})
	s.Sessions = some(func(n string) workload.Owner { return workload.Owner{Kind: workload.SessionOwner, User: n} })
	s.Units = some(func(n string) workload.Owner { return workload.Owner{Kind: workload.UnitOwner, Unit: n} })
	for a := range s.System {
		for c := range energy.GPU {
			s.System[a].Delta[c][r.IntN(int(energy.Parts))] = amount()
		}
		s.System[a].Total, s.System[a].Footprint = s.System[a].Delta, footprint()
	}
	for k := range s.Retired {
		s.Retired[k][energy.CPU] = amount()
		if workload.Kind(k) != workload.SystemOwner { // nothing of theirs retires
			s.RetiredCO2e[k] = footprint().CO2e
		}
	}
	for i := range s.Pods { // some have names, and views have other figures
		if p := &s.Pods[i]; r.IntN(2) == 0 {
			p.Owner.Pod.Namespace, p.Owner.Pod.Name = "ns", p.Owner.Pod.UID
			p.Extra = []string{"", strconv.Itoa(i)}
			s.Workloads = append(s.Workloads, snapshot.View{Namespace: "ns", WorkloadKind: "Job", Workload: strconv.Itoa(i), Total: p.Total, Fresh: r.IntN(2) == 0})
		}
	}
	Balance(s)
	return s
}

// Large returns a balanced snapshot with n processes in n/30 containers.
func Large(n int) *snapshot.Snapshot {
	s := Snapshot()
	s.Processes, s.Containers, s.HasProcesses = nil, nil, n > 0
	ids := make([]string, max(1, n/30))
	for i := range ids {
		ids[i] = strconv.FormatInt(0x1000_0000+int64(i), 16) + hex62[:56]
		s.Containers = append(s.Containers, account(workload.Owner{
			Kind: workload.ContainerOwner, Container: workload.Container{ID: ids[i], Runtime: "docker"},
		}, 1_234_567, 7_654))
	}
	for i := range n {
		s.Processes = append(s.Processes, process(uint32(1000+i), "worker-"+strconv.Itoa(i%100), ids[i%len(ids)], unit.Energy(7_919*i)))
	}
	Balance(s)
	return s
}

func zone(name string, d energy.Domain, socket, die int, total unit.Energy) snapshot.Zone {
	return snapshot.Zone{
		Zone:   energy.Zone{Sensor: "powercap", Name: name, Domain: d, Socket: socket, Die: die},
		Status: probe.Works, Present: true, Total: total, Delta: total / 2,
	}
}

// account returns an account whose energy doubled in the tick.
func account(o workload.Owner, cpu, memory unit.Energy) snapshot.Account {
	a := snapshot.Account{Owner: &o, CPUTotal: 3 * time.Second, CPUDelta: 1_500_000_001}
	a.Delta[energy.CPU][energy.Dynamic], a.Delta[energy.Memory][energy.Dynamic] = cpu, memory
	a.Total[energy.CPU][energy.Dynamic], a.Total[energy.Memory][energy.Dynamic] = 2*cpu, 2*memory
	return a
}

func system(p energy.Part, cpu unit.Energy) (s snapshot.System) {
	s.Delta[energy.CPU][p], s.Total[energy.CPU][p] = cpu, 2*cpu
	return s
}

func process(pid uint32, comm, container string, cpu unit.Energy) snapshot.Process {
	return snapshot.Process{
		Name:  &snapshot.ProcessName{PID: pid, Comm: comm, ContainerID: container},
		Total: [energy.Components]unit.Energy{energy.CPU: 3*cpu + 1}, Delta: [energy.Components]unit.Energy{energy.CPU: cpu},
	}
}
