// Package regions says which electricity grid a machine hangs on: the grid zone
// of a region of a cloud provider, the country of a time zone, and the power
// usage effectiveness that a provider states for its data centres.
//
// Zones are named as Electricity Maps names them: the ISO 3166-1 alpha-2 code of
// a country, with a part where the grid is divided ("DE", "US-MIDA-PJM"). The
// package refuses to guess: what it does not know, or what names several grids,
// is an error that says what to set.
package regions

import (
	"fmt"
	"slices"
	"strings"
)

// Place is a region of a cloud provider.
type Place struct {
	Provider string // "aws", "gcp", "azure", "ovh", "scaleway", "hetzner", "alibaba"
	Region   string // as the provider names it, in lower case
	Zone     string // the grid zone
	City     string // the place that the provider names
	Source   string // the page on which it does
}

// Country returns the ISO 3166-1 alpha-2 code of the country.
func (p Place) Country() string { return CountryOf(p.Zone) }

// CountryOf returns the country of a grid zone: "US" of "US-CAL-CISO".
func CountryOf(zone string) string {
	country, _, _ := strings.Cut(zone, "-")
	return country
}

// All returns every known region, by provider.
func All() []Place {
	var all []Place
	each(func(p Place) bool {
		all = append(all, p)
		return true
	})
	return all
}

// each calls f with every region until it returns false.
func each(f func(Place) bool) {
	source := ""
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if header, ok := strings.CutPrefix(line, "# "); ok {
			_, source, _ = strings.Cut(header, " ")
			continue
		}
		provider, rest, ok := strings.Cut(line, " ")
		if !ok {
			continue
		}
		region, rest, _ := strings.Cut(rest, " ")
		zone, city, _ := strings.Cut(rest, " ")
		if !f(Place{provider, region, zone, city, source}) {
			return
		}
	}
}

// providerOf returns our name of a provider from one that is used in settings
// or before the :// of a Kubernetes node's spec.providerID; "" if unknown.
func providerOf(name string) string {
	switch name = strings.ToLower(name); name {
	case "gce", "google":
		return "gcp"
	case "hcloud":
		return "hetzner"
	case "alicloud", "aliyun":
		return "alibaba"
	case "ovhcloud":
		return "ovh"
	case "aws", "gcp", "azure", "ovh", "scaleway", "hetzner", "alibaba":
		return name
	}
	return ""
}

// is tells whether p is meant by a name of a region in lower case. OVHcloud
// numbers the parts of a region: GRA7, US-EAST-VA-1.
func (p Place) is(region string) bool {
	return p.Region == region || p.Provider == "ovh" && p.Region == strings.TrimRight(strings.TrimRight(region, "0123456789"), "-")
}

// Zone returns the region of a provider, both as in "aws" and "eu-central-1".
func Zone(provider, region string) (Place, error) {
	name := providerOf(provider)
	if name == "" {
		return Place{}, fmt.Errorf("look up cloud region %q: no provider is called %q: known are aws, gcp, azure, ovh, scaleway, hetzner and alibaba", region, provider)
	}
	found := find(name, region)
	if len(found) == 0 {
		return Place{}, fmt.Errorf("look up cloud region %q of %s: it is not in the table: set the grid zone itself, such as DE", region, name)
	}
	return found[0], nil
}

// Lookup returns the region that the label topology.kubernetes.io/region of a
// node names. What stands before the :// of its spec.providerID tells the
// provider; it may be empty or unknown. A name that several providers use for
// places on different grids is an error that names them.
func Lookup(region, providerID string) (Place, error) {
	scheme, _, ok := strings.Cut(providerID, "://")
	if provider := providerOf(scheme); ok && provider != "" {
		return Zone(provider, region)
	}
	found := find("", region)
	if len(found) == 0 {
		return Place{}, fmt.Errorf("look up cloud region %q: no provider of the table has it: set the grid zone itself, such as DE", region)
	}
	for _, p := range found[1:] {
		if p.Zone != found[0].Zone {
			return Place{}, fmt.Errorf("look up cloud region %q: it is %s; set the one that is meant, or the grid zone itself", region, candidates(found))
		}
	}
	return found[0], nil
}

func find(provider, region string) (found []Place) {
	region = strings.ToLower(strings.TrimSpace(region))
	each(func(p Place) bool {
		if (provider == "" || p.Provider == provider) && p.is(region) {
			found = append(found, p)
		}
		return true
	})
	return found
}

func candidates(places []Place) string {
	texts := make([]string, len(places))
	for i, p := range places {
		texts[i] = fmt.Sprintf("%s:%s (%s, zone %s)", p.Provider, p.Region, p.City, p.Zone)
	}
	return strings.Join(texts, " or ")
}

// Resolve returns the grid zone that a setting means: "DE" for
// "aws:eu-central-1", anything without a provider as it is.
func Resolve(zone string) (string, error) {
	provider, region, ok := strings.Cut(zone, ":")
	if !ok {
		return zone, nil
	}
	p, err := Zone(provider, region)
	return p.Zone, err
}

// Country returns the country of a time zone, "DE" of "Europe/Berlin", by the
// text of zone.tab or zone1970.tab of the IANA time zone database, which is
// usually in /usr/share/zoneinfo. Where zone1970.tab lists several countries, the
// first is that of the city that names the time zone (says the head of the file),
// and it is the answer: who lives elsewhere sets the name of a city of their own
// (Europe/Oslo), which only zone.tab has. So ask that file first. What names no
// country (UTC, Etc/GMT+1, CET) is an error.
func Country(tab []byte, timezone string) (string, error) {
	for line := range strings.Lines(string(tab)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(fields) < 3 || fields[2] != timezone {
			continue
		}
		country, _, _ := strings.Cut(fields[0], ",")
		if len(country) != 2 || slices.ContainsFunc([]byte(country), func(c byte) bool { return c < 'A' || c > 'Z' }) {
			return "", fmt.Errorf("find the country of time zone %q: the table says %q, which is no code of a country", timezone, country)
		}
		return country, nil
	}
	return "", fmt.Errorf("find the country of time zone %q: the table has no country for it", timezone)
}
