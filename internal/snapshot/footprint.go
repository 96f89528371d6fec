package snapshot

import (
	"time"

	"noether/internal/unit"
)

// Phase says when in a machine's life CO2e is emitted.
type Phase uint8

// The phases.
const (
	// Operational is caused by the electricity used, at the site's PUE.
	Operational Phase = iota
	// Embodied was caused by making the hardware, spread over its life.
	Embodied
	Phases = 2
)

// String returns the word for labels.
func (p Phase) String() string {
	if p == Embodied {
		return "embodied"
	}
	return "operational"
}

// Footprint is what an amount of use caused: grams, and what its electricity
// cost. What is paid for and what is earned are kept apart, so that neither falls.
type Footprint struct {
	CO2e         [Phases]unit.Mass
	Cost, Credit unit.Money
}

// Add adds o to f.
func (f *Footprint) Add(o *Footprint) {
	for p := range f.CO2e {
		f.CO2e[p] += o.CO2e[p]
	}
	f.Cost += o.Cost
	f.Credit += o.Credit
}

// Site is what was known, during one tick, about the electricity and the
// hardware of the machine. It is immutable.
type Site struct {
	Grid     Grid
	PUE      unit.Ratio // power usage effectiveness, ISO/IEC 30134-2; at least 1
	PUEFrom  string     // fixed, table or query; default, which is 1, while those know none
	Price    unit.Price
	Priced   bool   // Price is a figure
	Currency string // ISO 4217; set if a price is configured, Priced or not
	Hardware Hardware
	// Past is what the provider says by now about the last hours, ordered by
	// time; Revised changes whenever Past does.
	Past    []Past
	Revised uint64
	// Sources is how each source of intensity, price and PUE is doing.
	Sources []SourceStatus
}

// Grid is the carbon intensity of the machine's grid zone during the tick.
type Grid struct {
	Zone      string // "" while nobody knows where the machine is
	Known     bool   // Intensity is a figure
	Intensity unit.Intensity
	Provider  string    // who said it
	Signal    string    // average
	Factor    string    // lifecycle or direct
	Estimated bool      // by the provider, or because it is not of this time
	Updated   time.Time // when it was fetched; zero for what is built in
	Forecast  []Forecast
}

// Forecast is what the intensity is expected to be.
type Forecast struct {
	Horizon   time.Duration // from the tick on
	Intensity unit.Intensity
}

// Past is the intensity of a time that has gone.
type Past struct {
	From, To  time.Time
	Intensity unit.Intensity
}

// Hardware is the CO2e that making the machine caused, by its parts. What
// cannot be told apart is Rest.
type Hardware struct {
	CPU, Memory, GPU, Rest unit.Mass
	Lifetime               time.Duration // over which it is spread evenly; 0 if nothing is known
	Source                 string        // value, instance or components
	Estimated              bool
}

// Known tells whether h is a figure.
func (h *Hardware) Known() bool { return h.Lifetime > 0 }

// Total returns the CO2e of all parts.
func (h *Hardware) Total() unit.Mass { return h.CPU + h.Memory + h.GPU + h.Rest }

// SourceStatus is how one source of something about the site is doing.
type SourceStatus struct {
	Source   string // its provider's name, price or pue
	Zone     string // of the grid; empty for price and pue
	Up       bool   // its last answer was one
	Requests uint64 // sent since the start
	Failures uint64 // that had no answer of use
	Success  time.Time
}
