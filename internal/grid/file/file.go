// Package file holds carbon intensities that somebody has written down: tables
// in CSV of Electricity Maps, Ember, Our World in Data or one's own, and values
// given in a configuration.
package file

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
)

// Table holds intensities by zone. It does not change after it was made.
type Table struct {
	zones map[string][]grid.Sample
}

// Intensity returns the samples of zone that reach into [from, to].
func (t *Table) Intensity(_ context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	all, ok := t.zones[zone]
	if !ok {
		return nil, fmt.Errorf("no values of zone %q; there are %s: %w", zone, some(slices.Sorted(maps.Keys(t.zones))), grid.ErrUnknownZone)
	}
	first := sort.Search(len(all), func(i int) bool { return all[i].To.After(from) })
	last := sort.Search(len(all), func(i int) bool { return all[i].From.After(to) })
	return all[min(first, last):last], nil
}

// some names the first zones of a list.
func some(zones []string) string {
	const most = 8
	switch {
	case len(zones) == 0:
		return "none"
	case len(zones) > most:
		return strings.Join(zones[:most], ", ") + fmt.Sprintf(" and %d more", len(zones)-most)
	}
	return strings.Join(zones, ", ")
}

// Point is an intensity from a time on.
type Point struct {
	Zone      string
	From      time.Time
	To        time.Time // zero: until the zone's next point
	Intensity float64   // gCO2e/kWh
	Estimated bool
}

// Constant returns the point of an intensity that always holds.
func Constant(zone string, intensity float64) Point {
	// As far as times can be subtracted from each other.
	return Point{Zone: zone, From: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC), Intensity: intensity}
}

// New returns the table of points. A point without an end holds until the next
// one of its zone, but no longer than a step or maxAge, whichever is longer: a
// hole in the data stays a hole. A step is the smallest distance between two
// points of the zone, or of any zone if it has only one; months and years have
// the length of the calendar.
func New(points []Point, maxAge time.Duration) (*Table, error) {
	zones := map[string][]Point{}
	for _, p := range points {
		if err := grid.Check(p.Intensity); err != nil {
			return nil, fmt.Errorf("zone %q at %s: %w", p.Zone, p.From.UTC().Format(time.RFC3339), err)
		}
		zones[p.Zone] = append(zones[p.Zone], p)
	}
	steps, shortest := make(map[string]time.Duration, len(zones)), time.Duration(0)
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		step, err := step(zones[zone])
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", zone, err)
		}
		if steps[zone] = step; step > 0 && (shortest == 0 || step < shortest) {
			shortest = step
		}
	}
	t := &Table{make(map[string][]grid.Sample, len(zones))}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		step := steps[zone]
		if step == 0 {
			step = shortest
		}
		samples, err := hold(zones[zone], step, maxAge)
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", zone, err)
		}
		t.zones[zone] = samples
	}
	return t, nil
}

// step sorts points and returns the smallest distance between two of them, 0
// for a single one.
func step(points []Point) (time.Duration, error) {
	slices.SortStableFunc(points, func(a, b Point) int { return a.From.Compare(b.From) })
	step := time.Duration(0)
	for i := range points[1:] {
		d := points[i+1].From.Sub(points[i].From)
		if d == 0 {
			return 0, fmt.Errorf("two values at %s", points[i].From.UTC().Format(time.RFC3339))
		}
		if step == 0 || d < step {
			step = d
		}
	}
	return step, nil
}

func hold(points []Point, step, maxAge time.Duration) ([]grid.Sample, error) {
	out := make([]grid.Sample, len(points))
	for i, p := range points {
		end := p.To
		if end.IsZero() {
			end = after(p.From, step)
		}
		if old := p.From.Add(maxAge); old.After(end) {
			end = old
		}
		if !end.After(p.From) {
			return nil, fmt.Errorf("the only value is at %s, and nothing tells how long it holds: set max-age", p.From.UTC().Format(time.RFC3339))
		}
		if i+1 < len(points) && points[i+1].From.Before(end) {
			end = points[i+1].From
		}
		out[i] = grid.Sample{From: p.From, To: end, Intensity: p.Intensity, Estimated: p.Estimated}
	}
	return out, nil
}

// after returns t and a step: of the calendar, where that is a month or a year.
func after(t time.Time, step time.Duration) time.Time {
	switch days := step.Hours() / 24; {
	case 28 <= days && days <= 31:
		return t.AddDate(0, 1, 0)
	case 365 <= days && days <= 366:
		return t.AddDate(1, 0, 0)
	}
	return t.Add(step)
}

// layout is where a table has what.
type layout struct {
	time, zone, value int
	unit, variable    int // Ember's long format has many variables; -1 elsewhere
	estimated         int // -1 if there is no such column
}

// Parse reads a table in CSV with a header. Known are
//
//   - one's own: timestamp,zone,gCO2e/kWh
//   - the exports of Electricity Maps, hourly to yearly: "Datetime (UTC)", "Zone
//     id", "Carbon intensity gCO₂eq/kWh (Life cycle)" or "(direct)", chosen by factor
//   - Ember's yearly data in long format: "ISO 3 code", "Year", "Variable" ("CO2
//     intensity"), "Unit", "Value"
//   - Our World in Data: Code, Year, "Carbon intensity of electricity - gCO2/kWh"
//
// Rows without a value are holes. MaxAge is as for New.
func Parse(r io.Reader, factor grid.Factor, maxAge time.Duration) (*Table, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty: write a header and rows")
		}
		return nil, err
	}
	l, err := find(header, factor)
	if err != nil {
		return nil, err
	}
	var points []Point
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p, ok, err := l.point(record)
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if ok {
			points = append(points, p)
		}
	}
	return New(points, maxAge)
}

func find(header []string, factor grid.Factor) (layout, error) {
	l := layout{-1, -1, -1, -1, -1, -1}
	names := make([]string, len(header))
	for i, h := range header {
		names[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
	}
	index := func(wanted ...string) int {
		for _, w := range wanted {
			if i := slices.Index(names, w); i >= 0 {
				return i
			}
		}
		return -1
	}
	l.time = index("timestamp", "datetime (utc)", "datetime", "time", "year")
	l.zone = index("zone", "zone id", "grid_zone", "iso 3 code", "country code", "code")
	l.estimated = index("data estimated", "estimated")
	if l.variable, l.unit = index("variable"), index("unit"); l.variable >= 0 && l.unit >= 0 {
		l.value = index("value")
	} else {
		l.variable, l.unit, l.value = -1, -1, index("gco2e/kwh", "gco2/kwh", "intensity", "grid/carbon-intensity")
	}
	for i, name := range names {
		if l.value >= 0 || !strings.HasPrefix(name, "carbon intensity") {
			continue
		}
		_, kind, _ := strings.Cut(name, "(")
		lifecycle := kind == "life cycle)" || kind == "lca)"
		if kind == "" || factor == grid.Lifecycle && lifecycle || factor == grid.Direct && kind == "direct)" {
			l.value = i
		}
	}
	if l.time < 0 || l.zone < 0 || l.value < 0 {
		return l, fmt.Errorf("no columns for time, zone and intensity among %q: name them timestamp, zone, gCO2e/kWh", header)
	}
	return l, nil
}

func (l layout) point(record []string) (p Point, ok bool, err error) {
	if l.variable >= 0 && (record[l.variable] != "CO2 intensity" || record[l.unit] != "gCO2/kWh" && record[l.unit] != "gCO2e/kWh") {
		return p, false, nil
	}
	p.Zone = strings.TrimSpace(record[l.zone])
	text := strings.TrimSpace(record[l.value])
	if text == "" || p.Zone == "" {
		return p, false, nil
	}
	if p.Intensity, err = strconv.ParseFloat(text, 64); err != nil {
		return p, false, fmt.Errorf("%q is no number", text)
	}
	if err := grid.Check(p.Intensity); err != nil {
		return p, false, err
	}
	p.From, p.To, err = ParseTime(record[l.time])
	p.Zone = strings.Clone(p.Zone)
	p.Estimated = l.estimated >= 0 && strings.EqualFold(strings.TrimSpace(record[l.estimated]), "true")
	return p, err == nil, err
}

// ParseTime reads a time; where none is given it is UTC. A year or a day alone
// also tells when it ends.
func ParseTime(s string) (from, to time.Time, err error) {
	s = strings.TrimSpace(s)
	if len(s) == 4 {
		if from, err = time.Parse("2006", s); err == nil {
			return from, from.AddDate(1, 0, 0), nil
		}
	}
	if from, err = time.Parse(time.DateOnly, s); err == nil {
		return from, time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if from, err = time.Parse(layout, s); err == nil {
			return from.UTC(), time.Time{}, nil
		}
	}
	return from, to, fmt.Errorf("%q is no time: write it as 2024-01-01T00:00:00Z", s)
}
