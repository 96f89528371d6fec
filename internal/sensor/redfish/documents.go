package redfish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"noether/internal/unit"
)

// What is believed of a BMC's documents.
const (
	mostWatts   = 100_000 // of one machine
	mostMembers = 64      // of a collection or a list of links
	mostPath    = 512     // bytes of an address
)

// link is a reference to another resource (DSP0266, 8.4: link properties).
type link struct {
	ID string `json:"@odata.id"`
}

// path returns the resource's path if it is one of this service: never
// another host's, whatever the document says.
func (l link) path() (string, bool) {
	p := l.ID
	if !strings.HasPrefix(p, rootPath) || len(p) > mostPath || strings.Contains(p, "..") || strings.Contains(p, "//") {
		return "", false
	}
	for _, r := range []byte(p) {
		if r <= ' ' || r > '~' || r == '?' || r == '#' || r == '\\' {
			return "", false
		}
	}
	return p, true
}

// key is what tells a resource from another: some services end paths with a
// slash, and some do so at times.
func key(path string) string { return strings.TrimSuffix(path, "/") }

// last returns the last element of a path: what the resource is called.
func last(path string) string {
	path = key(path)
	return path[strings.LastIndexByte(path, '/')+1:]
}

func paths(links []link) (out []string) {
	for _, l := range links[:min(len(links), mostMembers)] {
		if p, ok := l.path(); ok {
			out = append(out, p)
		}
	}
	return out
}

// watts is a power that a document has: no number, null and what is not there
// are no reading, and cost nothing else.
type watts struct {
	value float64
	ok    bool
}

// UnmarshalJSON takes a number that can be the power of a machine or a part of
// it. It never fails: one odd value must not hide those beside it.
func (w *watts) UnmarshalJSON(b []byte) error {
	var v *float64
	*w = watts{}
	if json.Unmarshal(b, &v) == nil && v != nil && *v >= 0 && *v <= mostWatts {
		*w = watts{*v, true}
	}
	return nil
}

func (w watts) power() unit.Power { return unit.Power(math.Round(w.value * float64(unit.Watt))) }

// excerpt is the part of a Sensor that other resources quote (SensorExcerpt).
type excerpt struct {
	Reading watts
}

// The documents, as far as they are read. The schemas are those of DSP8010:
// ServiceRoot, *Collection, ComputerSystem, Chassis, EnvironmentMetrics,
// PowerSubsystem, PowerSupply, PowerSupplyMetrics, and the older Power.
type (
	serviceRoot struct {
		Systems, Chassis link
	}
	collection struct {
		Members []link
	}
	computerSystem struct {
		ID           string `json:"Id"`
		UUID         string
		SerialNumber string
		HostName     string
		Links        struct{ Chassis []link }
	}
	chassisDocument struct {
		ChassisType        string
		EnvironmentMetrics link
		PowerSubsystem     link
		Power              link
		Links              struct {
			ComputerSystems []link
			ContainedBy     link
		}
	}
	environmentMetrics struct {
		PowerWatts excerpt
	}
	powerSubsystem struct {
		PowerSupplies link
	}
	powerSupply struct {
		Metrics link
		Status  status
	}
	powerSupplyMetrics struct {
		InputPowerWatts excerpt
	}
	powerDocument struct {
		PowerControl []struct {
			PowerConsumedWatts watts
			PhysicalContext    string
		}
		PowerSupplies []struct {
			PowerInputWatts watts
			Status          status
		}
	}
	status struct{ State string }
)

// away tells that the part is not there: its bay is empty.
func (s status) away() bool { return s.State == "Absent" }

// errNoReading is what a document without the power that is looked for says.
var errNoReading = errors.New("it tells no power")

// decode reads one document into dst. Fields of another type than the schema's
// are as if they were not there.
func decode(body []byte, dst any) error {
	trimmed := bytes.TrimSpace(body)
	switch start := bytes.ToLower(trimmed[:min(len(trimmed), 16)]); {
	case len(trimmed) == 0:
		return errors.New("the answer is empty")
	case bytes.HasPrefix(start, []byte("<!doctype html")), bytes.HasPrefix(start, []byte("<html")):
		return errors.New("the answer is a page of HTML, not a Redfish document")
	case trimmed[0] != '{':
		return errors.New("the answer is not a Redfish document")
	}
	err := json.Unmarshal(trimmed, dst)
	var odd *json.UnmarshalTypeError
	var wrong *json.SyntaxError
	switch {
	case err == nil, errors.As(err, &odd):
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("the answer is not JSON, or cut short, at byte %d", wrong.Offset)
	default:
		return errors.New("the answer is not a Redfish document")
	}
}

// environmentPower returns what a chassis draws, as EnvironmentMetrics says it.
func environmentPower(body []byte) (unit.Power, error) {
	var d environmentMetrics
	if err := decode(body, &d); err != nil {
		return 0, err
	}
	if !d.PowerWatts.Reading.ok {
		return 0, errNoReading
	}
	return d.PowerWatts.Reading.power(), nil
}

// supplyPower returns what goes into a power supply, as PowerSupplyMetrics says
// it. What comes out of it is not asked: the loss between is spent, too.
func supplyPower(body []byte) (unit.Power, error) {
	var d powerSupplyMetrics
	if err := decode(body, &d); err != nil {
		return 0, err
	}
	if !d.InputPowerWatts.Reading.ok {
		return 0, errNoReading
	}
	return d.InputPowerWatts.Reading.power(), nil
}

// controlPower returns what a chassis draws, as the older Power says it. Its
// list may have members for parts of the machine beside the one for all of it,
// which says so by its context, or by being the first.
func controlPower(body []byte) (unit.Power, error) {
	var d powerDocument
	if err := decode(body, &d); err != nil {
		return 0, err
	}
	for _, contexts := range [...][]string{{"", "Chassis", "Intake", "PowerSupply", "PowerSubsystem"}, {"SystemBoard"}} {
		for _, c := range d.PowerControl[:min(len(d.PowerControl), mostMembers)] {
			if slices.Contains(contexts, c.PhysicalContext) && c.PowerConsumedWatts.ok && c.PowerConsumedWatts.value > 0 {
				return c.PowerConsumedWatts.power(), nil
			}
		}
	}
	return 0, errNoReading
}

// suppliesPower returns what goes into all power supplies of a chassis, as the
// older Power says it, and how many are there. One that does not tell hides
// the sum.
func suppliesPower(body []byte) (sum unit.Power, supplies int, err error) {
	var d powerDocument
	if err := decode(body, &d); err != nil {
		return 0, 0, err
	}
	told := true
	for _, s := range d.PowerSupplies[:min(len(d.PowerSupplies), mostMembers)] {
		if s.Status.away() {
			continue
		}
		supplies++
		told = told && s.PowerInputWatts.ok
		sum += s.PowerInputWatts.power()
	}
	if supplies == 0 || !told {
		return 0, supplies, errNoReading
	}
	return sum, supplies, nil
}
