// Package promwrite sends samples to where Prometheus reads them: by
// remote-write 1.0 and 2.0, to a Pushgateway, or as a file for the textfile
// collector of node_exporter.
//
// It sends what it is given or returns an error that names the receiver's
// setting: nothing is dropped, thinned or renamed on the way. It keeps no queue
// and starts no goroutine, and it never shows a password, a token or the query
// of a URL.
package promwrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Family is the series of one metric name.
type Family struct {
	Name   string
	Help   string // one sentence
	Unit   string // base unit as in the name, "" for none
	Type   Type
	Series []Series
}

// Type is the type of a metric.
type Type uint8

// The types that are sent.
const (
	Gauge Type = iota
	Counter
)

func (t Type) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Series is one set of labels and its samples.
type Series struct {
	Labels  []Label  // sorted by name, each name once, no empty value
	Samples []Sample // oldest first
}

// Label is one label of a series.
type Label struct{ Name, Value string }

// Sample is a value at a time.
type Sample struct {
	Time  int64 // milliseconds since 1970
	Value float64
}

// Count returns the numbers of series and of samples.
func Count(families []Family) (series, samples int) {
	for _, f := range families {
		series += len(f.Series)
		for _, s := range f.Series {
			samples += len(s.Samples)
		}
	}
	return series, samples
}

// Check tells what a receiver would refuse or, worse, misread: names that are
// none, labels out of order, two series of the same labels, samples out of
// order.
func Check(families []Family) error {
	names := make(map[string]bool, len(families))
	for _, f := range families {
		switch {
		case !IsMetricName(f.Name):
			return fmt.Errorf("check metric %q: not a metric name: letters, digits, _ and : only, no digit first", f.Name)
		case names[f.Name]:
			return fmt.Errorf("check metric %s: it is given twice", f.Name)
		}
		names[f.Name] = true
		seen := make(map[string]bool, len(f.Series))
		for i := range f.Series {
			s := &f.Series[i]
			if err := s.check(); err != nil {
				return fmt.Errorf("check series %s: %w", s.text(f.Name), err)
			}
			key := s.text("")
			if seen[key] {
				return fmt.Errorf("check series %s: two series have these labels", s.text(f.Name))
			}
			seen[key] = true
		}
	}
	return nil
}

func (s *Series) check() error {
	for i, l := range s.Labels {
		switch {
		case !IsLabelName(l.Name):
			return fmt.Errorf("%q is no label name: letters, digits and _ only, no digit first, not two _ first", l.Name)
		case l.Value == "":
			return fmt.Errorf("label %s is empty: leave it out", l.Name)
		case !utf8.ValidString(l.Value):
			return fmt.Errorf("label %s is not UTF-8", l.Name)
		case i > 0 && l.Name <= s.Labels[i-1].Name:
			return fmt.Errorf("label %s comes after %s: sort them, each name once", l.Name, s.Labels[i-1].Name)
		}
	}
	if len(s.Samples) == 0 {
		return errors.New("no sample")
	}
	for i := range s.Samples[1:] {
		if s.Samples[i+1].Time <= s.Samples[i].Time {
			return errors.New("two samples of the same time, or not the oldest first")
		}
	}
	return nil
}

// text returns the series as the text format writes it.
func (s *Series) text(name string) string { return string(s.append([]byte(name))) }

// SortLabels sorts labels by name and leaves out the empty ones, which mean the
// same as none.
func SortLabels(labels []Label) []Label {
	labels = slices.DeleteFunc(labels, func(l Label) bool { return l.Value == "" })
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

// IsMetricName reports whether s is a metric name of the classic character set,
// which every receiver takes.
func IsMetricName(s string) bool { return isName(s, ':') }

// IsLabelName reports whether s is a label name of the classic character set
// that is not reserved for the receiver's own use.
func IsLabelName(s string) bool { return isName(s, '_') && !strings.HasPrefix(s, "__") }

func isName(s string, extra byte) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == extra
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
