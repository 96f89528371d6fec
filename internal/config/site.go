package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"noether/internal/agent"
	"noether/internal/grid"
	"noether/internal/grid/fixed"
	"noether/internal/grid/regions"
	"noether/internal/promclient"
	"noether/internal/site"
	"noether/internal/site/embodied"
)

// Grid says who tells the carbon intensity of electricity, and for where.
type Grid struct {
	Zone           string   // auto, or a zone as Electricity Maps names it
	Providers      []string // as written; see Chain
	TokenFiles     []string // [NAME=]FILE; see TokenFile
	Hub            string   // URL of noether carbon exporter, may be empty
	Query          string   // PromQL, for the provider prometheus
	Factor         string   // lifecycle or direct
	AllowEstimates bool
}

// The providers that settings name. Each publishes intensities of the factors
// on its line; - is the factor that grid.factor says.
var providers = map[string]struct { //nolint:gochecknoglobals // a table that nothing changes
	factor   string
	marginal bool
	token    bool // it can use one
}{
	"electricitymaps": {factor: "-", token: true},
	"watttime":        {factor: "direct", marginal: true, token: true},
	"neso":            {factor: "direct"},
	"energy-charts":   {factor: "lifecycle"},
	"rte":             {factor: "direct"},
	"entsoe":          {factor: "-", token: true},
	"prometheus":      {factor: "-"},
	"file":            {factor: "-"},
	"fixed":           {factor: "-"},
	"yearly":          {factor: "lifecycle"},
	"hub":             {factor: "-", token: true},
}

// IsProvider tells whether settings name a provider so.
func IsProvider(name string) bool {
	_, ok := providers[name]
	return ok
}

// Link is one provider of the chain.
type Link struct {
	Name     string // as in labels
	Argument string // grams of fixed:, path of file:, else empty
}

// String returns the link as settings write it.
func (l Link) String() string {
	if l.Argument == "" {
		return l.Name
	}
	return l.Name + ":" + l.Argument
}

// Chain returns the providers in the order in which they are asked. A hub
// stands for all of them.
func (g *Grid) Chain() []Link {
	if g.Hub != "" {
		return []Link{{Name: "hub"}}
	}
	links := make([]Link, len(g.Providers))
	for i, p := range g.Providers {
		links[i].Name, links[i].Argument, _ = strings.Cut(p, ":")
	}
	return links
}

// TokenFile returns the file with the token of a provider, "" if none is set.
// A file without a name is of the one provider in the chain that uses tokens.
func (g *Grid) TokenFile(provider string) string {
	for _, f := range g.TokenFiles {
		if name, file, ok := cutToken(f); name == provider || !ok && providers[provider].token {
			return file
		}
	}
	return ""
}

// cutToken divides NAME=FILE. A path may have an equals sign of its own.
func cutToken(s string) (name, file string, named bool) {
	name, file, ok := strings.Cut(s, "=")
	if !ok || strings.ContainsRune(name, '/') {
		return "", s, false
	}
	return name, file, true
}

// Embodied says what making the machine caused.
type Embodied struct {
	Kg       string  // auto, off or kilograms of CO2e
	Instance string  // type of a cloud's instance, may be empty
	Years    float64 // over which it is spread
}

// Lifetime returns Years as a duration, of 365 days each: the 35 040 hours of
// four years that the SCI guide counts with.
func (e *Embodied) Lifetime() time.Duration {
	return time.Duration(e.Years * float64(365*24*time.Hour)).Round(time.Second)
}

// Rest returns what is counted although no sensor sees it. The settings were
// found valid.
func (c *Config) Rest() agent.Rest {
	rest := agent.Rest{
		NetworkPerGB: agent.EnergyPerGB(c.NetworkKWhPerGB),
		DiskPerGB:    agent.EnergyPerGB(c.DiskKWhPerGB),
		FS:           c.FS(),
	}
	if o, err := agent.ParseOverhead(c.Overhead); err == nil {
		rest.Overhead = o
	}
	return rest
}

// queries returns the settings for which a Prometheus is asked.
func (c *Config) queries() (names []string) {
	if pue, err := site.ParsePUE(c.PUE); err == nil && pue.Query != "" {
		names = append(names, "pue")
	}
	if strings.HasPrefix(c.Price, "query:") {
		names = append(names, "price.per-kwh")
	}
	for _, l := range c.Grid.Chain() {
		if l.Name == "prometheus" {
			names = append(names, "grid.provider")
		}
	}
	return names
}

func siteSettings() []Setting {
	return []Setting{
		text("grid.zone", "auto|ZONE", "grid zone that the electricity comes from, as Electricity Maps names it; auto takes the region of the Kubernetes node, else the country of the machine's time zone", "DE",
			func(c *Config) *string { return &c.Grid.Zone }, checkZone),
		list("grid.provider", "NAME|fixed:G|file:PATH", "who tells the carbon intensity: "+strings.Join(providerNames(), ", ")+"; repeat it for a chain, in which the first that answers is right; yearly is built in and also stands behind every chain of its kind", "energy-charts,yearly",
			func(c *Config) *[]string { return &c.Grid.Providers }, checkProvider),
		list("grid.token-file", "[NAME=]FILE", "file with the token of a provider, read again when it changes", "electricitymaps=/etc/noether/electricitymaps.token",
			func(c *Config) *[]string { return &c.Grid.TokenFiles }, checkTokenFile),
		text("grid.hub", "URL", "address of a noether carbon exporter, which is asked instead of a provider", "http://127.0.0.1:9878",
			func(c *Config) *string { return &c.Grid.Hub }, checkHub),
		text("grid.query", "PROMQL", "query for the intensity in gCO2e/kWh, for the provider prometheus", `avg(grid_intensity{zone="DE"})`,
			func(c *Config) *string { return &c.Grid.Query }, nil),
		text("grid.factor", "lifecycle|direct", "which emissions of power plants count: of their whole life, or of combustion only", "direct",
			func(c *Config) *string { return &c.Grid.Factor }, oneOf("lifecycle", "direct")),
		unless("grid.allow-estimates", "let providers fill gaps with estimates of their own; false asks those that can leave them out to do so",
			func(c *Config) *bool { return &c.Grid.AllowEstimates }),
		text("prometheus-url", "URL", "server that the queries of grid, pue and price are asked of; its credentials are in the PROMETHEUS_ variables of the environment", "http://127.0.0.1:9090",
			func(c *Config) *string { return &c.PrometheusURL }, checkPrometheus),
		value("pue", "VALUE|table|query:PROMQL", "power usage effectiveness of the site, 1 to 5; table takes that of the cloud region", "1.2",
			func(c *Config) *string { return &c.PUE }, func(s string) error { _, err := site.ParsePUE(s); return err }),
		value("embodied.kg", "auto|off|KG", "CO2e that making this machine caused; auto takes that of the instance type, else adds up the parts that the kernel shows", "1200",
			func(c *Config) *string { return &c.Embodied.Kg }, checkKg),
		text("embodied.instance", "TYPE", "type of this machine in its cloud, for embodied.kg auto; without it the label of the Kubernetes node or the name in the firmware", "m5.xlarge",
			func(c *Config) *string { return &c.Embodied.Instance }, checkInstance),
		number("embodied.years", "YEARS", "time of use that the CO2e of making the machine is spread over", "6", 0.1, 30,
			func(c *Config) *float64 { return &c.Embodied.Years }),
		value("server-overhead", "WATTS|SHARE", "what the server uses besides what sensors cover (board, disks, fans, power supply): 40W, or 33% or 0.33 of the rest, or with its bounds 25W-40W-60W; it is estimated", "40W",
			func(c *Config) *string { return &c.Overhead }, func(s string) error { _, err := agent.ParseOverhead(s); return err }),
		number("network.kwh-per-gb", "KWH", "energy of the network for each gigabyte sent or received; 0 leaves it out", "0.001", 0, 10,
			func(c *Config) *float64 { return &c.NetworkKWhPerGB }),
		number("disk.kwh-per-gb", "KWH", "energy of storage for each gigabyte read or written; 0 leaves it out", "0.0002", 0, 10,
			func(c *Config) *float64 { return &c.DiskKWhPerGB }),
		value("price.per-kwh", "VALUE|ZONE HH:MM=VALUE ...|query:PROMQL", "price of a kWh: the same always, by time of day in a time zone, or queried; it may be negative", "Europe/Berlin 00:00=0.22 06:00=0.34",
			func(c *Config) *string { return &c.Price }, func(s string) error { _, err := site.ParsePrice(s); return err }),
		text("price.currency", "CODE", "currency of the price, ISO 4217", "EUR",
			func(c *Config) *string { return &c.Currency }, checkCurrency),
	}
}

// validateSite finds what is wrong between the settings of the site.
func (c *Config) validateSite(marginal bool) (problems []Problem) {
	problem := func(name, value, text string) {
		problems = append(problems, Problem{Name: name, Value: value, Text: text})
	}
	g := &c.Grid
	chain := strings.Join(g.Providers, ",")
	has := func(name string) bool {
		return slices.ContainsFunc(g.Chain(), func(l Link) bool { return l.Name == name })
	}
	if g.Hub != "" && slices.ContainsFunc(g.Providers, func(p string) bool { return p != "hub" && p != "yearly" }) {
		problem("grid.hub", g.Hub, fmt.Sprintf("stands beside grid.provider %s: the hub asks the providers: leave grid.provider out here", chain))
	}
	if g.Hub == "" && has("hub") {
		problem("grid.provider", chain, "needs grid.hub, the address of a noether carbon exporter such as http://127.0.0.1:9878")
	}
	if has("watttime") && !marginal {
		problem("grid.provider", chain, "includes marginal intensity, that of watttime: accounts use average intensity (noether carbon forecast and best can use watttime)")
	}
	problems = append(problems, c.mixedFactors()...)
	if has("prometheus") != (g.Query != "") {
		if g.Query == "" {
			problem("grid.provider", chain, `has prometheus, which needs grid.query, such as avg(grid_intensity{zone="DE"})`)
		} else {
			problem("grid.query", g.Query, "is for grid.provider prometheus, which is not in the chain: add it")
		}
	}
	problems = append(problems, c.tokens()...)
	if q := c.queries(); len(q) > 0 && c.PrometheusURL == "" {
		at := map[string]string{"pue": c.PUE, "price.per-kwh": c.Price, "grid.provider": chain}
		for _, name := range q {
			problem(name, at[name], "needs prometheus-url, the address of the server that is asked")
		}
	}
	switch {
	case c.Price != "" && c.Currency == "":
		problem("price.per-kwh", c.Price, "needs price.currency, such as EUR")
	case c.Price == "" && c.Currency != "":
		problem("price.currency", c.Currency, "needs price.per-kwh, the price of a kWh in it")
	}
	if c.Embodied.Instance != "" && c.Embodied.Kg != "auto" {
		problem("embodied.instance", c.Embodied.Instance, fmt.Sprintf("stands beside embodied.kg %s: leave one of them out", c.Embodied.Kg))
	}
	return problems
}

// mixedFactors finds a chain whose links count different emissions: their
// values never stand in one series.
func (c *Config) mixedFactors() []Problem {
	by := map[string][]string{}
	for _, l := range c.Grid.Chain() {
		factor := providers[l.Name].factor
		if l.Name == "watttime" {
			continue // it is refused for another reason
		}
		if factor != "-" {
			by[factor] = append(by[factor], l.Name)
		}
	}
	life, direct := strings.Join(by["lifecycle"], " and "), strings.Join(by["direct"], " and ")
	if life != "" && direct != "" {
		return []Problem{{
			Name: "grid.provider", Value: strings.Join(c.Grid.Providers, ","),
			Text: fmt.Sprintf("mixes %s (lifecycle) with %s (direct): one chain counts emissions in one way: leave one of them out", life, direct),
		}}
	}
	for factor, names := range by {
		if factor != c.Grid.Factor {
			return []Problem{{
				Name: "grid.factor", Value: c.Grid.Factor,
				Text: fmt.Sprintf("is not what %s publishes: set grid.factor %s, or choose another grid.provider", strings.Join(names, " and "), factor),
			}}
		}
	}
	return nil
}

// tokens finds files of tokens that nobody, or more than one provider, would use.
func (c *Config) tokens() (problems []Problem) {
	var users []string
	for _, l := range c.Grid.Chain() {
		if providers[l.Name].token {
			users = append(users, l.Name)
		}
	}
	seen := map[string]bool{}
	for _, f := range c.Grid.TokenFiles {
		name, _, named := cutToken(f)
		switch {
		case named && !slices.Contains(users, name):
			problems = append(problems, Problem{Name: "grid.token-file", Value: f, Text: fmt.Sprintf("is for %s, which is not in the chain of grid.provider: add it, or leave the file out", name)})
		case !named && len(users) != 1:
			problems = append(problems, Problem{Name: "grid.token-file", Value: f, Text: "does not say whose token it is: write NAME=" + f})
		case seen[name], len(seen) > 0 && (seen[""] || !named):
			problems = append(problems, Problem{Name: "grid.token-file", Value: f, Text: "is a second file for one provider: keep one"})
		}
		seen[name] = true
	}
	return problems
}

func providerNames() []string {
	names := make([]string, 0, len(providers))
	for name := range providers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func checkZone(s string) error {
	if s == "auto" {
		return nil
	}
	if strings.Contains(s, ",") {
		if _, _, ok := grid.Location(s); !ok {
			return errors.New("is no place: write latitude and longitude in degrees, like 52.5,13.4")
		}
		return nil
	}
	if cloud, region, ok := strings.Cut(s, ":"); ok {
		if country := cloud; len(country) == 2 && strings.ToUpper(country) == country && region != "" {
			return checkWord(region) // of a provider's own: GB:SW1 is a postcode
		}
		if err := checkWord(region); err != nil || region == "" {
			return errors.New("has no region that can be one: write it like aws:eu-central-1")
		}
		if _, err := regions.Zone(cloud, region); err != nil && !slices.Contains([]string{"aws", "gcp", "azure"}, cloud) {
			return fmt.Errorf("is not known: %w", err)
		}
		return nil
	}
	if s == "" {
		return errors.New("is empty: write a zone such as DE, or auto")
	}
	if strings.ToUpper(s) != s {
		return fmt.Errorf("is no zone: write it in capitals, like DE or US-CAL-CISO%s", zoneHint(s))
	}
	return checkWord(s)
}

func zoneHint(s string) string {
	if up := strings.ToUpper(s); checkWord(up) == nil && len(up) <= 11 {
		return ": did you mean " + up + "?"
	}
	return ""
}

// checkWord refuses what could be no name in a label or an address.
func checkWord(s string) error {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		return errors.New("has something else than letters, digits and dashes: write a zone such as DE or US-CAL-CISO, or auto")
	}
	return nil
}

func checkProvider(s string) error {
	name, argument, has := strings.Cut(s, ":")
	if err := oneOf(providerNames()...)(name); err != nil {
		return fmt.Errorf("has %q, which %w", clip(name), err)
	}
	switch {
	case name == "fixed":
		v, err := strconv.ParseFloat(argument, 64)
		if err != nil {
			return errors.New("has fixed without grams per kWh: write it like fixed:380")
		}
		if _, err := fixed.New(fixed.Options{Intensity: v}); err != nil {
			return fmt.Errorf("is out of range: %w", err)
		}
	case name == "file":
		if argument == "" {
			return errors.New("has file without a path: write it like file:/etc/noether/intensity.csv")
		}
	case has:
		return fmt.Errorf("has %q: only fixed and file have something behind a colon", clip(s))
	}
	return nil
}

func checkTokenFile(s string) error {
	name, file, named := cutToken(s)
	if file == "" {
		return errors.New("names no file: write it like electricitymaps=/etc/noether/token")
	}
	if !named {
		return nil
	}
	if p, ok := providers[name]; !ok || !p.token {
		return fmt.Errorf("is for %q, which is no provider with a token: write NAME=FILE with electricitymaps, entsoe, hub or watttime", clip(name))
	}
	return nil
}

func checkHub(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not http(s)://HOST:PORT: write it like http://127.0.0.1:9878")
	}
	return nil
}

func checkPrometheus(s string) error {
	if _, err := promclient.CheckURL(s); err != nil {
		return fmt.Errorf("is not the address of a server: %w", err)
	}
	return nil
}

func checkKg(s string) error {
	if s == "auto" || s == "off" {
		return nil
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return errors.New("is neither auto nor off nor a number of kilograms: write it like 1200")
	}
	if _, err := embodied.ParseSetting(s); err != nil {
		return errors.New("is out of range: choose 0.001 to 1000000 kg, or off")
	}
	return nil
}

func checkInstance(s string) error {
	if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("is no type of an instance: write it like m5.xlarge")
	}
	return nil
}

func checkCurrency(s string) error {
	if len(s) != 3 || strings.ContainsFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		return errors.New("is no ISO 4217 code: write three capital letters like EUR")
	}
	return nil
}
