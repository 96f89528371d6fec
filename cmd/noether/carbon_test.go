package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/grid"
	"noether/internal/unit"
)

// fakeGrid is a provider that knows one series.
type fakeGrid struct {
	info    grid.Info
	samples []grid.Sample
	ahead   []grid.Sample
	err     error
	asked   int
}

func (f *fakeGrid) Info() grid.Info { return f.info }

func (f *fakeGrid) Intensity(_ context.Context, _ string, from, to time.Time) ([]grid.Sample, error) {
	f.asked++
	return grid.Clip(f.samples, from, to), f.err
}

func (f *fakeGrid) Latest(context.Context, string) (grid.Sample, error) {
	f.asked++
	if f.err != nil || len(f.samples) == 0 {
		return grid.Sample{}, errors.Join(f.err, grid.ErrNoData)
	}
	return f.samples[len(f.samples)-1], nil
}

func (f *fakeGrid) Forecast(_ context.Context, _ string, from, to time.Time) ([]grid.Sample, error) {
	f.asked++
	if f.err == nil && f.ahead == nil {
		return nil, grid.ErrNoForecast
	}
	return grid.Clip(f.ahead, from, to), f.err
}

var carbonNoon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// hours returns samples of an hour each, the first of which begins at an hour after noon.
func carbonHours(first int, values ...float64) (samples []grid.Sample) {
	for i, v := range values {
		from := carbonNoon.Add(time.Duration(first+i) * time.Hour)
		samples = append(samples, grid.Sample{From: from, To: from.Add(time.Hour), Intensity: v})
	}
	return samples
}

func fakePlace(chain ...grid.Provider) place { return place{zone: "DE", chain: chain} }

func newFake(name string) *fakeGrid {
	return &fakeGrid{info: grid.Info{Name: name, Signal: grid.Average, Factor: grid.Lifecycle, Step: time.Hour}}
}

// carbonAt returns a command at half past noon, and what it prints and logs.
func carbonAt(env ...string) (c *carbonCommand, stdout *bytes.Buffer, log *slog.Logger, logged *bytes.Buffer) {
	stdout, logged = new(bytes.Buffer), new(bytes.Buffer)
	c = &carbonCommand{p: &process{env: env, stdout: stdout, stderr: logged}, now: func() time.Time { return carbonNoon.Add(30 * time.Minute) }}
	return c, stdout, slog.New(slog.NewTextHandler(logged, nil)), logged
}

func TestCarbonNow(t *testing.T) {
	c, out, log, logged := carbonAt()
	good, stale, broken, floor := newFake("good"), newFake("stale"), newFake("broken"), newFake("yearly")
	good.samples = carbonHours(0, 322.4)
	stale.samples = carbonHours(-2, 300)
	broken.err = grid.ErrUnauthorized
	floor.samples = []grid.Sample{{From: carbonNoon.AddDate(-100, 0, 0), To: carbonNoon.AddDate(100, 0, 0), Intensity: 331.61, Estimated: true}}
	old := newFake("old")
	old.samples = carbonHours(-20, 1)
	places := []place{fakePlace(good), fakePlace(stale), fakePlace(broken, old)}
	places[2].floor = floor
	if err := c.runNow(t.Context(), places, form{}, log); err != nil {
		t.Fatal(err)
	}
	want := `ZONE  gCO2e/kWh  PROVIDER  SIGNAL   FACTOR     SINCE                 AGE  ESTIMATED
DE    322        good      average  lifecycle  2026-06-01 12:00 UTC  now  no
DE    300        stale     average  lifecycle  2026-06-01 10:00 UTC  1h30m  yes
DE    332        yearly    average  lifecycle  -                     -    yes
`
	squeeze := func(s string) string {
		var lines []string
		for line := range strings.Lines(s) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if diff := cmp.Diff(squeeze(want), squeeze(out.String())); diff != "" {
		t.Error(diff)
	}
	for _, w := range []string{"refuses the credentials", "ended 19h30m ago", "instead=yearly"} {
		if !strings.Contains(logged.String(), w) {
			t.Errorf("no %q in %s", w, logged)
		}
	}

	out.Reset()
	if err := c.runNow(t.Context(), places, form{json: true}, log); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"zone":"DE","grams_per_kwh":322.4,"provider":"good","signal":"average","factor":"lifecycle","from":"2026-06-01T12:00:00Z","to":"2026-06-01T13:00:00Z","age_seconds":0,"estimated":false}
{"zone":"DE","grams_per_kwh":300,"provider":"stale","signal":"average","factor":"lifecycle","from":"2026-06-01T10:00:00Z","to":"2026-06-01T11:00:00Z","age_seconds":5400,"estimated":true}
{"zone":"DE","grams_per_kwh":331.61,"provider":"yearly","signal":"average","factor":"lifecycle","from":null,"to":null,"age_seconds":null,"estimated":true}
`, out.String()); diff != "" {
		t.Error(diff)
	}
	out.Reset()
	if err := c.runNow(t.Context(), places[:1], form{csv: true}, log); err != nil || out.String() != "zone,grams_per_kwh,provider,signal,factor,from,to,estimated\nDE,322.4,good,average,lifecycle,2026-06-01T12:00:00Z,2026-06-01T13:00:00Z,false\n" {
		t.Error(err, out)
	}
	err := c.runNow(t.Context(), []place{fakePlace(broken, old)}, form{}, log)
	if !errors.Is(err, grid.ErrUnauthorized) || !errors.Is(err, grid.ErrNoData) || !strings.Contains(err.Error(), "broken: ") || !strings.Contains(err.Error(), "old: ") {
		t.Error(err)
	}
}

func TestCarbonSeries(t *testing.T) {
	c, out, log, _ := carbonAt()
	g := newFake("good")
	g.samples = carbonHours(-2, 100.5, 200, 300)
	g.ahead = carbonHours(1, 400)
	at := fakePlace(g)
	now := c.now()
	past, err := c.series(t.Context(), &at, now.Add(-2*time.Hour), now, log, func(ctx context.Context, p grid.Provider) ([]grid.Sample, error) {
		return p.Intensity(ctx, "DE", now.Add(-2*time.Hour), now)
	})
	if err != nil {
		t.Fatal(err)
	}
	for o, want := range map[seriesOptions]string{
		{form: form{csv: true}, plot: "always"}: "from,to,grams_per_kwh,estimated,zone,provider,signal,factor\n" +
			"2026-06-01T10:00:00Z,2026-06-01T11:00:00Z,100.5,false,DE,good,average,lifecycle\n" +
			"2026-06-01T11:00:00Z,2026-06-01T12:00:00Z,200,false,DE,good,average,lifecycle\n" +
			"2026-06-01T12:00:00Z,2026-06-01T13:00:00Z,300,false,DE,good,average,lifecycle\n",
		{plot: "auto"}: "DE by good (average, lifecycle), gCO2e/kWh\n" +
			"FROM                  TO                    gCO2e/kWh  ESTIMATED\n" +
			"2026-06-01 10:00 UTC  2026-06-01 11:00 UTC  100        no\n" +
			"2026-06-01 11:00 UTC  2026-06-01 12:00 UTC  200        no\n" +
			"2026-06-01 12:00 UTC  2026-06-01 13:00 UTC  300        no\n",
	} {
		out.Reset()
		if err := past.print(c.p, &o, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	}
	out.Reset()
	if err := past.print(c.p, &seriesOptions{plot: "always"}, now); err != nil {
		t.Fatal(err)
	}
	// Half an hour at 100.5, an hour at 200, half an hour at 300.
	if s := out.String(); !strings.Contains(s, "█") || !strings.Contains(s, "min 100 at 10:30, mean 200, max 300 at 12:00, now 300 gCO2e/kWh; times in UTC\n") || strings.Contains(s, "\x1b") {
		t.Error(s)
	}
	out.Reset()
	c.p.env = []string{"LANG=C"}
	if err := past.print(c.p, &seriesOptions{plot: "always"}, now); err != nil || strings.ContainsFunc(out.String(), func(r rune) bool { return r > 127 }) {
		t.Error(err, out)
	}

	// The present value goes before a forecast that begins later.
	next, err := c.forecast(t.Context(), &at, now, now.Add(24*time.Hour), log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(carbonHours(0, 300), carbonHours(1, 400)...), next.samples); diff != "" {
		t.Error(diff)
	}
	at = fakePlace(newFake("mute"))
	if _, err := c.forecast(t.Context(), &at, now, now.Add(time.Hour), log); !errors.Is(err, grid.ErrNoForecast) || !strings.Contains(err.Error(), "--provider") {
		t.Error(err)
	}
}

func TestCarbonBest(t *testing.T) {
	g := newFake("good")
	g.ahead = carbonHours(0, 400, 300, 100, 200, 500)
	at := fakePlace(g)
	base := bestOptions{seriesOptions: seriesOptions{within: 4 * time.Hour, plot: "auto"}, duration: time.Hour, format: "rfc3339", kWh: 5}
	with := func(f func(*bestOptions)) *bestOptions {
		o := base
		f(&o)
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		return &o
	}
	for name, x := range map[string]struct {
		o    *bestOptions
		want string
		code int
	}{
		"people":    {&base, "best 1h within 4h in DE by good (average, lifecycle)\n  from   2026-06-01 14:00 to 15:00 UTC, in 1h30m\n  mean   100 gCO2e/kWh\n  now    350 gCO2e/kWh if it begins at once\n  saves  250 gCO2e/kWh (71.4 %), 1.25 kg of CO2e for 5 kWh\n", 0},
		"quiet":     {with(func(o *bestOptions) { o.quiet = true }), "2026-06-01T14:00:00Z\n", 0},
		"sleep":     {with(func(o *bestOptions) { o.quiet, o.format = true, "seconds" }), "5400\n", 0},
		"unix":      {with(func(o *bestOptions) { o.quiet, o.format = true, "unix" }), "1780322400\n", 0},
		"at":        {with(func(o *bestOptions) { o.quiet, o.format = true, "at" }), "202606011400.00\n", 0},
		"later":     {with(func(o *bestOptions) { o.quiet, o.ifNow = true, true }), "2026-06-01T14:00:00Z\n", exitLater},
		"step":      {with(func(o *bestOptions) { o.quiet, o.step = true, time.Hour }), "2026-06-01T14:30:00Z\n", 0},
		"all of it": {with(func(o *bestOptions) { o.within, o.duration, o.ifNow, o.kWh = 3*time.Hour, 3*time.Hour, true, 0 }), "best 3h within 3h in DE by good (average, lifecycle)\n  from   2026-06-01 12:30 to 15:30 UTC, now\n  mean   233 gCO2e/kWh\n  now    233 gCO2e/kWh if it begins at once\n  saves  nothing: no later window is better than beginning at once\n", 0},
		"csv":       {with(func(o *bestOptions) { o.csv = true }), "from,to,grams_per_kwh,estimated,now_grams_per_kwh,saves_grams_per_kwh,saves_percent,zone,provider,signal,factor\n2026-06-01T14:00:00Z,2026-06-01T15:00:00Z,100,false,350,250,71.429,DE,good,average,lifecycle\n", 0},
		"json":      {with(func(o *bestOptions) { o.json = true }), `{"zone":"DE","provider":"good","signal":"average","factor":"lifecycle","from":"2026-06-01T14:00:00Z","to":"2026-06-01T15:00:00Z","wait_seconds":5400,"grams_per_kwh":100,"estimated":false,"now_grams_per_kwh":350,"saves_grams_per_kwh":250,"saves_percent":71.429,"saves_grams":1250,"forecast_seconds":14400}` + "\n", 0},
	} {
		c, out, log, _ := carbonAt()
		err := c.runBest(t.Context(), &at, x.o, log)
		code := 0
		if exit, ok := errors.AsType[*exitError](err); ok {
			code, err = exit.code, exit.err
		}
		if err != nil || code != x.code {
			t.Errorf("%s: %d %v", name, code, err)
		}
		if diff := cmp.Diff(x.want, out.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	// A forecast that begins later than now, of a provider without a present value.
	late := newFake("late")
	late.ahead = carbonHours(2, 100, 200)
	at = fakePlace(late)
	c, out, log, _ := carbonAt()
	if err := c.runBest(t.Context(), &at, &base, log); err != nil || !strings.Contains(out.String(), "saves  nobody knows") {
		t.Error(err, out)
	}
	o := with(func(o *bestOptions) { o.duration = 3 * time.Hour })
	if err := c.runBest(t.Context(), &at, o, log); err == nil || !strings.Contains(err.Error(), "late knows 2h of it") {
		t.Error(err)
	}
}

func TestCarbonBestRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"best --within 1h --duration 2h":               "does not fit",
		"best --duration 1ms":                          "too short",
		"best --within 1000h":                          "out of range",
		"best --format later":                          "rfc3339, unix, seconds or at",
		"best --kwh -1":                                "--kwh",
		"best -q --json":                               "--quiet",
		"best --json --csv":                            "choose one",
		"best --plot maybe":                            "auto, always or never",
		"best --zone DE --zone FR":                     "takes one zone",
		"now --zone DE --grid.zone FR":                 "same setting",
		"now --zone de":                                "DE",
		"now --provider nobody":                        "nobody",
		"now --zone DE extra":                          "extra",
		"history --from 2026-13-01":                    "is no time",
		"history --from -1h --within 2h":               "both say",
		"history --to 1h":                              "lies ahead",
		"history --from -9000h":                        "366 days",
		"history --from -1h --to -2h":                  "no length of time",
		"forecast --configmap carbon":                  "NAMESPACE/NAME",
		"forecast --configmap a/b --csv":               "--configmap",
		"exporter --configmap x":                       "NAMESPACE/NAME",
		"exporter --configmap a/b --zone DE --zone FR": "one zone",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"carbon"}, strings.Fields(args)...), nil, strings.NewReader(""), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) || out.Len() > 0 {
			t.Errorf("%s: %d %s, want %q", args, code, errs.String(), want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.FixedZone("CEST", 7200))
	for s, want := range map[string]string{
		"2026-01-31": "2026-01-30T22:00:00Z", "2026-01-31T06:00:00Z": "2026-01-31T06:00:00Z", "2026-01-31T06:00Z": "2026-01-31T06:00:00Z",
		"2026-01-31 06:00": "2026-01-31T04:00:00Z", "-24h": "2026-05-31T10:00:00Z", "now": "2026-06-01T10:00:00Z", "90m": "2026-06-01T11:30:00Z",
	} {
		if got, err := moment(s, now); err != nil || utc(got) != want {
			t.Errorf("%q: %v %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "yesterday", "1900-01-01", "2026-02-30", "1e9h", "-"} {
		if got, err := moment(s, now); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2026-01-31", "-24h", "2026-01-31T06:00:00+02:00", "9999-12-31", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := moment(s, carbonNoon)
		if d := got.Sub(carbonNoon); err == nil && (d > farthest || d < -farthest) {
			t.Errorf("%q: %v", s, got)
		}
	})
}

// What the commands print of the providers that ask nobody.
func TestCarbonOffline(t *testing.T) {
	run := func(args string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"carbon"}, strings.Fields(args)...), []string{"NOETHER_GRID_ZONE=PL"}, strings.NewReader(""), &out, &errs)
		return code, out.String(), errs.String()
	}
	if code, out, errs := run("now --csv --zone DE --zone DE --zone DEU --zone aws:eu-west-3"); code != 0 || strings.Count(out, "\n") != 4 || !strings.Contains(out, "FR,") || errs != "" {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("now --csv"); code != 0 || !strings.Contains(out, "\nPL,") {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("history --json --provider fixed:12.5 --within 1h"); code != 0 || !strings.Contains(out, `"grams_per_kwh":12.5`) {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("forecast"); code != exitFailed || out != "" || !strings.Contains(errs, "does not forecast") {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("best --provider fixed:12.5 --if-now"); code != 0 || !strings.Contains(out, "saves  nothing") {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("zones germany"); code != 0 || !strings.Contains(out, "DE") || strings.Count(out, "\n") != 2 {
		t.Error(code, out, errs)
	}
	if code, out, errs := run("zones --region aws:eu-central-1 --json"); code != 0 || !strings.Contains(out, `"zone":"DE"`) {
		t.Error(code, out, errs)
	}
	if code, _, errs := run("zones --region nowhere-1"); code != exitFailed || !strings.Contains(errs, "aws:eu-central-1") {
		t.Error(code, errs)
	}
	if code, out, _ := run("zones --region gcp: --csv europe-west"); code != 0 || strings.Count(out, "\n") < 5 {
		t.Error(code, out)
	}
	if code, _, errs := run("zones atlantis"); code != exitFailed || !strings.Contains(errs, "atlantis") {
		t.Error(code, errs)
	}
	code, out, errs := run("forecast --provider fixed:12.5 --configmap kube-system/carbon-intensity")
	if code != 0 || !strings.Contains(out, "kind: ConfigMap\n") || !strings.Contains(out, `numOfRecords: "1"`) {
		t.Error(code, out, errs)
	}
}

// TestCarbonTokenOfEveryone is used, with a warning that says what to do.
func TestCarbonTokenOfEveryone(t *testing.T) {
	transport, file := fakeProvider(t, http.StatusOK)
	for mode, want := range map[os.FileMode]bool{0o644: true, 0o640: false, 0o600: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		p := &process{args: []string{"carbon", "now", "--zone", "DE", "--provider", "electricitymaps", "--token-file", file}, stdout: &out, stderr: &errs, transport: transport}
		cmd := newCarbon(p)
		cmd.SetArgs(p.args[1:])
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(errs.String(), "chmod 600 "+file); got != want || strings.Contains(errs.String(), siteToken) || !strings.Contains(out.String(), "322") {
			t.Errorf("mode %o: %s%s", mode, errs.String(), out.String())
		}
	}
}

func TestCarbonFormats(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 0.126: "0.13", 12.34: "12.3", 322.5: "322", 1234: "1234"} {
		if got := grams(v); got != want {
			t.Errorf("%v: %s", v, got)
		}
	}
	for g, want := range map[float64]string{12: "12.0 g", 999: "999 g", 1250: "1.25 kg", 2e6: "2.00 t"} {
		if got := mass(g); got != want {
			t.Errorf("%v: %s", g, got)
		}
	}
	if got := exact(unit.IntensityOf(0.1 + 0.2).GramsPerKWh()); got != "0.3" {
		t.Error(got)
	}
	if terse(24*time.Hour) != "24h" || terse(90*time.Minute) != "1h30m" {
		t.Error(terse(24 * time.Hour))
	}
}
