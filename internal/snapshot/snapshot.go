// Package snapshot is the public contract between the agent and everything
// that shows its result: the immutable outcome of one tick. A snapshot is
// written once, by the agent, and may then be read by any number of
// goroutines; nobody changes it.
package snapshot

import (
	"time"

	"noether/internal/energy"
	"noether/internal/probe"
	"noether/internal/unit"
	"noether/internal/workload"
)

// Ledger is energy by component and part.
type Ledger [energy.Components][energy.Parts]unit.Energy

// Add adds o to l.
func (l *Ledger) Add(o *Ledger) {
	for c := range l {
		for p := range l[c] {
			l[c][p] += o[c][p]
		}
	}
}

// Component returns the energy of one component, both parts.
func (l *Ledger) Component(c energy.Component) unit.Energy {
	return l[c][energy.Dynamic] + l[c][energy.Idle]
}

// Snapshot is the outcome of one tick. Totals count from the agent's start;
// deltas are of this tick.
type Snapshot struct {
	Seq     uint64        // number of the tick; 1 is the first that has deltas
	Start   time.Time     // when the agent started, wall clock
	Time    time.Time     // when the tick read the machine, wall clock: the end of what it tells of
	Elapsed time.Duration // real length of the tick, monotonic
	Node    string        // --node-name, may be empty

	CPU workload.CPUTime
	// Busy is CPU.Capacity less idle, or what workloads used if that is more.
	Busy time.Duration

	Nodes []Node // one per component and quality ever seen, in that order
	Bands []Band // one per component that ever had a band
	Zones []Zone
	// Sensors has the verdict of each sensor that was tried.
	Sensors []probe.Verdict

	// Accounts, each list sorted by its labels. Pods are the sums of their
	// containers and what is the pod's own; the other lists do not overlap
	// them, except for containers whose owner has a pod UID.
	Pods       []Account
	Containers []Account
	VMs        []Account
	Sessions   []Account
	Units      []Account
	System     [workload.SystemAccounts]System
	// Retired is what owners that are no longer listed had consumed, and those
	// that are not listed yet because somebody is asked for their names.
	Retired [workload.Kinds][energy.Components]unit.Energy
	// Namespaces and Workloads are views of the pods, each sorted by its
	// labels. They never fall: what a pod had used stays when it is gone.
	Namespaces, Workloads []View
	// Names is how each source of names is doing, and Unnamed how many living
	// pods nobody has named yet. Without NamesPods nobody is asked about pods.
	Names     []workload.NamesStatus
	NamesPods bool
	Unnamed   int
	// SharesIdle is set when idle energy is divided among owners, so that
	// their idle part is a figure and not merely absent.
	SharesIdle bool

	// Site is what was known about electricity and hardware; nil if nobody was asked.
	Site *Site
	// Footprint and FootprintDelta are the machine's: the exact sums of those of
	// its accounts. NoIntensity is the energy of ticks without a known
	// intensity, which is in no operational figure. Revision is by how much the
	// operational grams would be other if what providers say by now had been
	// known at the time.
	Footprint, FootprintDelta Footprint
	NoIntensity               unit.Energy
	Revision                  unit.Mass
	// RetiredCO2e is to grams what Retired is to energy.
	RetiredCO2e [workload.Kinds][Phases]unit.Mass

	// Processes are a view of the dynamic energy, absent without HasProcesses.
	// The one with PID 0 and Comm "other" is everything not listed by itself.
	HasProcesses bool
	Processes    []Process

	Self Self
}

// Node is the energy of the whole machine by component and quality.
type Node struct {
	Component energy.Component
	Quality   energy.Quality
	// Present is set when the component had a datum of this quality in this
	// tick; otherwise Delta is zero and means nothing.
	Present      bool
	Total, Delta [energy.Parts]unit.Energy
}

// Band is the lowest and highest plausible energy of one component. In ticks
// without a stated band both are the value itself.
type Band struct {
	Component           energy.Component
	Present             bool // a band was stated in this tick
	LowTotal, HighTotal unit.Energy
	LowDelta, HighDelta unit.Energy
}

// Zone is one raw meter, unwrapped.
type Zone struct {
	energy.Zone
	Status  probe.Status
	Reason  string // why Status is not Works
	Present bool   // Delta is a figure
	Total   unit.Energy
	Delta   unit.Energy
}

// Account is one owner and what it used.
type Account struct {
	Owner        *workload.Owner // immutable, shared between snapshots
	Total, Delta Ledger
	CPUTotal     time.Duration
	CPUDelta     time.Duration
	Ended        bool // nothing of it runs any more; kept for a while
	// Footprint is of Total, FootprintDelta of Delta, embodied grams included.
	Footprint, FootprintDelta Footprint
	// EmbodiedByUse is set for a pod that requested nothing of the CPU or nothing
	// of the memory, or nobody knows: what it pays of that hardware is estimated
	// by its CPU time. Once it has requested both it stays unset.
	EmbodiedByUse bool
	// Extra are the values of the labels the user chose for pods, in the order
	// of his list; nil where none is known. Immutable.
	Extra []string
}

// View is the energy of all pods with something in common, since the agent started.
type View struct {
	Namespace, WorkloadKind, Workload string // the last two are empty in the view of a namespace
	// Total has all that the pods ever used, Delta what they used in this tick:
	// what a pod had used before it got its name is in Total only.
	Total, Delta              Ledger
	Footprint, FootprintDelta Footprint // of Total and Delta
	// Fresh is set for a minute from its birth, unless its pods ran when
	// the agent started, and had names soon after. Who counts increases has to be shown 0 so long: else he would miss
	// what the first figure already holds.
	Fresh bool
}

// System is one system account.
type System struct {
	Total, Delta              Ledger
	Footprint, FootprintDelta Footprint
}

// ProcessName is what a process is called in labels. Comm is valid UTF-8.
type ProcessName struct {
	PID         uint32
	Comm        string
	ContainerID string
}

// Process is the dynamic energy of one process.
type Process struct {
	Name *ProcessName // immutable, shared between snapshots
	// Owner is who pays for it, immutable; nil where that is not known, as of "other".
	Owner        *workload.Owner
	Total, Delta [energy.Components]unit.Energy
	Ended        bool
}

// Self is what the agent says about itself.
type Self struct {
	Usage        string        // the source of usage in force
	Policy       string        // the attribution policy in force
	TickDuration time.Duration // wall time that this tick's work took
	TickCPU      time.Duration // CPU time of all ticks' work so far
	Imbalance    unit.Energy   // node less accounts, absolute, all ticks: 0 or a bug
	// ImbalanceCO2e is to grams what Imbalance is to energy.
	ImbalanceCO2e unit.Mass
	DroppedExits  uint64
	MissedTicks   uint64
}

// Has returns which components the machine ever had a datum of.
func (s *Snapshot) Has() (has [energy.Components]bool) {
	for i := range s.Nodes {
		has[s.Nodes[i].Component] = true
	}
	return has
}

// Present returns which components had a datum in this tick.
func (s *Snapshot) Present() (present [energy.Components]bool) {
	for i := range s.Nodes {
		if s.Nodes[i].Present {
			present[s.Nodes[i].Component] = true
		}
	}
	return present
}
