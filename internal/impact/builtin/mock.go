package builtin

import (
	"context"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"noether/internal/impact/fault"
	"noether/internal/impact/plugin"
	"noether/internal/impact/schema"
	"noether/internal/impact/value"
)

// maxMock bounds the observations that one node can be given by mock-observations.
const maxMock = 10_000_000

func mockObservations() plugin.Method {
	return plugin.Method{
		Name:    "MockObservations",
		Paths:   []string{"@grnsft/if-plugins"},
		Summary: "Makes up observations to try a pipeline with.",
		Doc: `Replaces the observations by made-up ones: for each of ` + "`components`" + `, one per ` + "`duration`" + ` seconds from
` + "`timestamp-from`" + ` to before ` + "`timestamp-to`" + `. Each holds what the first observation held before, the component's
keys, the keys of ` + "`generators.common`" + `, and for each key of ` + "`generators.randint`" + ` a whole random number from min to
below max. Times without a zone are UTC. Numbers differ from run to run.`,
		Example: `path: builtin
method: MockObservations
config:
  timestamp-from: 2024-01-01T00:00
  timestamp-to: 2024-01-01T00:10
  duration: 60
  components:
    - cloud/instance-type: m5n.large
  generators:
    common:
      region: eu-west
    randint:
      cpu/utilization: {min: 1, max: 99}`,
		Config: schema.Object{Fields: []schema.Field{
			{Name: "timestamp-from", Type: schema.Text(), Doc: "Start, ISO 8601."},
			{Name: "timestamp-to", Type: schema.Text(), Doc: "End, ISO 8601, not included."},
			{Name: "duration", Type: schema.Above(0), Doc: "Length of one observation in seconds."},
			{Name: "components", Type: schema.ArrayOf(schema.Record(schema.Text()), 0), Doc: "What tells one component from another; each gets the whole series."},
			{Name: "generators", Type: schema.Object{Fields: []schema.Field{
				{Name: "common", Type: schema.Record(schema.Union(schema.Text(), schema.Number())), Doc: "Keys with the same value in every observation."},
				{Name: "randint", Type: schema.Record(schema.Object{Fields: []schema.Field{
					{Name: "min", Type: schema.Number(), Doc: "Smallest value."},
					{Name: "max", Type: schema.Number(), Doc: "Bound above the largest value."},
				}}), Doc: "Keys with random whole numbers."},
			}}, Doc: "Where the values come from."},
		}},
		New: func(env *plugin.Env, d *plugin.Declaration, m *plugin.Method) (plugin.Plugin, error) {
			return plugin.NewFramed(env, d, m, plugin.Kernel{Run: mock}), nil
		},
	}
}

// randomInteger is one entry of generators.randint.
type randomInteger struct {
	name     string
	min, max float64
}

func mock(ctx context.Context, c *plugin.Call) ([]*value.Object, error) {
	d := &c.Env.Dialect
	generators := c.Config.Get("generators").Object()
	random, err := randomIntegers(generators.Get("randint").Object(), d)
	if err != nil {
		return nil, err
	}
	common := generators.Get("common").Object()
	components := c.Config.Get("components").Items()
	starts, err := mockStarts(c.Config, len(components), c.Env)
	if err != nil {
		return nil, err
	}
	if common.Len() == 0 && len(components) > 0 && len(starts) > 0 && !d.MockZero {
		return nil, fault.New(fault.Config, "Config is not provided.")
	}
	base := value.NewObject(0)
	if len(c.Rows) > 0 {
		base = c.Rows[0]
	}
	duration := c.Config.Get("duration")
	rows := make([]*value.Object, 0, len(starts)*len(components))
	for _, component := range components {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pattern := base.Copy(2 + component.Object().Len() + common.Len() + len(random))
		pattern.Set("timestamp", value.Value{})
		pattern.Set("duration", duration)
		for _, o := range []*value.Object{component.Object(), common} {
			for k, v := range o.All() {
				pattern.Set(k, v)
			}
		}
		own := pattern.Get("timestamp").Kind() == value.Undefined // else config overrides the time
		for _, r := range random {
			pattern.Set(r.name, value.Value{})
			own = own && r.name != "timestamp"
		}
		at := pattern.Find("timestamp")
		for _, start := range starts {
			row := pattern.Copy(rowSpare)
			if own {
				row.SetAt(at, value.Text(string(value.AppendISO(nil, start))))
			}
			for _, r := range random {
				row.Set(r.name, value.Of(math.Trunc(float64(c.Env.Random()*(r.max-r.min))+r.min)))
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func randomIntegers(config *value.Object, d *plugin.Dialect) ([]randomInteger, error) {
	var out []randomInteger
	for name, v := range config.All() {
		low, high := v.Object().Get("min").Num(), v.Object().Get("max").Num()
		switch {
		case !d.MockZero && (low == 0 || high == 0):
			return nil, fault.New(fault.Config, "Config is missing min or max value")
		case low >= high:
			return nil, fault.New(fault.Config, "Min value should not be greater than or equal to max value of %s", name)
		}
		out = append(out, randomInteger{name, low, high})
	}
	return out, nil
}

// mockStarts returns the starts of the observations in milliseconds since 1970.
func mockStarts(config *value.Object, components int, env *plugin.Env) ([]float64, error) {
	d := &env.Dialect
	var bounds [2]float64
	for i, key := range []string{"timestamp-from", "timestamp-to"} {
		s := config.Get(key).Str()
		t, ok := parseISO(s)
		if !ok {
			if d.MockZero {
				return nil, fault.New(fault.Config, "Reading `%s`: %q is no ISO 8601 time; write it as 2024-01-01T00:00:00Z", key, s)
			}
			return nil, nil
		}
		bounds[i] = t
	}
	from, to := bounds[0], bounds[1]
	step := float64(config.Get("duration").Num() * 1000)
	if step < 1 {
		return nil, fault.New(fault.Range, "Reading `duration`: %s s is below one millisecond, the resolution of timestamps", value.FormatNumber(step/1000))
	}
	if d.MockZero && from > to {
		return nil, fault.New(fault.Config, "`timestamp-from` should be lower than `timestamp-to`")
	}
	if n := (to - from) / step * float64(components); n > maxMock {
		return nil, fault.New(fault.Config, "Making %.0f observations: more than %d do not fit; raise `duration` or shorten the time", n, maxMock)
	} else if err := env.Room(n); err != nil {
		return nil, err
	}
	var starts []float64
	if d.MockZero {
		for i := 0; from+float64(float64(i)*step) < to; i++ {
			starts = append(starts, math.Round(from+float64(float64(i)*step)))
		}
		return starts, nil
	}
	// The reference counts on from whole milliseconds but compares before it cuts.
	for t := from; t < to; t = math.Trunc(t) + step {
		starts = append(starts, math.Trunc(t))
	}
	return starts, nil
}

// The forms of ISO 8601 that luxon 3 reads, less times without a date.
var (
	isoDate = regexp.MustCompile(`^(?:([+-]\d{6}|\d{4})(?:-?(\d\d)(?:-?(\d\d))?)?|(\d{4})-?W(\d\d)(?:-?(\d))?|(\d{4})-?(\d{3}))$`)
	isoTime = regexp.MustCompile(`(?i)^(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,30}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?$`)
)

// parseISO returns the milliseconds since 1970 of an ISO 8601 time, UTC where
// it has no zone.
func parseISO(s string) (float64, bool) {
	date, clock, hasTime := strings.Cut(strings.Replace(s, "t", "T", 1), "T")
	m := isoDate.FindStringSubmatch(date)
	if m == nil {
		return 0, false
	}
	var day time.Time
	switch {
	case m[1] != "":
		year, month, dom := whole(m[1], 0), whole(m[2], 1), whole(m[3], 1)
		day = time.Date(year, time.Month(month), dom, 0, 0, 0, 0, time.UTC)
		if month < 1 || month > 12 || day.Day() != dom {
			return 0, false
		}
	case m[4] != "":
		year, week, weekday := whole(m[4], 0), whole(m[5], 1), whole(m[6], 1)
		fourth := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC) // is in week 1
		day = fourth.AddDate(0, 0, -(int(fourth.Weekday())+6)%7+7*(week-1)+weekday-1)
		if y, w := day.ISOWeek(); y != year || w != week || weekday < 1 || weekday > 7 {
			return 0, false
		}
	default:
		year, ordinal := whole(m[7], 0), whole(m[8], 1)
		day = time.Date(year, 1, ordinal, 0, 0, 0, 0, time.UTC)
		if ordinal < 1 || day.Year() != year {
			return 0, false
		}
	}
	ms := float64(day.UnixMilli())
	if !hasTime {
		return ms, true
	}
	t := isoTime.FindStringSubmatch(clock)
	if t == nil {
		return 0, false
	}
	hour, minute, second := whole(t[1], 0), whole(t[2], 0), whole(t[3], 0)
	fraction := math.Floor(decimalFraction(t[4]) * 1000)
	if hour > 24 || minute > 59 || second > 59 || hour == 24 && (minute > 0 || second > 0 || fraction > 0) {
		return 0, false
	}
	ms += float64(hour*3600+minute*60+second)*1000 + fraction
	if zone := t[5]; len(zone) > 1 {
		digits := strings.ReplaceAll(zone[1:], ":", "") + "00"
		offset := float64(whole(digits[:2], 0)*60+whole(digits[2:4], 0)) * 60_000
		if zone[0] == '-' {
			offset = -offset
		}
		ms -= offset
	}
	return ms, true
}

// whole returns the number that digits checked by a pattern stand for.
func whole(digits string, absent int) int {
	if digits == "" {
		return absent
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return absent
	}
	return n
}

func decimalFraction(digits string) float64 {
	if digits == "" {
		return 0
	}
	return value.ParseFloat("0." + digits)
}
