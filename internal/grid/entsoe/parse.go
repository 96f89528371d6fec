package entsoe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/fetch"
)

// document is a GL_MarketDocument (IEC 62325-451-6) or, if there is nothing to
// say, an Acknowledgement_MarketDocument (IEC 62325-451-1).
type document struct {
	XMLName xml.Name
	Series  []struct {
		In      string `xml:"inBiddingZone_Domain.mRID"`  // generation
		Out     string `xml:"outBiddingZone_Domain.mRID"` // consumption, of storage
		Curve   string `xml:"curveType"`
		Type    string `xml:"MktPSRType>psrType"`
		Periods []struct {
			Start      string  `xml:"timeInterval>start"`
			End        string  `xml:"timeInterval>end"`
			Resolution string  `xml:"resolution"`
			Points     []point `xml:"Point"`
		} `xml:"Period"`
	} `xml:"TimeSeries"`
}

type point struct {
	Position string `xml:"position"`
	Quantity string `xml:"quantity"`
}

// mix is what was generated, by production type and quarter of an hour.
type mix struct {
	from  time.Time            // a whole hour
	steps int                  // quarters of an hour, whole hours
	finer time.Duration        // the finest resolution of any series
	power map[string][]float64 // MW by type, NaN where nothing was said
}

// maxPower is more than the whole of Europe's plants can give, in MW.
const maxPower = 5e6

// parse reads the generation of an area between two whole hours. What the
// answer says of other areas and times is passed over.
func parse(body []byte, code string, from, to time.Time) (*mix, error) {
	doc, err := decode(body)
	if err != nil {
		return nil, err
	}
	m := &mix{from: from, steps: int(to.Sub(from) / step), finer: time.Hour, power: map[string][]float64{}}
	for _, s := range doc.Series {
		if _, known := factorOf(s.Type); !known || s.Out != "" || s.In != "" && s.In != code {
			continue
		}
		power := m.power[s.Type]
		if power == nil {
			power = make([]float64, m.steps)
			for i := range power {
				power[i] = math.NaN()
			}
			m.power[s.Type] = power
		}
		for _, p := range s.Periods {
			resolution, err := resolutionOf(p.Resolution)
			if err != nil {
				return nil, err
			}
			start, end, err := interval(p.Start, p.End)
			if err != nil {
				return nil, err
			}
			m.finer = min(m.finer, resolution)
			if err := m.add(power, start, end, resolution, s.Curve == "A03", p.Points); err != nil {
				return nil, err
			}
		}
	}
	if len(m.power) == 0 {
		return nil, fmt.Errorf("there is no generation in it: %w", grid.ErrNoData)
	}
	return m, nil
}

// add sets what the points of a period say. With curve type A03 (blocks) a
// position that would repeat the one before is left out, with A01 none is: what
// is missing there is not known.
func (m *mix) add(power []float64, start, end time.Time, resolution time.Duration, blocks bool, points []point) error {
	positions := int(end.Sub(start) / resolution)
	last, value := 0, 0.0
	for _, p := range points {
		at, quantity, err := numbers(p.Position, p.Quantity, positions)
		if err != nil {
			return err
		}
		if at <= last {
			return fmt.Errorf("position %d follows position %d", at, last)
		}
		from := start.Add(time.Duration(at-1) * resolution)
		if blocks && last > 0 {
			m.fill(power, start.Add(time.Duration(last)*resolution), from, value)
		}
		m.fill(power, from, from.Add(resolution), quantity)
		last, value = at, quantity
	}
	if blocks && last > 0 {
		m.fill(power, start.Add(time.Duration(last)*resolution), end, value)
	}
	return nil
}

func decode(body []byte) (*document, error) {
	in := xml.NewDecoder(bytes.NewReader(body))
	var doc document
	if err := in.Decode(&doc); err != nil {
		if s := bytes.ToLower(body[:min(len(body), 256)]); bytes.Contains(s, []byte("<html")) || bytes.Contains(s, []byte("<!doctype html")) {
			return nil, errors.New("it is a page of HTML, not data: is there a proxy or a login page between?")
		}
		return nil, errors.New("it is not whole XML")
	}
	for {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if text, ok := token.(xml.CharData); err != nil || ok && len(bytes.TrimSpace(text)) > 0 {
			return nil, errors.New("something follows the end of its XML")
		}
	}
	switch doc.XMLName.Local {
	case "GL_MarketDocument":
		return &doc, nil
	case "Acknowledgement_MarketDocument":
		// Its reason is left out: it may repeat the request, token and all.
		return nil, fmt.Errorf("the platform acknowledges the request without data: %w", grid.ErrNoData)
	}
	return nil, fmt.Errorf("it is a %s, no document of generation", fetch.Quote(doc.XMLName.Local, 40))
}

func resolutionOf(s string) (time.Duration, error) {
	switch strings.TrimSpace(s) {
	case "PT15M":
		return 15 * time.Minute, nil
	case "PT30M":
		return 30 * time.Minute, nil
	case "PT60M", "PT1H":
		return time.Hour, nil
	}
	return 0, fmt.Errorf("resolution %q is not one of PT15M, PT30M and PT60M", fetch.Quote(s, 20))
}

func interval(start, end string) (from, to time.Time, err error) {
	const layout = "2006-01-02T15:04Z07:00" // without seconds
	from, err = time.Parse(layout, strings.TrimSpace(start))
	if err == nil {
		to, err = time.Parse(layout, strings.TrimSpace(end))
	}
	if err != nil || !to.After(from) || to.Sub(from) > 2*most || from.Year() < 2000 {
		return from, to, fmt.Errorf("a period from %q to %q is none", fetch.Quote(start, 30), fetch.Quote(end, 30))
	}
	return from.UTC(), to.UTC(), nil
}

func numbers(position, quantity string, positions int) (at int, power float64, err error) {
	at, err = strconv.Atoi(strings.TrimSpace(position))
	if err != nil || at < 1 || at > positions {
		return 0, 0, fmt.Errorf("position %q is not one of %d", fetch.Quote(position, 20), positions)
	}
	power, err = strconv.ParseFloat(strings.TrimSpace(quantity), 64)
	if err != nil || !(math.Abs(power) <= maxPower) { // also NaN
		return 0, 0, fmt.Errorf("quantity %q is no power in MW", fetch.Quote(quantity, 20))
	}
	return at, max(power, 0), nil // a plant that stands still and uses power generates none
}

// fill sets the quarters of an hour that begin in [from, to).
func (m *mix) fill(power []float64, from, to time.Time, value float64) {
	first := max(int(from.Sub(m.from)/step), 0)
	if from.After(m.from.Add(time.Duration(first) * step)) {
		first++
	}
	for i := first; i < m.steps && m.from.Add(time.Duration(i)*step).Before(to); i++ {
		power[i] = value
	}
}

// small is the share of all generation below which a type may be missing.
const small = 0.01

// unclear is the share of generation of unknown type from which a sample counts
// as estimated.
const unclear = 0.1

// samples returns the mean of the factors, weighted by power, of every stretch
// of the finest resolution about which all types have reported that make at
// least a hundredth of the whole: what one of them leaves out is not made by the
// others. Solar may be silent in between: at night some areas do not report it.
func (m *mix) samples(kind grid.Factor) []grid.Sample {
	types := slices.Sorted(maps.Keys(m.power)) // so that sums are rounded the same way each time
	total, sums, lastSun := 0.0, map[string]float64{}, -1
	for _, name := range types {
		for i, mw := range m.power[name] {
			if math.IsNaN(mw) {
				continue
			}
			sums[name] += mw
			total += mw
			if name == solar {
				lastSun = i
			}
		}
	}
	var out []grid.Sample
	n := int(m.finer / step)
	for i := 0; i+n <= m.steps; i += n {
		energy, grams, unknown, whole := 0.0, 0.0, 0.0, true
		for _, name := range types {
			f, _ := factorOf(name)
			for at := i; at < i+n; at++ {
				mw := m.power[name][at]
				if math.IsNaN(mw) {
					if sums[name] >= small*total && (name != solar || at > lastSun) {
						whole = false
					}
					continue
				}
				energy += mw
				grams += mw * f.of(kind)
				if name == other {
					unknown += mw
				}
			}
		}
		if !whole || energy <= 0 {
			continue
		}
		from := m.from.Add(time.Duration(i) * step)
		out = append(out, grid.Sample{From: from, To: from.Add(m.finer), Intensity: grams / energy, Estimated: unknown >= unclear*energy})
	}
	return out
}
