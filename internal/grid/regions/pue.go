package regions

import (
	"fmt"
	"strconv"
	"strings"

	"noether/internal/unit"
)

// PUE is the power usage effectiveness that a provider states: the energy of
// its data centres over that of the machines in them, mean of a year.
type PUE struct {
	Provider string
	Region   string // empty: mean of all its data centres
	Value    unit.Ratio
	Year     int // that the figure is about; 0 if the source does not say
	Source   string
}

// pues is one figure a line: provider, region or *, PUE, year or -. The source
// stands above the lines it holds for. A provider that states none has no line.
const pues = `
# https://sustainability.aboutamazon.com/products-services/aws-cloud
aws * 1.14 2025
# https://www.google.com/about/datacenters/efficiency/
gcp * 1.09 2024
# Google, by region, collected at https://github.com/cloud-carbon-footprint/cloud-carbon-footprint
gcp asia-east1 1.12 -
gcp asia-southeast1 1.13 -
gcp europe-north1 1.09 -
gcp europe-west1 1.09 -
gcp europe-west4 1.07 -
gcp us-central1 1.11 -
gcp us-east4 1.08 -
# https://datacenters.microsoft.com/sustainability/efficiency/
azure * 1.18 2022
# https://www.ovhcloud.com/sites/default/files/external_files/kpis_per_dc-fy24.pdf
ovh * 1.26 2024
# https://www.scaleway.com/en/environmental-leadership/
scaleway * 1.37 -
# Scaleway, impact report 2018-2020, by https://www.silicon.fr/5-indicateurs-empreinte-environnementale-scaleway-453379.html
scaleway nl-ams 1.20 2020
scaleway pl-waw 1.51 2020
# https://github.com/cloud-carbon-footprint/cloud-carbon-footprint
alibaba * 1.3 -
`

// PUEOf returns the figure for a region of a provider: its own if there is one,
// otherwise the mean of the provider.
func PUEOf(provider, region string) (PUE, error) {
	name, region := providerOf(provider), strings.ToLower(region)
	var best PUE
	for _, p := range PUEs() {
		if p.Provider == name && (p.Region == region || p.Region == "" && best.Value == 0) {
			best = p
		}
	}
	if best.Value == 0 {
		return best, fmt.Errorf("find the PUE of provider %q: no stated figure is known: set the value of your data centre", provider)
	}
	return best, nil
}

// PUEs returns every known figure, the mean of a provider before its regions.
func PUEs() []PUE {
	var all []PUE
	source := ""
	for line := range strings.Lines(pues) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "# "); ok {
			source = text
			continue
		}
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		value, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			continue // the test reads every line
		}
		year, _ := strconv.Atoi(f[3]) // "-" is 0
		all = append(all, PUE{f[0], strings.Trim(f[1], "*"), unit.RatioOf(value), year, source})
	}
	return all
}
