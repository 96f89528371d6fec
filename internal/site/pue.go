package site

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"noether/internal/unit"
)

// The bounds of a PUE: ISO/IEC 30134-2 defines it as at least 1, and a site
// that loses four times what its machines use is a mistake in a setting.
const (
	MinPUE = unit.One
	MaxPUE = 5 * unit.One
)

// PUE says where the power usage effectiveness comes from. Query and Table are
// never both set; Fixed holds where neither is.
type PUE struct {
	Fixed unit.Ratio
	Table bool   // that of the cloud region, from a table
	Query string // PromQL
}

// ParsePUE reads VALUE, table or query:PROMQL.
func ParsePUE(s string) (PUE, error) {
	if s == "table" {
		return PUE{Fixed: unit.One, Table: true}, nil
	}
	if query, ok := strings.CutPrefix(s, "query:"); ok {
		return PUE{Fixed: unit.One, Query: strings.TrimSpace(query)}, checkQuery(query)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return PUE{}, errors.New("is neither a number nor table nor query:PROMQL: write it like 1.2")
	}
	ratio, err := checkPUE(v)
	return PUE{Fixed: ratio}, err
}

// checkPUE returns v as a ratio if it can be a PUE.
func checkPUE(v float64) (unit.Ratio, error) {
	if !(v >= MinPUE.Float() && v <= MaxPUE.Float()) { // also NaN
		return 0, errors.New("is out of range: a PUE is what the site uses for each unit that its machines use, 1 to 5")
	}
	return unit.RatioOf(v), nil
}

func checkQuery(query string) error {
	if strings.TrimSpace(query) == "" {
		return errors.New("has no query: write PromQL behind the colon")
	}
	return nil
}

// maxPrice is the dearest kilowatt-hour that is believed, in any currency.
const maxPrice = 1_000_000

// checkPrice returns v as a price if it can be one. It may be negative.
func checkPrice(v float64) (unit.Price, error) {
	if math.IsNaN(v) || math.Abs(v) > maxPrice {
		return 0, fmt.Errorf("is out of range: the price of a kWh lies between -%d and %[1]d", maxPrice)
	}
	return unit.PriceOf(v), nil
}
