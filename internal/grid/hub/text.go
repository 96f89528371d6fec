package hub

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"noether/internal/grid/fetch"
)

// mostLabels is more than a line of a hub has.
const mostLabels = 64

var (
	errName   = errors.New("a line does not begin with a name")
	errLabels = errors.New("its labels are not written as name=\"value\"")
	errValue  = errors.New("its value is not a number")
)

// series is a line of a page.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

// eachSeries calls f with each series of a page in the text format of
// Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). Comments,
// types and times are passed over; anything else that the format does not have
// is an error, as is a last line without an end: the page was cut short.
func eachSeries(page string, f func(series) error) error {
	for n := 1; page != ""; n++ {
		line, rest, whole := strings.Cut(page, "\n")
		if !whole {
			return fmt.Errorf("line %d has no end: the page was cut short", n)
		}
		page = rest
		if line = strings.Trim(line, " \t"); line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSeries(line)
		if err == nil {
			err = f(s)
		}
		if err != nil {
			return fmt.Errorf("line %d, %s: %w", n, fetch.Quote(line, 100), err)
		}
	}
	return nil
}

func parseSeries(line string) (s series, err error) {
	if s.name, line = name(line); s.name == "" {
		return s, errName
	}
	if line = strings.TrimLeft(line, " \t"); strings.HasPrefix(line, "{") {
		if s.labels, line, err = labels(line[1:]); err != nil {
			return s, err
		}
	}
	fields := strings.Fields(line)
	if len(fields) < 1 || len(fields) > 2 {
		return s, errValue
	}
	if s.value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return s, errValue
	}
	if len(fields) == 2 {
		if _, err := strconv.ParseInt(fields[1], 10, 64); err != nil {
			return s, errors.New("its time is not a number of milliseconds")
		}
	}
	return s, nil
}

// name takes the name that s begins with.
func name(s string) (name, rest string) {
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] == ':' || 'a' <= s[i]|0x20 && s[i]|0x20 <= 'z' || i > 0 && '0' <= s[i] && s[i] <= '9') {
		i++
	}
	return s[:i], s[i:]
}

// labels takes the labels that s begins with, and the brace after them.
func labels(s string) (out map[string]string, rest string, err error) {
	out = map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t")
		if strings.HasPrefix(s, "}") {
			return out, s[1:], nil
		}
		var key, value string
		if key, s = name(s); key == "" {
			return nil, "", errLabels
		}
		s = strings.TrimLeft(s, " \t")
		if !strings.HasPrefix(s, "=") {
			return nil, "", errLabels
		}
		if value, s, err = quoted(strings.TrimLeft(s[1:], " \t")); err != nil {
			return nil, "", err
		}
		if _, twice := out[key]; twice || len(out) == mostLabels {
			return nil, "", errLabels
		}
		out[key] = value
		s = strings.TrimLeft(s, " \t")
		switch {
		case strings.HasPrefix(s, ","):
			s = s[1:]
		case !strings.HasPrefix(s, "}"):
			return nil, "", errLabels
		}
	}
}

// quoted takes the value in quotes that s begins with; \\, \" and \n stand for
// a backslash, a quote and the end of a line.
func quoted(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errLabels
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errLabels
			}
			switch s[i] {
			case '\\', '"':
				b.WriteByte(s[i])
			case 'n':
				b.WriteByte('\n')
			default:
				return "", "", errLabels
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errLabels
}
