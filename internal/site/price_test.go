package site

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"noether/internal/unit"
)

func tariff(t *testing.T, s string) *Tariff {
	t.Helper()
	p, err := ParsePrice(s)
	if err != nil || p.Tariff == nil {
		t.Fatalf("%q: %+v, %v", s, p, err)
	}
	return p.Tariff
}

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

const berlin = "Europe/Berlin 00:00=0.22 06:00=0.34 22:00=0.22"

func TestPriceByTimeOfDay(t *testing.T) {
	for _, c := range []struct {
		name, tariff, from, to string
		want                   float64
	}{
		{"fixed", "0.3", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 0.3},
		{"negative", "-0.05", "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z", -0.05},
		{"winter, before six", berlin, "2026-01-15T04:59:55Z", "2026-01-15T05:00:00Z", 0.22},
		{"winter, from six", berlin, "2026-01-15T05:00:00Z", "2026-01-15T05:00:05Z", 0.34},
		{"summer, from six", berlin, "2026-07-15T04:00:00Z", "2026-07-15T04:00:05Z", 0.34},
		{"a tick across six", berlin, "2026-01-15T04:59:58Z", "2026-01-15T05:00:03Z", (2*0.22 + 3*0.34) / 5},
		{"a nanosecond of the old price", berlin, "2026-01-15T04:59:59.999999999Z", "2026-01-15T05:00:00.000000001Z", 0.28},
		{"a whole day", berlin, "2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z", (8*0.22 + 16*0.34) / 24},
		// 29 March 2026: 02:00 becomes 03:00, so that the night has one hour less.
		{"the day of the short night", berlin, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", (7*0.22 + 16*0.34) / 23},
		// 25 October 2026: 03:00 becomes 02:00.
		{"the day of the long night", berlin, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", (9*0.22 + 16*0.34) / 25},
		{"a price for the hour that is left out", "Europe/Berlin 00:00=1 02:00=5 03:00=2", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", 1.5},
		{"a price for the hour that comes twice", "Europe/Berlin 00:00=1 02:00=5 03:00=1", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", 5},
		{"a change when clocks go back", "Europe/Berlin 00:00=1 02:30=4", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", 2.5},
		{"before the first time of day it is the last of the day before", "UTC 08:00=1 20:00=2", "2026-01-15T07:59:00Z", "2026-01-15T08:01:00Z", 1.5},
		{"both signs", "UTC 00:00=-0.1 12:00=0.1", "2026-01-15T11:59:59Z", "2026-01-15T12:00:01Z", 0},
	} {
		got, _ := tariff(t, c.tariff).mean(moment(t, c.from), moment(t, c.to))
		if math.Abs(got.Float()-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got.Float(), c.want)
		}
	}
}

// Whoever adds up ticks of any length pays what whoever adds up one long one does.
func TestTicksPayWhatTheDayCosts(t *testing.T) {
	p := tariff(t, "America/New_York 00:15=0.11 07:00=0.3 07:30=-0.02 19:45=0.25")
	from, to := moment(t, "2026-03-07T12:00:00Z"), moment(t, "2026-03-09T12:00:00Z") // clocks change on the 8th
	whole, _ := p.mean(from, to)
	sum, until := new(big.Int), time.Time{}
	var price unit.Price
	for at, n := from, 0; at.Before(to); n++ {
		next := at.Add(time.Duration(n%7000)*time.Millisecond + 1)
		if next.After(to) {
			next = to
		}
		if until.IsZero() || next.After(until) { // as Site does it
			price, until = p.mean(at, next)
		}
		sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(price)), big.NewInt(int64(next.Sub(at)))))
		at = next
	}
	mean := new(big.Int).Div(sum, big.NewInt(int64(to.Sub(from)))).Int64()
	if d := mean - int64(whole); d < -1 || d > 1 {
		t.Errorf("ticks pay %d, the whole %d", mean, whole)
	}
}

func TestPricesThatAreNone(t *testing.T) {
	for s, want := range map[string]string{
		"":                               "is empty",
		"cheap":                          "is no price",
		"NaN":                            "out of range",
		"1e9":                            "out of range",
		"query:":                         "has no query",
		"Berlin 00:00=1":                 `"Berlin", which is no time zone`,
		"Local 00:00=1":                  "which is no time zone",
		"../etc/passwd 00:00=1":          "which is no time zone",
		"00:00=0.22 06:00=0.34":          "names no time zone",
		"UTC 0:00=1":                     `"0:00=1", which is not HH:MM=PRICE`,
		"UTC 24:00=1":                    "HH:MM=PRICE",
		"UTC 00:60=1":                    "HH:MM=PRICE",
		"UTC +1:00=1":                    "HH:MM=PRICE",
		"UTC 00:00":                      "HH:MM=PRICE",
		"UTC 00:00=":                     "whose price is no number",
		"UTC 00:00=1e9":                  "out of range",
		"UTC 06:00=1 06:00=2":            "out of order",
		"UTC 06:00=1 05:00=2":            "out of order",
		"UTC" + strings.Repeat(" x", 97): "97 times of day",
	} {
		if p, err := ParsePrice(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %s", s, p, err, want)
		}
	}
	if p, err := ParsePrice("query: avg(price) "); err != nil || p.Query != "avg(price)" || p.Tariff != nil {
		t.Errorf("%+v %v", p, err)
	}
}

func TestPUE(t *testing.T) {
	for s, want := range map[string]PUE{
		"1": {Fixed: unit.One}, "1.2": {Fixed: 1_200_000}, "5": {Fixed: 5 * unit.One},
		"table": {Fixed: unit.One, Table: true}, "query:avg(pue)": {Fixed: unit.One, Query: "avg(pue)"},
	} {
		if got, err := ParsePUE(s); got != want || err != nil {
			t.Errorf("%q: %+v %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"0.99": "1 to 5", "5.01": "1 to 5", "NaN": "1 to 5", "tables": "query:PROMQL", "": "1.2", "query: ": "no query"} {
		if got, err := ParsePUE(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v %v, want %s", s, got, err, want)
		}
	}
}

// A tariff that is understood has a price at every time, one of its own, and
// says a later moment for the next.
func FuzzPrice(f *testing.F) {
	for _, s := range []string{"0.3", "-1", berlin, "UTC 08:00=1 20:00=2", "query:up", "Africa/Casablanca 01:00=1", "Asia/Kathmandu 23:59=9"} {
		f.Add(s, int64(1_774_746_000))
	}
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		p, err := ParsePrice(s)
		if err != nil || p.Tariff == nil {
			return
		}
		at := time.Unix(unix%4_000_000_000, unix)
		price, until := p.Tariff.at(at)
		if !until.After(at) || price.Float() > maxPrice || price.Float() < -maxPrice {
			t.Errorf("%q at %s: %v until %s", s, at, price, until)
		}
		mean, _ := p.Tariff.mean(at, at.Add(26*time.Hour))
		if mean.Float() > maxPrice || mean.Float() < -maxPrice {
			t.Errorf("%q: mean %v", s, mean)
		}
	})
}
