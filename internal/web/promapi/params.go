package promapi

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The times that queries may name, in seconds since 1970: the years 1 to 9999.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// parseTime reads seconds since 1970, or RFC 3339. Seconds have whole
// milliseconds, as Prometheus reads them.
func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f >= minSeconds && f <= maxSeconds) {
			return time.Time{}, fmt.Errorf("cannot take %.40q for a time: it is not within the years 1 to 9999", s)
		}
		whole, frac := math.Modf(f)
		return time.Unix(int64(whole), int64(math.Round(frac*1000)*1e6)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot parse %.40q to a valid timestamp: give seconds since 1970 or RFC 3339", s)
	}
	if sec := t.Unix(); sec < minSeconds || sec > maxSeconds {
		return time.Time{}, fmt.Errorf("cannot take %.40q for a time: it is not within the years 1 to 9999", s)
	}
	return t, nil
}

// parseDuration reads seconds, or Prometheus' way to write durations.
func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		ns := f * float64(time.Second)
		if !(ns > math.MinInt64 && ns < math.MaxInt64) {
			return 0, fmt.Errorf("cannot parse %.40q to a valid duration: it is too long", s)
		}
		return time.Duration(ns), nil
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("cannot parse %.40q to a valid duration: give seconds or a number and a unit such as 5m", s)
	}
	return time.Duration(d), nil
}

// invalid is the error of a parameter that cannot be read.
func invalid(parameter string, err error) error {
	return &fault{badData, fmt.Errorf("invalid parameter %q: %w", parameter, err)}
}

// limitOf reads the parameter limit; 0 means none.
func limitOf(form url.Values) (int, error) {
	s := form.Get("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, invalid("limit", fmt.Errorf("%.40q is not a whole number", s))
	}
	if n < 0 {
		return 0, invalid("limit", errors.New("limit must be non-negative"))
	}
	return n, nil
}

// rangeOf reads the optional times start and end of requests for labels, in
// milliseconds. Clients that mean "all" send times beyond the years that
// queries may name: those bound nothing.
func rangeOf(form url.Values) (from, to int64, err error) {
	from, to = math.MinInt64, math.MaxInt64
	for name, at := range map[string]*int64{"start": &from, "end": &to} {
		s := form.Get(name)
		if s == "" || beyond(s) {
			continue
		}
		t, err := parseTime(s)
		if err != nil {
			return 0, 0, invalid(name, err)
		}
		*at = t.UnixMilli()
	}
	return from, to, nil
}

// beyond tells whether s is a time that Go's clients of Prometheus send for
// the beginning or the end of all times, or a number as far away.
func beyond(s string) bool {
	if s == "-292273086-05-16T16:47:06Z" || s == "292277025-08-18T07:12:54.999999999Z" { // MinTime and MaxTime of Prometheus' web/api/v1
		return true
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && (f < minSeconds || f > maxSeconds)
}

// selectorsOf reads match[]. Each set must name something: {} and {a=~".*"}
// would stand for every series.
func selectorsOf(form url.Values) ([][]*labels.Matcher, error) {
	length, matchers, patterns := 0, 0, 0
	for _, s := range form["match[]"] {
		if length += len(s); length > maxQuery {
			return nil, invalid("match[]", tooLong(length))
		}
		if err := measure(s, &patterns); err != nil {
			return nil, invalid("match[]", err)
		}
	}
	sets, err := parser.ParseMetricSelectors(form["match[]"])
	if err != nil {
		return nil, invalid("match[]", err)
	}
	for _, set := range sets {
		matchers += len(set)
		if matchers > maxMatchers {
			return nil, invalid("match[]", tooManyMatchers())
		}
		if !narrows(set) {
			return nil, invalid("match[]", errors.New("match[] must contain at least one non-empty matcher"))
		}
	}
	return sets, nil
}

func narrows(set []*labels.Matcher) bool {
	for _, m := range set {
		if !m.Matches("") {
			return true
		}
	}
	return false
}

func tooLong(length int) error {
	return fmt.Errorf("it has %d bytes, more than %d: ask in several requests", length, maxQuery)
}

func tooManyMatchers() error {
	return fmt.Errorf("it has more than %d label matchers or commas: ask in several requests, or by a regular expression", maxMatchers)
}
