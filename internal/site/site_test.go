package site

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/grid/watch"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

// hourly is a provider whose intensity is 100 more in each hour of the day.
type hourly struct {
	now  func() time.Time
	fail atomic.Bool
}

func (h *hourly) Info() grid.Info {
	return grid.Info{Name: "hourly", Signal: grid.Average, Factor: grid.Lifecycle, Step: time.Hour}
}

func (h *hourly) sample(at time.Time) grid.Sample {
	from := at.UTC().Truncate(time.Hour)
	return grid.Sample{From: from, To: from.Add(time.Hour), Intensity: 100 + 100*float64(from.Hour())}
}

func (h *hourly) Latest(context.Context, string) (grid.Sample, error) {
	if h.fail.Load() {
		return grid.Sample{}, grid.ErrUnauthorized
	}
	return h.sample(h.now()), nil
}

func (h *hourly) Intensity(_ context.Context, _ string, from, to time.Time) (samples []grid.Sample, err error) {
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		samples = append(samples, h.sample(at))
	}
	return samples, nil
}

func (h *hourly) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	return h.Intensity(ctx, zone, from, to)
}

// logbook is a log that may be read while it is written.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// opened are the zones that were asked for.
type opened struct {
	mu    sync.Mutex
	zones []string
}

func (o *opened) open(zone string) (*watch.Watch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.zones = append(o.zones, zone)
	return watch.New(watch.Options{Zone: zone, Links: []grid.Provider{&hourly{now: time.Now}}})
}

func run(t *testing.T, s *Site) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func tick(s *Site) *snapshot.Site {
	now := time.Now()
	return s.Between(now.Add(-5*time.Second), now)
}

func TestATickGetsAllThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		price, err := ParsePrice("UTC 00:00=0.2 00:10=0.4")
		if err != nil {
			t.Fatal(err)
		}
		var o opened
		hardware := snapshot.Hardware{CPU: 100 * unit.Kilogram, Lifetime: 4 * 365 * 24 * time.Hour, Source: "value"}
		s, err := New(Options{
			Now: time.Now, Locate: Locate{Zone: "aws:eu-central-1"}, Open: o.open,
			Hardware: func(string) snapshot.Hardware { return hardware },
			PUE:      PUE{Table: true}, Price: price, Currency: "EUR",
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := tick(s); got.Grid.Known || got.Grid.Zone != "DE" || got.PUEFrom != "table" {
			t.Errorf("before anybody was asked: %+v", got)
		}
		stop := run(t, s)
		synctest.Wait() // it is midnight UTC, the first of January 2000
		got := tick(s)
		// The tick ended at midnight: 5 s of the hour before, at 2400 g.
		want := &snapshot.Site{
			Grid: snapshot.Grid{
				Zone: "DE", Known: true, Intensity: unit.IntensityOf(2400), Provider: "hourly", Signal: "average", Factor: "lifecycle", Updated: time.Now(),
			},
			PUE: got.PUE, PUEFrom: "table", Price: unit.PriceOf(0.4), Priced: true, Currency: "EUR", Hardware: hardware,
			Past: got.Past, Revised: got.Revised,
			Sources: []snapshot.SourceStatus{{Source: "hourly", Zone: "DE", Up: true, Requests: 3, Success: time.Now()}},
		}
		for h := 1; h <= 23; h++ {
			want.Grid.Forecast = append(want.Grid.Forecast, snapshot.Forecast{Horizon: time.Duration(h) * time.Hour, Intensity: unit.IntensityOf(100 + 100*float64(h))})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got.PUE <= unit.One || got.PUE > MaxPUE || len(got.Past) < 48 {
			t.Errorf("PUE %v, %d hours of the past", got.PUE.Float(), len(got.Past))
		}
		// The next tick has another hour, and a tick across the tariff's change has both prices.
		time.Sleep(5 * time.Second)
		if got := tick(s); got.Grid.Intensity != unit.IntensityOf(100) || got.Price != unit.PriceOf(0.2) {
			t.Errorf("after midnight: %+v", got)
		}
		time.Sleep(9*time.Minute + 56*time.Second)
		if got := tick(s); got.Price != unit.PriceOf(0.24) {
			t.Errorf("1 s of 5 at the dearer price: %v", got.Price.Float())
		}
		time.Sleep(50*time.Minute - 1*time.Second)
		if got := tick(s); got.Grid.Intensity != unit.IntensityOf(100) {
			t.Errorf("an hour ends when the tick does: %v", got.Grid.Intensity.GramsPerKWh())
		}
		stop()
		if diff := cmp.Diff([]string{"DE"}, o.zones); diff != "" {
			t.Error(diff)
		}
	})
}

func TestATickInWhichNothingChangedIsTheSame(t *testing.T) {
	var o opened
	price, err := ParsePrice(berlin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Now: time.Now, Locate: Locate{Zone: "DE"}, Open: o.open, PUE: PUE{Fixed: 1_200_000}, Price: price, Currency: "EUR"})
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	first := s.Between(from, from.Add(5*time.Second))
	if first == nil || first.PUE != 1_200_000 || first.Grid.Known || !first.Priced {
		t.Fatalf("%+v", first)
	}
	if n := testing.AllocsPerRun(100, func() {
		from = from.Add(50 * time.Millisecond)
		if got := s.Between(from, from.Add(5*time.Second)); got != first {
			t.Error("another one")
		}
	}); n != 0 {
		t.Errorf("%v allocations for each tick", n)
	}
	if got := s.Between(from.Add(10*time.Hour), from.Add(10*time.Hour+time.Second)); got == first || got.Price == first.Price {
		t.Errorf("the night costs what the day does: %+v", got)
	}
	// A wall clock that is set back brings back the price of then.
	if got := s.Between(from, from.Add(5*time.Second)); got.Price != first.Price {
		t.Errorf("%v, want %v", got.Price, first.Price)
	}
}

func TestWithoutAZoneNothingIsToldUnlessTheUserSaidSomething(t *testing.T) {
	var o opened
	for _, always := range []bool{false, true} {
		s, err := New(Options{Now: time.Now, Locate: Locate{Zone: Auto, Root: t.TempDir()}, Open: o.open, Always: always, PUE: PUE{Fixed: 1_500_000}})
		if err != nil {
			t.Fatal(err)
		}
		got := tick(s)
		if (got != nil) != always || always && (got.Grid.Zone != "" || got.Grid.Known || got.PUE != 1_500_000) {
			t.Errorf("always %t: %+v", always, got)
		}
	}
}

// The name of the region may come late, or never: then the time zone decides,
// until it comes after all.
func TestTheZoneIsKnownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var node atomic.Pointer[Node]
		node.Store(&Node{})
		var o opened
		log := new(logbook)
		asked := []string{}
		s, err := New(Options{
			Now: time.Now, Locate: Locate{Zone: Auto, Root: machine(t, "Europe/Berlin"), Node: func() Node { return *node.Load() }},
			Open: o.open, PUE: PUE{Table: true}, Log: log.logger(),
			Hardware: func(instance string) snapshot.Hardware {
				asked = append(asked, instance)
				return snapshot.Hardware{Rest: unit.Kilogram, Lifetime: time.Hour, Source: "instance"}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, s)
		time.Sleep(30 * time.Second)
		if got := tick(s); got != nil {
			t.Errorf("the orchestrator has not answered: %+v", got)
		}
		time.Sleep(40 * time.Second)
		if got := tick(s); got == nil || got.Grid.Zone != "DE" || got.PUEFrom != "default" || got.PUE != unit.One || !got.Grid.Known {
			t.Errorf("by the time zone: %+v", got)
		}
		node.Store(&Node{Known: true, Region: "eu-west-3", ProviderID: "aws:///eu-west-3a/i-0", InstanceType: "m5.large"})
		time.Sleep(2 * time.Minute)
		got := tick(s)
		if got == nil || got.Grid.Zone != "FR" || got.PUEFrom != "table" || !got.Grid.Known || len(got.Sources) != 1 || got.Sources[0].Zone != "FR" {
			t.Errorf("by the region: %+v", got)
		}
		stop()
		if diff := cmp.Diff([]string{"DE", "FR"}, o.zones); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"", "m5.large"}, asked); diff != "" {
			t.Error(diff)
		}
		if n := strings.Count(log.String(), "msg=\"grid zone\""); n != 2 || !strings.Contains(log.String(), "time zone Europe/Berlin") || !strings.Contains(log.String(), "region eu-west-3 of the Kubernetes node") {
			t.Errorf("the log:\n%s", log)
		}
	})
}

func TestAQueryIsBelievedForSixHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var value atomic.Pointer[float64]
		log := new(logbook)
		ask := func(_ context.Context, q string) (float64, error) {
			v := value.Load()
			switch {
			case v == nil:
				return 0, errors.New("no answer")
			case q == "price":
				return -*v, nil
			}
			return *v, nil
		}
		say := func(v float64) { value.Store(&v) }
		var o opened
		s, err := New(Options{
			Now: time.Now, Locate: Locate{Zone: "gcp:europe-west1"}, Open: o.open, PUE: PUE{Query: "pue"}, Price: Price{Query: "price"}, Currency: "EUR", Ask: ask, Log: log.logger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, s)
		defer stop()
		time.Sleep(time.Second)
		if got := tick(s); got.Priced || got.PUEFrom != "table" {
			t.Errorf("nobody has answered: %+v", got)
		}
		say(1.4)
		time.Sleep(10 * time.Minute)
		got := tick(s)
		if !got.Priced || got.Price != unit.PriceOf(-1.4) || got.PUE != 1_400_000 || got.PUEFrom != "query" {
			t.Errorf("answered: %+v", got)
		}
		say(7) // no PUE, but a price
		time.Sleep(time.Hour)
		if got := tick(s); got.Price != unit.PriceOf(-7) || got.PUE != 1_400_000 || got.Sources[1].Up || !got.Sources[2].Up {
			t.Errorf("an absurd PUE: %+v", got)
		}
		value.Store(nil)
		time.Sleep(5*time.Hour + 30*time.Minute)
		if got := tick(s); !got.Priced || got.PUEFrom != "table" {
			t.Errorf("the PUE is six hours old, the price is not: %+v", got)
		}
		time.Sleep(time.Hour)
		if got := tick(s); got.Priced || got.Currency != "EUR" {
			t.Errorf("both are too old: %+v", got)
		}
		failures := tick(s).Sources[2].Failures
		if failures < 20 || failures > 60 {
			t.Errorf("asked %d times in vain: it backs off to a quarter of an hour", failures)
		}
		if n := strings.Count(log.String(), "no answer of use"); n != 4 { // each at the start, and once more
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

func TestAnAnswerOnAClockThatIsSet(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := answer{success: now, value: 1}
	for ago, want := range map[time.Duration]bool{0: true, 5 * time.Hour: true, 7 * time.Hour: false, -time.Hour: true, -7 * time.Hour: false, -8760 * time.Hour: false} {
		if a.holds(now.Add(ago)) != want {
			t.Errorf("%s later: %v", ago, !want)
		}
	}
	if (&answer{}).holds(now) {
		t.Error("it holds before anybody has answered")
	}
}

// machine is one in a time zone.
func machine(t *testing.T, zone string) (root string) {
	t.Helper()
	root = t.TempDir()
	write(t, root, "usr/share/zoneinfo/zone.tab", "# a comment\nDE\t+5230+01322\tEurope/Berlin\tmost of Germany\nNO\t+5955+01045\tEurope/Oslo\n")
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../usr/share/zoneinfo/"+zone, filepath.Join(root, "etc/localtime")); err != nil {
		t.Fatal(err)
	}
	return root
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPlace(t *testing.T) {
	debian := machine(t, "x")
	if err := os.Remove(filepath.Join(debian, "etc/localtime")); err != nil {
		t.Fatal(err)
	}
	write(t, debian, "etc/timezone", "Europe/Oslo\n")
	eu := Node{Known: true, Region: "eu-central-1", ProviderID: "aws:///eu-central-1a/i-0", InstanceType: "m5.xlarge"}
	for name, c := range map[string]struct {
		l    Locate
		want Place
	}{
		"set":                 {Locate{Zone: "SE-SE3"}, Place{Zone: "SE-SE3", From: "set"}},
		"a cloud's region":    {Locate{Zone: "aws:eu-central-1"}, Place{Zone: "DE", From: "set as aws:eu-central-1", Provider: "aws", Region: "eu-central-1"}},
		"a region to come":    {Locate{Zone: "aws:mars-north-1"}, Place{Zone: "aws:mars-north-1", From: "set", Provider: "aws", Region: "mars-north-1"}},
		"time zone":           {Locate{Zone: Auto, Root: machine(t, "Europe/Berlin")}, Place{Zone: "DE", From: "time zone Europe/Berlin"}},
		"right/ time zone":    {Locate{Zone: Auto, Root: machine(t, "right/Europe/Oslo")}, Place{Zone: "NO", From: "time zone Europe/Oslo"}},
		"Debian":              {Locate{Zone: Auto, Root: debian}, Place{Zone: "NO", From: "time zone Europe/Oslo"}},
		"UTC":                 {Locate{Zone: Auto, Root: machine(t, "Etc/UTC")}, Place{From: `find the country of time zone "Etc/UTC": the table has no country for it`}},
		"UTC, nobody asks":    {Locate{Zone: Auto, Root: machine(t, "Etc/UTC"), Anywhere: "local"}, Place{Zone: "local", From: "nobody knows where, and no provider asks"}},
		"nothing":             {Locate{Zone: Auto, Root: t.TempDir()}, Place{From: "find the time zone of this machine: /etc/localtime is no link to one, and /etc/timezone names none"}},
		"the node's":          {Locate{Zone: Auto, Root: debian, Node: func() Node { return eu }}, Place{Zone: "DE", From: "region eu-central-1 of the Kubernetes node (aws, Frankfurt)", Provider: "aws", Region: "eu-central-1", Instance: "m5.xlarge"}},
		"set beats the node":  {Locate{Zone: "FR", Instance: "c5.large", Node: func() Node { return eu }}, Place{Zone: "FR", From: "set", Provider: "aws", Region: "eu-central-1", Instance: "c5.large"}},
		"a region of nobody":  {Locate{Zone: Auto, Root: debian, Node: func() Node { return Node{Known: true, Region: "rack 7"} }}, Place{Zone: "NO", From: "time zone Europe/Oslo"}},
		"only of nobody":      {Locate{Zone: Auto, Root: t.TempDir(), Node: func() Node { return Node{Known: true, Region: "rack 7"} }}, Place{From: `look up cloud region "rack 7": no provider of the table has it: set the grid zone itself, such as DE`}},
		"a node that is mute": {Locate{Zone: Auto, Root: debian, Node: func() Node { return Node{} }}, Place{Zone: "NO", From: "time zone Europe/Oslo"}},
	} {
		if diff := cmp.Diff(c.want, c.l.Find()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
