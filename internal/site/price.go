package site

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // an image of one file has no /usr/share/zoneinfo

	"noether/internal/unit"
)

// Price says what a kilowatt-hour costs: Query if that is set, else by Tariff.
// The zero value says nothing.
type Price struct {
	Tariff *Tariff
	Query  string // PromQL
}

// Tariff is a price that depends on the time of day in one time zone. It is
// immutable.
type Tariff struct {
	zone  *time.Location
	rates []rate // by ascending minute; the last one also holds from midnight to the first
}

type rate struct {
	minute int // of the day, when it begins
	price  unit.Price
}

// maxRates bounds a tariff: one for each quarter of an hour.
const maxRates = 96

const priceForm = `write a number, "Europe/Berlin 00:00=0.22 06:00=0.34", or query:PROMQL`

// ParsePrice reads VALUE, query:PROMQL, or the name of a time zone with times
// of day and the price from then on: "Europe/Berlin 00:00=0.22 06:00=0.34".
func ParsePrice(s string) (Price, error) {
	if query, ok := strings.CutPrefix(s, "query:"); ok {
		return Price{Query: strings.TrimSpace(query)}, checkQuery(query)
	}
	words := strings.Fields(s)
	switch len(words) {
	case 0:
		return Price{}, errors.New("is empty: " + priceForm)
	case 1:
		v, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			return Price{}, errors.New("is no price: " + priceForm)
		}
		price, err := checkPrice(v)
		if err != nil {
			return Price{}, err
		}
		return Price{Tariff: &Tariff{zone: time.UTC, rates: []rate{{0, price}}}}, nil
	}
	t, err := parseTariff(words)
	if err != nil {
		return Price{}, err
	}
	return Price{Tariff: t}, nil
}

func parseTariff(words []string) (*Tariff, error) {
	if strings.Contains(words[0], "=") {
		return nil, errors.New("names no time zone: begin with one such as Europe/Berlin, or UTC")
	}
	// Local would be that of whoever reads the setting.
	zone, err := time.LoadLocation(words[0])
	if err != nil || words[0] == "Local" {
		return nil, fmt.Errorf("begins with %q, which is no time zone: use a name such as Europe/Berlin, or UTC", clip(words[0]))
	}
	if len(words)-1 > maxRates {
		return nil, fmt.Errorf("has %d times of day: %d are enough for every quarter of an hour", len(words)-1, maxRates)
	}
	t := &Tariff{zone: zone}
	for _, word := range words[1:] {
		clock, number, ok := strings.Cut(word, "=")
		minute, valid := parseClock(clock)
		if !ok || !valid {
			return nil, fmt.Errorf("has %q, which is not HH:MM=PRICE: write it like 06:00=0.34", clip(word))
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("has %q, whose price is no number: write it like 06:00=0.34", clip(word))
		}
		price, err := checkPrice(v)
		if err != nil {
			return nil, fmt.Errorf("has %q, which %w", clip(word), err)
		}
		if n := len(t.rates); n > 0 && minute <= t.rates[n-1].minute {
			return nil, fmt.Errorf("has %q out of order: write the times of day from morning to night, each once", clip(word))
		}
		t.rates = append(t.rates, rate{minute, price})
	}
	return t, nil
}

// parseClock reads a time of day such as 06:00.
func parseClock(s string) (minute int, ok bool) {
	if len(s) != len("00:00") || s[2] != ':' {
		return 0, false
	}
	h, errH := strconv.ParseUint(s[:2], 10, 8)
	m, errM := strconv.ParseUint(s[3:], 10, 8)
	if errH != nil || errM != nil || h > 23 || m > 59 {
		return 0, false
	}
	return int(h)*60 + int(m), true
}

// clip bounds what a message repeats of a user's text.
func clip(s string) string {
	if len(s) <= 40 {
		return s
	}
	return strings.ToValidUTF8(s[:40], "") + "…"
}

// At returns the price at a time.
func (t *Tariff) At(at time.Time) unit.Price {
	price, _ := t.at(at)
	return price
}

// at returns the price at t, and the next moment at which it may be another
// one: a time of day of the tariff, or the clocks of the zone being changed.
func (t *Tariff) at(at time.Time) (price unit.Price, until time.Time) {
	local := at.In(t.zone)
	h, m, s := local.Clock()
	now := h*60 + m
	price = t.rates[len(t.rates)-1].price
	next := 24*60 + t.rates[0].minute
	for _, r := range t.rates {
		if r.minute > now {
			next = r.minute
			break
		}
		price = r.price
	}
	// Exactly as far away as the clock says, unless it is changed in between.
	until = at.Add(time.Duration(next-now)*time.Minute - time.Duration(s)*time.Second - time.Duration(local.Nanosecond()))
	if _, changed := local.ZoneBounds(); !changed.IsZero() && changed.Before(until) {
		until = changed
	}
	return price, until
}

// maxSteps bounds how many changes of price one tick is divided by: a tick that
// is longer than so many has slept, and used nothing meanwhile.
const maxSteps = 4 * maxRates

// mean returns the mean price over [from, to), weighted by time, and until when
// it holds for every time from then on; the zero time if it changes within.
func (t *Tariff) mean(from, to time.Time) (price unit.Price, until time.Time) {
	price, until = t.at(from)
	if !until.Before(to) {
		return price, until
	}
	var sum wideSum
	for step := 0; from.Before(to) && step < maxSteps; step++ {
		price, until = t.at(from)
		if until.After(to) || step == maxSteps-1 {
			until = to
		}
		sum.add(int64(price), until.Sub(from))
		from = until
	}
	return unit.Price(sum.mean()), time.Time{}
}

// wideSum adds up values by how long they held, without losing any part of them.
type wideSum struct {
	hi, lo uint64 // of the values' magnitudes, positive less negative, two's complement
	length time.Duration
}

func (w *wideSum) add(v int64, d time.Duration) {
	magnitude := uint64(v)
	if v < 0 {
		magnitude = -magnitude
	}
	hi, lo := bits.Mul64(magnitude, uint64(d))
	var carry uint64
	if v < 0 {
		w.lo, carry = bits.Sub64(w.lo, lo, 0)
		w.hi, _ = bits.Sub64(w.hi, hi, carry)
	} else {
		w.lo, carry = bits.Add64(w.lo, lo, 0)
		w.hi, _ = bits.Add64(w.hi, hi, carry)
	}
	w.length += d
}

// mean returns the mean of the values, to the nearest, halves away from 0.
func (w *wideSum) mean() int64 {
	if w.length <= 0 {
		return 0
	}
	hi, lo, negative := w.hi, w.lo, w.hi>>63 == 1
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	q, rest := bits.Div64(hi, lo, uint64(w.length)) // a mean is no larger than its largest value
	if rest >= uint64(w.length)-rest {
		q++
	}
	if negative {
		return -int64(q)
	}
	return int64(q)
}
