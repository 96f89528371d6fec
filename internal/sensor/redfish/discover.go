package redfish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/unit"
)

// source is one reading: a document, and how the power is found in it.
type source struct {
	path string
	what string // for people
	read func(body []byte) (unit.Power, error)
}

// plan is what is read at each poll. Its sources do not overlap: their sum is
// the machine.
type plan struct {
	sources []source
	about   string // which chassis and which readings
}

const (
	mostDocuments = 256 // asked for to make a plan
	mostLevels    = 4   // of chassis in chassis
)

// explorer finds out which readings are those of this node.
type explorer struct {
	client *client
	want   string // the chassis that the user has named; may be empty
	node   string // this node's name; may be empty
	sys    string // where /sys is found

	asked  int
	system string // path of this node's computer system; empty if there is none
	single bool   // the BMC knows no other one
	known  map[string]*chassis
}

// chassis is one that has been looked at.
type chassis struct {
	path     string
	document chassisDocument
	foreign  bool // another computer system is in it, too
	looked   bool
	sources  []source // nil if it tells no power
	supplied bool     // it has power supplies of its own
}

// document asks for a path. Found is false if it is one that is not to be had;
// err is what ends the search.
func (e *explorer) document(ctx context.Context, path string, dst any) (found bool, err error) {
	body, err := e.get(ctx, path)
	if body == nil || err != nil {
		return false, err
	}
	return decode(body, dst) == nil, nil
}

func (e *explorer) get(ctx context.Context, path string) ([]byte, error) {
	if e.asked++; e.asked > mostDocuments {
		return nil, e.client.broken(path, fmt.Errorf("it has more than %d documents about its chassis: name one with --redfish.chassis", mostDocuments))
	}
	body, err := e.client.get(ctx, path)
	if missing(err) {
		return nil, nil
	}
	return body, err
}

// plan finds the chassis that this node is, and what tells their power.
//
// A computer system links the chassis it is in. Where these lie in each other,
// the outermost tells the most (OCP's profile for sustainability wants the
// total there), unless it holds other computers, too: an enclosure of blades,
// a rack. Chassis beside each other are separate domains only if each has
// power supplies of its own; else one feeds the other.
func (e *explorer) plan(ctx context.Context) (*plan, error) {
	e.known = map[string]*chassis{}
	var root serviceRoot
	if err := e.client.document(ctx, rootPath, &root); err != nil {
		return nil, err
	}
	if e.want != "" {
		return e.named(ctx, root)
	}
	linked, err := e.linked(ctx, root)
	if err != nil {
		return nil, err
	}
	chosen, err := e.choose(ctx, linked)
	if err != nil {
		return nil, err
	}
	return planOf(chosen), nil
}

func planOf(chosen []*chassis) *plan {
	p := &plan{}
	var about []string
	for _, c := range chosen {
		p.sources = append(p.sources, c.sources...)
		about = append(about, fmt.Sprintf("%s of %s", c.sources[0].what, c.path))
	}
	p.about = strings.Join(about, " and ")
	return p
}

// named plans for the chassis that the user has named.
func (e *explorer) named(ctx context.Context, root serviceRoot) (*plan, error) {
	path := e.want
	if !strings.HasPrefix(path, "/") {
		all, ok := root.Chassis.path()
		if !ok {
			all = rootPath + "/Chassis"
		}
		path = key(all) + "/" + url.PathEscape(e.want)
	}
	path, ok := link{path}.path()
	if !ok {
		return nil, e.without("its name is none that a chassis can have", nil)
	}
	c, err := e.chassis(ctx, path)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, e.without("there is no such chassis", e.names(ctx, root))
	}
	if err := e.look(ctx, c); err != nil {
		return nil, err
	}
	if c.sources == nil {
		return nil, e.without("it tells no power", e.names(ctx, root))
	}
	return planOf([]*chassis{c}), nil
}

// without is the error that there is nothing to read.
func (e *explorer) without(why string, names []string) error {
	what := "the chassis of this machine"
	if e.want != "" {
		what = fmt.Sprintf("chassis %q", e.want)
	}
	remedy := "name the one that is this machine with --redfish.chassis"
	if len(names) > 0 {
		remedy += ": " + strings.Join(names, ", ")
	}
	if len(names) == 0 || e.want == "" && len(names) == 1 {
		remedy = "newer firmware, or the licence that its vendor asks for to show power"
	}
	return &probe.Error{Status: probe.Broken, Remedy: remedy, Err: fmt.Errorf("find the power of %s at %s: %s", what, e.client.base.Host, why)}
}

// names returns the chassis that a BMC has, for a message.
func (e *explorer) names(ctx context.Context, root serviceRoot) (names []string) {
	all, err := e.members(ctx, root.Chassis)
	if err != nil {
		return nil
	}
	for _, p := range all[:min(len(all), 16)] {
		names = append(names, last(p))
	}
	return names
}

func (e *explorer) members(ctx context.Context, l link) ([]string, error) {
	path, ok := l.path()
	if !ok {
		return nil, nil
	}
	var c collection
	if found, err := e.document(ctx, path, &c); !found {
		return nil, err
	}
	return paths(c.Members), nil
}

// linked returns the chassis that this node's computer system is in, as far as
// they hold no other; where no system says, all chassis of the BMC.
func (e *explorer) linked(ctx context.Context, root serviceRoot) ([]*chassis, error) {
	systems, err := e.members(ctx, root.Systems)
	if err != nil {
		return nil, err
	}
	var system computerSystem
	if len(systems) > 0 {
		if e.system, system, err = e.mine(ctx, systems); err != nil {
			return nil, err
		}
		e.single = len(systems) == 1
	}
	candidates := paths(system.Links.Chassis)
	if len(candidates) == 0 {
		if candidates, err = e.members(ctx, root.Chassis); err != nil {
			return nil, err
		}
	}
	var found []*chassis
	foreign := 0
	for _, path := range candidates {
		c, err := e.chassis(ctx, path)
		switch {
		case err != nil:
			return nil, err
		case c == nil:
		case c.foreign:
			foreign++
		default:
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		if foreign > 0 {
			return nil, e.without("every chassis holds other computers, too", e.names(ctx, root))
		}
		return nil, e.without("it shows none", nil)
	}
	return found, nil
}

// mine returns the computer system that is this node: the only one, or the one
// with this machine's UUID or serial number, or with its name.
func (e *explorer) mine(ctx context.Context, systems []string) (string, computerSystem, error) {
	var s computerSystem
	if len(systems) == 1 {
		if _, err := e.document(ctx, systems[0], &s); err != nil {
			return "", s, err
		}
		return systems[0], s, nil
	}
	uuid, serial := e.identifier("product_uuid"), e.identifier("product_serial")
	byName, matches, names := "", 0, make([]string, 0, len(systems))
	var named computerSystem
	for _, path := range systems {
		s = computerSystem{}
		found, err := e.document(ctx, path, &s)
		if err != nil {
			return "", s, err
		}
		if !found {
			continue
		}
		if sameUUID(s.UUID, uuid) || serial != "" && strings.EqualFold(s.SerialNumber, serial) {
			return path, s, nil
		}
		if sameHost(s.HostName, e.node) {
			byName, named = path, s
			matches++
		}
		names = append(names, last(path))
	}
	if matches == 1 {
		return byName, named, nil
	}
	return "", s, &probe.Error{
		Status: probe.Broken, Remedy: "name the chassis of this machine with --redfish.chassis",
		Err: fmt.Errorf("find this machine at %s: it has %d computer systems (%s), and none tells this machine's UUID, serial number or name", e.client.base.Host, len(systems), strings.Join(names, ", ")),
	}
}

// identifier returns what the firmware calls this machine; only root may read it.
func (e *explorer) identifier(name string) string {
	b, err := linux.ReadFile(filepath.Join(e.sys, "class/dmi/id", name), 128)
	if err != nil {
		return ""
	}
	b = bytes.TrimSpace(b)
	if len(b) < 4 || bytes.EqualFold(b, []byte("none")) || bytes.ContainsAny(b, " .") { // To Be Filled By O.E.M.
		return ""
	}
	return string(b)
}

// sameUUID compares UUIDs, of which firmware writes the first three fields in
// either order of bytes (SMBIOS 3.7, 7.2.1).
func sameUUID(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) != 36 || len(b) != 36 || strings.Trim(a, "0-") == "" || strings.Trim(a, "f-") == "" {
		return false
	}
	swapped := a[6:8] + a[4:6] + a[2:4] + a[0:2] + "-" + a[11:13] + a[9:11] + "-" + a[16:18] + a[14:16] + a[18:]
	return a == b || swapped == b
}

func sameHost(a, b string) bool {
	a, _, _ = strings.Cut(a, ".")
	b, _, _ = strings.Cut(b, ".")
	return a != "" && strings.EqualFold(a, b)
}

// chassis returns the one at a path, nil if it is not to be had.
func (e *explorer) chassis(ctx context.Context, path string) (*chassis, error) {
	if c, ok := e.known[key(path)]; ok {
		return c, nil
	}
	c := &chassis{path: path}
	e.known[key(path)] = nil
	found, err := e.document(ctx, path, &c.document)
	if !found {
		return nil, err
	}
	for _, system := range paths(c.document.Links.ComputerSystems) {
		c.foreign = c.foreign || e.system != "" && key(system) != key(e.system)
	}
	if e.system == "" {
		c.foreign = len(c.document.Links.ComputerSystems) > 1
	}
	e.known[key(path)] = c
	return c, nil
}

// part tells that a chassis is one of a machine's parts: what it draws is not
// what the machine does.
func (c *chassis) part() bool {
	return slices.Contains([]string{"Card", "Component", "HeatExchanger", "IPBasedDrive", "Module"}, c.document.ChassisType)
}

// shared tells that a chassis is for several machines by its kind, unless it
// says itself which one is in it.
func (c *chassis) shared() bool {
	return len(c.document.Links.ComputerSystems) == 0 &&
		slices.Contains([]string{"Enclosure", "ImmersionTank", "Pod", "Rack", "RackGroup", "Row", "Shelf"}, c.document.ChassisType)
}

// parent returns the chassis around one if that is this node's alone.
func (e *explorer) parent(ctx context.Context, c *chassis) (*chassis, error) {
	path, ok := c.document.Links.ContainedBy.path()
	if !ok {
		return nil, nil
	}
	p, err := e.chassis(ctx, path)
	if err != nil || p == nil || p.foreign || p.shared() || len(p.document.Links.ComputerSystems) == 0 && !e.single {
		return nil, err
	}
	return p, nil
}

// choose returns the chassis whose power is this node's, of those it is in.
func (e *explorer) choose(ctx context.Context, linked []*chassis) ([]*chassis, error) {
	var outermost []*chassis
	for _, c := range linked {
		var best *chassis
		for level := 0; c != nil && level < mostLevels; level++ {
			if err := e.look(ctx, c); err != nil {
				return nil, err
			}
			if c.sources != nil && !c.part() {
				best = c
			}
			var err error
			if c, err = e.parent(ctx, c); err != nil {
				return nil, err
			}
		}
		if best != nil && !slices.Contains(outermost, best) {
			outermost = append(outermost, best)
		}
	}
	outermost, err := e.fed(ctx, e.separate(outermost))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(linked))
	for _, c := range linked {
		names = append(names, last(c.path))
	}
	switch {
	case len(outermost) == 0:
		return nil, e.without("none of its chassis tells one ("+strings.Join(names, ", ")+")", nil)
	case len(outermost) > 1 && !outermost[0].supplied:
		return nil, e.without("several chassis tell one, and none says whether it feeds another", names)
	}
	return outermost, nil
}

// separate leaves out the chassis that lie in another one of the list.
func (e *explorer) separate(list []*chassis) []*chassis {
	inside := func(c *chassis) bool {
		for at, level := c, 0; level < mostLevels; level++ {
			path, ok := at.document.Links.ContainedBy.path()
			if !ok {
				return false
			}
			if at = e.known[key(path)]; at == nil || at == c {
				return false
			}
			if slices.Contains(list, at) {
				return true
			}
		}
		return false
	}
	var out []*chassis
	for _, c := range list {
		if !inside(c) {
			out = append(out, c)
		}
	}
	return out
}

// look finds what tells the power that goes into a chassis: its own figure in
// the newer form, else the sum of its power supplies' inputs, else either in
// the older form.
func (e *explorer) look(ctx context.Context, c *chassis) error {
	if c.looked {
		return nil
	}
	c.looked = true
	if path, ok := c.document.EnvironmentMetrics.path(); ok {
		body, err := e.get(ctx, path)
		if err != nil {
			return err
		}
		if p, err := environmentPower(body); err == nil && p > 0 {
			c.sources = []source{{path, "EnvironmentMetrics PowerWatts", environmentPower}}
			return nil
		}
	}
	supplies, err := e.supplies(ctx, c)
	if err != nil || supplies != nil {
		c.sources = supplies
		return err
	}
	path, ok := c.document.Power.path()
	if !ok {
		return nil
	}
	body, err := e.get(ctx, path)
	if err != nil {
		return err
	}
	sum, n, sumErr := suppliesPower(body)
	c.supplied = c.supplied || n > 0
	if _, err := controlPower(body); err == nil {
		c.sources = []source{{path, "Power PowerConsumedWatts", controlPower}}
	} else if sumErr == nil && sum > 0 {
		c.sources = []source{{path, "Power PowerInputWatts", func(b []byte) (unit.Power, error) {
			p, now, err := suppliesPower(b)
			if err == nil && now != n {
				err = errors.New("a power supply was added or taken away")
			}
			return p, err
		}}}
	}
	return nil
}

// fed returns, of several chassis beside each other, those with power supplies
// of their own, or all of them if none has any.
func (e *explorer) fed(ctx context.Context, list []*chassis) ([]*chassis, error) {
	if len(list) < 2 {
		return list, nil
	}
	var out []*chassis
	for _, c := range list {
		if err := e.feed(ctx, c); err != nil {
			return nil, err
		}
		if c.supplied {
			out = append(out, c)
		}
	}
	if out == nil {
		return list, nil
	}
	return out, nil
}

// feed finds out whether a chassis has power supplies of its own.
func (e *explorer) feed(ctx context.Context, c *chassis) error {
	if c.supplied {
		return nil
	}
	if _, err := e.supplies(ctx, c); err != nil || c.supplied {
		return err
	}
	if path, ok := c.document.Power.path(); ok {
		body, err := e.get(ctx, path)
		if err != nil {
			return err
		}
		_, n, _ := suppliesPower(body)
		c.supplied = n > 0
	}
	return nil
}

// supplies returns the inputs of all power supplies of a chassis, nil if one
// of them does not tell.
func (e *explorer) supplies(ctx context.Context, c *chassis) ([]source, error) {
	path, ok := c.document.PowerSubsystem.path()
	if !ok {
		return nil, nil
	}
	var subsystem powerSubsystem
	if found, err := e.document(ctx, path, &subsystem); !found {
		return nil, err
	}
	members, err := e.members(ctx, subsystem.PowerSupplies)
	if err != nil {
		return nil, err
	}
	var out []source
	var sum unit.Power
	told := true
	for _, path := range members {
		var s powerSupply
		found, err := e.document(ctx, path, &s)
		if err != nil {
			return nil, err
		}
		if found && s.Status.away() {
			continue
		}
		c.supplied = true
		metrics, ok := s.Metrics.path()
		if !found || !ok {
			told = false
			continue
		}
		body, err := e.get(ctx, metrics)
		if err != nil {
			return nil, err
		}
		p, err := supplyPower(body)
		told = told && err == nil
		sum += p
		out = append(out, source{metrics, "InputPowerWatts of the power supplies", supplyPower})
	}
	if !told || sum == 0 {
		return nil, nil
	}
	return out, nil
}
