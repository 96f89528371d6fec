package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"noether/internal/grid/regions"
	"noether/internal/linux"
	"noether/internal/unit"
)

// Node is what an orchestrator says about the machine.
type Node struct {
	Known        bool // it has answered, or will not: there is nothing to wait for
	Region       string
	Zone         string // of availability: a part of the region
	InstanceType string
	ProviderID   string
}

// Locate says how to find the place of a machine.
type Locate struct {
	Zone string // as set; auto finds it
	// Instance is the type of the machine as set; empty finds it.
	Instance string
	// Node returns what the orchestrator has said by now; nil if there is none.
	// It does not block.
	Node func() Node
	Root string // of the machine's files
	// Anywhere names the grid zone of a machine whose place nobody knows, where
	// no provider needs to know it; empty if one does.
	Anywhere string
}

// Auto is the setting of a zone that is to be found.
const Auto = "auto"

// Remedy is what makes the grid zone known.
const Remedy = "--grid.zone ZONE, as Electricity Maps names it: DE, US-CAL-CISO (noether carbon zones lists them)"

// Place is where a machine is. It is comparable.
type Place struct {
	Zone     string // of the grid, "" if nobody knows it
	From     string // how that was found, or why it was not
	Provider string // of the cloud: aws, gcp, azure; "" if it is in none that is known
	Region   string // of the cloud
	Instance string // type of the machine in the cloud, "" if unknown
}

// PUE returns the power usage effectiveness that the cloud states.
func (p *Place) PUE() (unit.Ratio, error) {
	if p.Provider == "" {
		return 0, errors.New("find the PUE: the machine is in no cloud that is known")
	}
	found, err := regions.PUEOf(p.Provider, p.Region)
	return found.Value, err
}

// mayLearn tells whether the answer can still change while the machine runs.
func (l *Locate) mayLearn() bool { return l.Node != nil }

// Find returns where the machine is by what is known now.
func (l *Locate) Find() Place {
	p, _ := l.place(true)
	return p
}

// place returns where the machine is, and whether that is all that will be
// known soon. Without patience nobody is waited for.
func (l *Locate) place(impatient bool) (p Place, located bool) {
	p.Instance = l.Instance
	node := Node{Known: true}
	if l.Node != nil {
		node = l.Node()
	}
	located = node.Known || impatient
	if p.Instance == "" {
		p.Instance = node.InstanceType
	}
	why := ""
	if node.Region != "" {
		found, err := regions.Lookup(node.Region, node.ProviderID)
		if err != nil {
			why = err.Error()
		} else {
			p.Provider, p.Region, p.Zone = found.Provider, found.Region, found.Zone
			p.From = fmt.Sprintf("region %s of the Kubernetes node (%s, %s)", node.Region, found.Provider, found.City)
		}
	}
	if l.Zone != Auto {
		p.Zone, p.From = l.Zone, "set"
		if provider, region, ok := strings.Cut(l.Zone, ":"); ok {
			p.Provider, p.Region = provider, region
			if zone, err := regions.Resolve(l.Zone); err == nil {
				p.Zone, p.From = zone, "set as "+l.Zone
			}
		}
		return p, located
	}
	if p.Zone != "" || !located {
		return p, located
	}
	zone, from, err := byTimeZone(l.Root)
	switch {
	case err == nil:
		p.Zone, p.From = zone, from
	case l.Anywhere != "":
		p.Zone, p.From = l.Anywhere, "nobody knows where, and no provider asks"
	case why != "":
		p.From = why
	default:
		p.From = err.Error()
	}
	return p, located
}

const (
	maxTimeZone = 256     // a name of the IANA database is much shorter
	maxTab      = 1 << 20 // zone.tab has 20 KiB
)

// byTimeZone returns the country of the machine's time zone.
func byTimeZone(root string) (country, from string, err error) {
	name, err := timeZone(root)
	if err != nil {
		return "", "", err
	}
	// zone.tab has a row of its own for each country, zone1970.tab only for
	// zones that differ since 1970. An image may have neither; ours has the
	// machine's below root.
	for _, dir := range [...]string{root, "/"} {
		for _, tab := range [...]string{"zone.tab", "zone1970.tab"} {
			content, readErr := linux.ReadFile(filepath.Join(dir, "usr/share/zoneinfo", tab), maxTab)
			if readErr != nil {
				err = readErr
				continue
			}
			if country, err = regions.Country(content, name); err == nil {
				return country, "time zone " + name, nil
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("find the country of time zone %s: there is no /usr/share/zoneinfo/zone.tab", name)
	}
	return "", "", err
}

// timeZone returns the name of the machine's time zone: that of the file which
// /etc/localtime links to (localtime(5)), else what Debian writes to /etc/timezone.
func timeZone(root string) (string, error) {
	target, err := os.Readlink(filepath.Join(root, "etc/localtime"))
	if err == nil {
		if _, name, ok := strings.Cut(target, "zoneinfo/"); ok {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "posix/"), "right/")
			if plausible(name) {
				return name, nil
			}
		}
	}
	content, err := linux.ReadFile(filepath.Join(root, "etc/timezone"), maxTimeZone)
	if err == nil {
		if name := strings.TrimSpace(string(content)); plausible(name) {
			return name, nil
		}
	}
	return "", errors.New("find the time zone of this machine: /etc/localtime is no link to one, and /etc/timezone names none")
}

// plausible tells whether s can be the name of a time zone.
func plausible(s string) bool {
	return s != "" && len(s) < maxTimeZone && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
