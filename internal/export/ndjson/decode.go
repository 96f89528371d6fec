package ndjson

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

// MaxLine is the longest line, in bytes, that Decode takes: several times what
// a hundred thousand processes need.
const MaxLine = 64 << 20

// Decode returns the snapshot that Append wrote as line. What the format does
// not have is zero: the forecast and the sources of the site, among others.
// Fields and words that this version does not know are left out. The snapshot
// refers to nothing of line.
func Decode(line []byte) (*snapshot.Snapshot, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("read a snapshot: it is longer than %d MB", MaxLine>>20)
	}
	var d document
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, fmt.Errorf("read a snapshot: %w", err)
	}
	if d.Schema != Schema {
		return nil, fmt.Errorf("read a snapshot: its schema is %.40q and not %q", d.Schema, Schema)
	}
	return d.snapshot(), nil
}

// decimal is a JSON number that stays one: exact, whatever its scale.
type decimal struct {
	text  string
	known bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *decimal) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] == '"' || b[0] == '{' || b[0] == '[' || b[0] == 't' || b[0] == 'f' {
		return fmt.Errorf("%.40q is no number", b)
	}
	d.text, d.known = string(b), true
	return nil
}

// scaled returns d times 10^places, 0 if that is not representable.
func (d decimal) scaled(places int) int64 {
	whole, fraction, _ := strings.Cut(d.text, ".")
	if len(fraction) <= places && !strings.ContainsAny(d.text, "eE") {
		n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", places-len(fraction)), 10, 64)
		if err == nil {
			return n
		}
		return 0
	}
	// Nothing that Append writes; who writes by floating point gets what that can tell.
	f, err := strconv.ParseFloat(d.text, 64)
	if f *= math.Pow10(places); err != nil || f >= 1<<63 || f < -1<<63 {
		return 0
	}
	return int64(f)
}

func (d decimal) energy() unit.Energy    { return unit.Energy(d.scaled(6)) }
func (d decimal) seconds() time.Duration { return time.Duration(d.scaled(9)) }
func (d decimal) mass() unit.Mass        { return unit.Mass(d.scaled(9)) }
func (d decimal) money() unit.Money      { return unit.Money(d.scaled(9)) }

// figures is one line of a list of figures.
type figures struct {
	Component string  `json:"component"`
	Part      string  `json:"part"`
	Quality   string  `json:"quality"`
	Bound     string  `json:"bound"`
	Total     decimal `json:"joules_total"`
	Delta     decimal `json:"joules"`
}

type footprint struct {
	Operational      decimal `json:"operational_grams_total"`
	OperationalDelta decimal `json:"operational_grams"`
	Embodied         decimal `json:"embodied_grams_total"`
	EmbodiedDelta    decimal `json:"embodied_grams"`
	Cost             decimal `json:"cost_total"`
	CostDelta        decimal `json:"cost"`
	Credit           decimal `json:"credit_total"`
	CreditDelta      decimal `json:"credit"`
}

type account struct {
	Namespace    string    `json:"namespace"`
	Pod          string    `json:"pod"`
	UID          string    `json:"pod_uid"`
	QoS          string    `json:"qos"`
	WorkloadKind string    `json:"workload_kind"`
	Workload     string    `json:"workload"`
	Container    string    `json:"container"`
	ContainerID  string    `json:"container_id"`
	Runtime      string    `json:"runtime"`
	VM           string    `json:"vm"`
	Hypervisor   string    `json:"hypervisor"`
	User         string    `json:"user"`
	Unit         string    `json:"unit"`
	Account      string    `json:"account"`
	PID          uint32    `json:"pid"`
	Comm         string    `json:"comm"`
	Labels       []*string `json:"labels"`
	Ended        bool      `json:"ended"`
	CPUTotal     decimal   `json:"cpu_seconds_total"`
	CPU          decimal   `json:"cpu_seconds"`
	Footprint    footprint `json:"footprint"`
	ByUse        bool      `json:"embodied_by_use"`
	Energy       []figures `json:"energy"`
}

type site struct {
	Zone              string    `json:"grid_zone"`
	Intensity         decimal   `json:"grams_per_kwh"`
	Provider          string    `json:"provider"`
	Signal            string    `json:"signal"`
	Factor            string    `json:"factor"`
	Estimated         bool      `json:"estimated"`
	Updated           time.Time `json:"updated"`
	PUE               decimal   `json:"pue"`
	PUESource         string    `json:"pue_source"`
	Currency          string    `json:"currency"`
	Price             decimal   `json:"price_per_kwh"`
	Hardware          decimal   `json:"hardware_grams"`
	HardwareGPU       decimal   `json:"hardware_gpu_grams"`
	Lifetime          decimal   `json:"hardware_lifetime_seconds"`
	HardwareSource    string    `json:"hardware_source"`
	HardwareEstimated bool      `json:"hardware_estimated"`
	Unknown           decimal   `json:"unknown_joules_total"`
	Revision          decimal   `json:"revision_grams"`
}

type document struct {
	Schema  string    `json:"schema"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Start   time.Time `json:"start"`
	Elapsed decimal   `json:"elapsed_seconds"`
	Node    string    `json:"node_name"`
	Usage   string    `json:"usage"`
	Policy  string    `json:"policy"`
	CPU     struct {
		Online    int     `json:"online"`
		Capacity  decimal `json:"capacity_seconds"`
		Busy      decimal `json:"busy_seconds"`
		Idle      decimal `json:"idle_seconds"`
		Interrupt decimal `json:"interrupt_seconds"`
		Steal     decimal `json:"steal_seconds"`
	} `json:"cpu"`
	Nodes     []figures `json:"node"`
	Site      *site     `json:"site"`
	Footprint footprint `json:"footprint"`
	Errors    []figures `json:"node_error"`
	Zones     []struct {
		figures
		Sensor string `json:"sensor"`
		Zone   string `json:"zone"`
		Domain string `json:"domain"`
		Socket *int   `json:"socket"`
		Die    *int   `json:"die"`
		Path   string `json:"path"`
		Status string `json:"status"`
		Reason string `json:"reason"`
	} `json:"zones"`
	Sensors []struct {
		Sensor string `json:"sensor"`
		Status string `json:"status"`
		Reason string `json:"reason"`
		Remedy string `json:"remedy"`
	} `json:"sensors"`
	Pods       []account `json:"pods"`
	Containers []account `json:"containers"`
	VMs        []account `json:"vms"`
	Sessions   []account `json:"sessions"`
	Units      []account `json:"units"`
	System     []account `json:"system"`
	Retired    []struct {
		Kind      string  `json:"kind"`
		Component string  `json:"component"`
		Joules    decimal `json:"joules"`
	} `json:"retired"`
	RetiredCO2e []struct {
		Kind  string  `json:"kind"`
		Phase string  `json:"phase"`
		Grams decimal `json:"grams"`
	} `json:"retired_co2e"`
	Namespaces []account  `json:"namespaces"`
	Workloads  []account  `json:"workloads"`
	Processes  *[]account `json:"processes"`
	Unnamed    *int       `json:"unnamed_pods"`
	Names      []struct {
		Source   string    `json:"source"`
		Up       bool      `json:"up"`
		Known    int       `json:"known"`
		Requests uint64    `json:"requests_total"`
		Bytes    uint64    `json:"received_bytes_total"`
		Synced   time.Time `json:"synced"`
	} `json:"names"`
	Self struct {
		Duration  decimal `json:"tick_duration_seconds"`
		CPU       decimal `json:"tick_cpu_seconds_total"`
		Imbalance decimal `json:"imbalance_joules"`
		CO2e      decimal `json:"imbalance_co2e_grams"`
		Dropped   uint64  `json:"exits_dropped_total"`
		Missed    uint64  `json:"ticks_missed_total"`
	} `json:"self"`
}

// named returns the value whose word is text.
func named[T ~uint8](text string, count int, word func(T) string) (T, bool) {
	for i := range count {
		if word(T(i)) == text {
			return T(i), true
		}
	}
	return 0, false
}

func (f *figures) component() (energy.Component, bool) {
	return named(f.Component, energy.Components, energy.Component.String)
}

func (f *figures) part() (energy.Part, bool) {
	return named(f.Part, energy.Parts, energy.Part.String)
}

func (f *figures) quality() (energy.Quality, bool) {
	return named(f.Quality, energy.Qualities, energy.Quality.String)
}

func (f *footprint) split() (total, delta snapshot.Footprint) {
	total.CO2e = [snapshot.Phases]unit.Mass{f.Operational.mass(), f.Embodied.mass()}
	delta.CO2e = [snapshot.Phases]unit.Mass{f.OperationalDelta.mass(), f.EmbodiedDelta.mass()}
	total.Cost, total.Credit = f.Cost.money(), f.Credit.money()
	delta.Cost, delta.Credit = f.CostDelta.money(), f.CreditDelta.money()
	return total, delta
}

func (a *account) ledgers() (total, delta snapshot.Ledger) {
	for i := range a.Energy {
		f := &a.Energy[i]
		c, knownComponent := f.component()
		p, knownPart := f.part()
		if knownComponent && knownPart {
			total[c][p], delta[c][p] = f.Total.energy(), f.Delta.energy()
		}
	}
	return total, delta
}

// owner returns who stands in the list of kind.
func (a *account) owner(kind workload.Kind) *workload.Owner {
	o := &workload.Owner{Kind: kind}
	switch kind {
	case workload.PodOwner, workload.ContainerOwner:
		if kind == workload.ContainerOwner {
			o.Container = workload.Container{ID: a.ContainerID, Runtime: a.Runtime, Name: a.Container}
		}
		if kind == workload.PodOwner || a.UID != "" {
			o.Kind = workload.PodOwner
			o.Pod = workload.Pod{UID: a.UID, QoS: a.QoS, Namespace: a.Namespace, Name: a.Pod, WorkloadKind: a.WorkloadKind, Workload: a.Workload}
		}
	case workload.VMOwner:
		o.VM = workload.VM{Name: a.VM, Hypervisor: a.Hypervisor}
	case workload.SessionOwner:
		o.User = a.User
	default:
		o.Unit = a.Unit
	}
	return o
}

// hasIdle tells whether a has a figure of idle energy, even one that is 0: such
// are written only where idle energy is divided.
func (a *account) hasIdle(orMore bool) bool {
	return slices.ContainsFunc(a.Energy, func(f figures) bool {
		return f.Part == energy.Idle.String() && (orMore || f.Total.energy() == 0)
	})
}

func accounts(list []account, kind workload.Kind) (out []snapshot.Account) {
	for i := range list {
		a := &list[i]
		one := snapshot.Account{
			Owner: a.owner(kind), CPUTotal: a.CPUTotal.seconds(), CPUDelta: a.CPU.seconds(), Ended: a.Ended, EmbodiedByUse: a.ByUse,
		}
		one.Total, one.Delta = a.ledgers()
		one.Footprint, one.FootprintDelta = a.Footprint.split()
		for _, l := range a.Labels {
			value := ""
			if l != nil {
				value = *l
			}
			one.Extra = append(one.Extra, value)
		}
		out = append(out, one)
	}
	return out
}

func views(list []account) (out []snapshot.View) {
	for i := range list {
		a := &list[i]
		v := snapshot.View{Namespace: a.Namespace, WorkloadKind: a.WorkloadKind, Workload: a.Workload}
		v.Total, v.Delta = a.ledgers()
		v.Footprint, v.FootprintDelta = a.Footprint.split()
		out = append(out, v)
	}
	return out
}

func (d *document) snapshot() *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		Seq: d.Seq, Start: d.Start, Time: d.Time, Elapsed: d.Elapsed.seconds(), Node: d.Node,
		CPU: workload.CPUTime{
			Elapsed: d.Elapsed.seconds(), Online: d.CPU.Online, Capacity: d.CPU.Capacity.seconds(),
			Idle: d.CPU.Idle.seconds(), Interrupt: d.CPU.Interrupt.seconds(), Steal: d.CPU.Steal.seconds(),
		},
		Busy: d.CPU.Busy.seconds(),
		Pods: accounts(d.Pods, workload.PodOwner), Containers: accounts(d.Containers, workload.ContainerOwner),
		VMs: accounts(d.VMs, workload.VMOwner), Sessions: accounts(d.Sessions, workload.SessionOwner), Units: accounts(d.Units, workload.UnitOwner),
		Namespaces: views(d.Namespaces), Workloads: views(d.Workloads),
		Self: snapshot.Self{
			Usage: d.Usage, Policy: d.Policy, TickDuration: d.Self.Duration.seconds(), TickCPU: d.Self.CPU.seconds(),
			Imbalance: d.Self.Imbalance.energy(), ImbalanceCO2e: d.Self.CO2e.mass(), DroppedExits: d.Self.Dropped, MissedTicks: d.Self.Missed,
		},
	}
	s.Footprint, s.FootprintDelta = d.Footprint.split()
	s.NamesPods = d.Unnamed != nil
	if s.NamesPods {
		s.Unnamed = *d.Unnamed
	}
	for _, n := range d.Names {
		s.Names = append(s.Names, workload.NamesStatus{Source: n.Source, Up: n.Up, Requests: n.Requests, Bytes: n.Bytes, Known: n.Known, Synced: n.Synced})
	}
	for _, v := range d.Sensors {
		status, _ := named(v.Status, probeStatuses, probe.Status.String)
		s.Sensors = append(s.Sensors, probe.Verdict{Name: v.Sensor, Status: status, Reason: v.Reason, Remedy: v.Remedy})
	}
	for _, list := range [][]account{d.Pods, d.Containers, d.VMs, d.Sessions, d.Units} {
		s.SharesIdle = s.SharesIdle || slices.ContainsFunc(list, func(a account) bool { return a.hasIdle(true) })
	}
	adopt(s)
	d.nodes(s)
	d.zones(s)
	d.site(s)
	d.system(s)
	d.processes(s)
	return s
}

// adopt gives containers what a line tells about their pod only once.
func adopt(s *snapshot.Snapshot) {
	pods := map[string]*workload.Pod{}
	for i := range s.Pods {
		pods[s.Pods[i].Owner.Pod.UID] = &s.Pods[i].Owner.Pod
	}
	for i := range s.Containers {
		o := s.Containers[i].Owner
		if p := pods[o.Pod.UID]; p != nil && o.Kind == workload.PodOwner {
			o.Pod.QoS, o.Pod.WorkloadKind, o.Pod.Workload = p.QoS, p.WorkloadKind, p.Workload
		}
	}
}

// How many words there are.
const (
	probeStatuses = int(probe.Stale) + 1
	domains       = int(energy.ModelMemory) + 1
)

func (d *document) nodes(s *snapshot.Snapshot) {
	for i := range d.Nodes {
		f := &d.Nodes[i]
		c, knownComponent := f.component()
		p, knownPart := f.part()
		q, knownQuality := f.quality()
		if !knownComponent || !knownPart || !knownQuality {
			continue
		}
		last := len(s.Nodes) - 1
		if last < 0 || s.Nodes[last].Component != c || s.Nodes[last].Quality != q {
			s.Nodes = append(s.Nodes, snapshot.Node{Component: c, Quality: q})
			last++
		}
		n := &s.Nodes[last]
		n.Present = n.Present || f.Delta.known
		n.Total[p], n.Delta[p] = f.Total.energy(), f.Delta.energy()
	}
	for i := range d.Errors {
		f := &d.Errors[i]
		c, known := f.component()
		if !known {
			continue
		}
		last := len(s.Bands) - 1
		if last < 0 || s.Bands[last].Component != c {
			s.Bands = append(s.Bands, snapshot.Band{Component: c})
			last++
		}
		b := &s.Bands[last]
		b.Present = b.Present || f.Delta.known
		if f.Bound == "low" {
			b.LowTotal, b.LowDelta = f.Total.energy(), f.Delta.energy()
		} else {
			b.HighTotal, b.HighDelta = f.Total.energy(), f.Delta.energy()
		}
	}
}

func (d *document) zones(s *snapshot.Snapshot) {
	for i := range d.Zones {
		z := &d.Zones[i]
		one := snapshot.Zone{
			Zone:   energy.Zone{Sensor: z.Sensor, Name: z.Zone, Socket: -1, Die: -1, Path: z.Path},
			Reason: z.Reason, Present: z.Delta.known, Total: z.Total.energy(), Delta: z.Delta.energy(),
		}
		one.Domain, _ = named(z.Domain, domains, energy.Domain.String)
		one.Quality, _ = z.quality()
		one.Status, _ = named(z.Status, probeStatuses, probe.Status.String)
		if z.Socket != nil {
			one.Socket = *z.Socket
		}
		if z.Die != nil {
			one.Die = *z.Die
		}
		s.Zones = append(s.Zones, one)
	}
}

func (d *document) site(s *snapshot.Snapshot) {
	from := d.Site
	if from == nil {
		return
	}
	s.NoIntensity, s.Revision = from.Unknown.energy(), from.Revision.mass()
	s.Site = &snapshot.Site{
		Grid: snapshot.Grid{
			Zone: from.Zone, Known: from.Intensity.known, Intensity: unit.Intensity(from.Intensity.scaled(6)),
			Provider: from.Provider, Signal: from.Signal, Factor: from.Factor, Estimated: from.Estimated, Updated: from.Updated,
		},
		PUE: unit.Ratio(from.PUE.scaled(6)), PUEFrom: from.PUESource,
		Price: unit.Price(from.Price.scaled(9)), Priced: from.Price.known, Currency: from.Currency,
		Hardware: snapshot.Hardware{
			Rest: from.Hardware.mass() - from.HardwareGPU.mass(), GPU: from.HardwareGPU.mass(),
			Lifetime: from.Lifetime.seconds(), Source: from.HardwareSource, Estimated: from.HardwareEstimated,
		},
	}
}

func (d *document) system(s *snapshot.Snapshot) {
	for i := range d.System {
		a := &d.System[i]
		at, known := named(a.Account, workload.SystemAccounts, workload.SystemAccount.String)
		if !known {
			continue
		}
		one := &s.System[at]
		one.Total, one.Delta = a.ledgers()
		one.Footprint, one.FootprintDelta = a.Footprint.split()
		s.SharesIdle = s.SharesIdle || at == workload.Unreserved && a.hasIdle(false)
	}
	for _, r := range d.Retired {
		k, knownKind := named(r.Kind, workload.Kinds, workload.Kind.String)
		c, knownComponent := named(r.Component, energy.Components, energy.Component.String)
		if knownKind && knownComponent {
			s.Retired[k][c] = r.Joules.energy()
		}
	}
	for _, r := range d.RetiredCO2e {
		k, knownKind := named(r.Kind, workload.Kinds, workload.Kind.String)
		p, knownPhase := named(r.Phase, snapshot.Phases, snapshot.Phase.String)
		if knownKind && knownPhase {
			s.RetiredCO2e[k][p] = r.Grams.mass()
		}
	}
}

// payer returns who pays for a process outside containers.
func (a *account) payer() *workload.Owner {
	switch {
	case a.VM != "":
		return a.owner(workload.VMOwner)
	case a.User != "":
		return a.owner(workload.SessionOwner)
	case a.Unit != "":
		return a.owner(workload.UnitOwner)
	default:
		return nil
	}
}

func (d *document) processes(s *snapshot.Snapshot) {
	if s.HasProcesses = d.Processes != nil; !s.HasProcesses {
		return
	}
	for i := range *d.Processes {
		a := &(*d.Processes)[i]
		p := snapshot.Process{Name: &snapshot.ProcessName{PID: a.PID, Comm: a.Comm, ContainerID: a.ContainerID}, Owner: a.payer(), Ended: a.Ended}
		for j := range a.Energy {
			if c, known := a.Energy[j].component(); known {
				p.Total[c], p.Delta[c] = a.Energy[j].Total.energy(), a.Energy[j].Delta.energy()
			}
		}
		s.Processes = append(s.Processes, p)
	}
}
