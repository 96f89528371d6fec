package main

import (
	"fmt"
	"strings"
)

// factor turns an amount into something people know. What stands for energy
// is made from kilowatt-hours and what stands for CO2e from grams, never one
// through the other: a kilometre is not a number of bulb hours.
type factor struct {
	thing  string
	of     string  // kWh or g
	per    float64 // of it for one thing
	unit   string
	source string
}

// factorsRead is when the sources were read last.
const factorsRead = "2026-08"

const epa = "[US EPA, Greenhouse Gas Equivalencies Calculator: Calculations and References](https://www.epa.gov/energy/greenhouse-gas-equivalencies-calculator-calculations-and-references)"

// factors is the one table of equivalences.
func factors() []factor {
	return []factor{
		{"Hours of a 10 W LED bulb", "kWh", 0.01, hours, "arithmetic: 10 W for an hour are 0.01 kWh"},
		{"Kilometres by car", "g", 244, kilometres, "393 g/mile, average passenger vehicle, United States: " + epa},
		{"Charges of a smartphone", "g", 12.4, number, "12.4 g a charge: " + epa},
		{"Litres of petrol burnt", "g", 2348, "litre", "8.887 kg/gallon: " + epa},
	}
}

// equivalences returns a figure for each factor, of queries for kWh and grams,
// and the table of the factors.
func equivalences(energy, mass string) []panel {
	var list []panel
	var text strings.Builder
	fmt.Fprintf(&text, "| one | is | source (read %s) |\n|---|---|---|\n", factorsRead)
	for _, f := range factors() {
		expr := energy
		if f.of == "g" {
			expr = mass
		}
		list = append(list, stat(f.thing, f.unit, fmt.Sprintf("Made from %s alone: %g %s each. Of the chosen window.", f.of, f.per, f.of), q(fmt.Sprintf("%s / %g", expr, f.per), "")).wide(3))
		fmt.Fprintf(&text, "| %s | %g %s | %s |\n", f.thing, f.per, f.of, f.source)
	}
	return append(list, panel{title: "Factors", kind: "text", width: 12, height: 4, text: text.String()})
}
