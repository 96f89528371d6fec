// Package balance checks a page of metrics the way an auditor would: from its
// text alone, in whole microjoules and nanograms. It knows the names of the families and
// nothing of the agent.
package balance

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"noether/internal/unit"
)

// Account is what the machine and its owners have of one thing, as a page
// states it.
type Account[T ~int64] struct {
	Node T
	// Owners, by the word in the name of their family: pod, container (outside
	// pods), vm, session, unit, system, and retired.
	Owners map[string]T
}

// Books is the energy of one component.
type Books = Account[unit.Energy]

// Accounted returns the sum of the owners.
func (b *Account[T]) Accounted() (sum T) {
	for _, e := range b.Owners {
		sum += e
	}
	return sum
}

// Check returns an error unless page is well-formed, has no series twice, and
// balances: the energy of each component and the CO2e of each phase, the
// machine equals pods, containers outside pods, virtual machines, units,
// sessions, system accounts and what is retired.
func Check(page []byte) error {
	joules, grams, err := read(page)
	if err != nil {
		return err
	}
	return errors.Join(check("component", "µJ", joules), check("phase", "ng", grams))
}

func check[T ~int64](what, unit string, books map[string]*Account[T]) error {
	var errs []error
	for _, c := range slices.Sorted(maps.Keys(books)) {
		if b := books[c]; b.Node != b.Accounted() {
			errs = append(errs, fmt.Errorf("balance %s %q: machine %d %s less accounts %d %s leaves %d %s (%v)",
				what, c, b.Node, unit, b.Accounted(), unit, b.Node-b.Accounted(), unit, b.Owners))
		}
	}
	return errors.Join(errs...)
}

// Read returns the books of each component on the page.
func Read(page []byte) (map[string]*Books, error) {
	joules, _, err := read(page)
	return joules, err
}

// ReadCO2e returns the CO2e of each phase on the page.
func ReadCO2e(page []byte) (map[string]*Account[unit.Mass], error) {
	_, grams, err := read(page)
	return grams, err
}

func read(page []byte) (joules map[string]*Books, grams map[string]*Account[unit.Mass], err error) {
	joules, grams = map[string]*Books{}, map[string]*Account[unit.Mass]{}
	seen := map[string]bool{}
	n := 0
	for line := range bytes.Lines(page) {
		n++
		text := strings.TrimSuffix(string(line), "\n")
		if text == "" || text[0] == '#' {
			continue
		}
		s, err := Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("read line %d: %w", n, err)
		}
		if seen[s.Series] {
			return nil, nil, fmt.Errorf("read line %d: series %s is there twice", n, s.Series)
		}
		seen[s.Series] = true
		owner, unit, known := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s.Name, "noether_"), "_total"), "_")
		switch {
		case !known || !slices.Contains([]string{"node", "pod", "container", "vm", "unit", "session", "system", "retired"}, owner):
			continue
		case owner == "container" && s.Labels["pod_uid"] != "":
			continue // inside its pod's
		}
		switch unit {
		case "joules":
			err = add(joules, s.Labels["component"], owner, s.Value, Microjoules)
		case "co2e_grams":
			err = add(grams, s.Labels["phase"], owner, s.Value, Nanograms)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read line %d: %w", n, err)
		}
	}
	return joules, grams, nil
}

func add[T ~int64](books map[string]*Account[T], of, owner, value string, parse func(string) (T, error)) error {
	amount, err := parse(value)
	if err != nil {
		return err
	}
	if books[of] == nil {
		books[of] = &Account[T]{Owners: map[string]T{}}
	}
	if owner == "node" {
		books[of].Node += amount
	} else {
		books[of].Owners[owner] += amount
	}
	return nil
}

// Sample is one line of a page.
type Sample struct {
	Name   string
	Labels map[string]string
	Series string // the line up to its value
	Value  string
}

// Parse reads one sample of either text format. It takes no timestamp: the
// agent's pages have none.
func Parse(line string) (Sample, error) {
	s := Sample{Labels: map[string]string{}}
	if !utf8.ValidString(line) {
		return s, fmt.Errorf("parse %q: not UTF-8", line)
	}
	end := strings.IndexAny(line, "{ ")
	if end <= 0 {
		return s, fmt.Errorf("parse %q: no name and value", line)
	}
	s.Name = line[:end]
	rest := line[end:]
	if rest[0] == '{' {
		var err error
		if rest, err = s.parseLabels(rest[1:]); err != nil {
			return s, fmt.Errorf("parse %q: %w", line, err)
		}
	}
	s.Series = line[:len(line)-len(rest)]
	value, ok := strings.CutPrefix(rest, " ")
	if _, err := strconv.ParseFloat(value, 64); !ok || err != nil {
		return s, fmt.Errorf("parse %q: the value %q is not a number", line, value)
	}
	s.Value = value
	return s, nil
}

func (s *Sample) parseLabels(rest string) (string, error) {
	for {
		name, after, ok := strings.Cut(rest, `="`)
		if !ok || name == "" {
			return "", fmt.Errorf("no label at %q", rest)
		}
		if _, twice := s.Labels[name]; twice {
			return "", fmt.Errorf("label %q is there twice", name)
		}
		var value strings.Builder
		i := 0
		for ; i < len(after) && after[i] != '"'; i++ {
			if after[i] != '\\' {
				value.WriteByte(after[i])
				continue
			}
			if i++; i == len(after) {
				break
			}
			switch after[i] {
			case 'n':
				value.WriteByte('\n')
			case '\\', '"':
				value.WriteByte(after[i])
			default:
				return "", fmt.Errorf("label %q has the unknown escape \\%c", name, after[i])
			}
		}
		if i >= len(after) {
			return "", fmt.Errorf("label %q does not end", name)
		}
		s.Labels[name] = value.String()
		switch rest = after[i+1:]; {
		case strings.HasPrefix(rest, ","):
			rest = rest[1:]
		case strings.HasPrefix(rest, "}"):
			return rest[1:], nil
		default:
			return "", fmt.Errorf("label %q is followed by %q", name, rest)
		}
	}
}

// Microjoules returns the joules that s states as a plain decimal. Anything
// that is not a whole number of microjoules is an error.
func Microjoules(s string) (unit.Energy, error) {
	n, err := decimal(s, 6, "joules", "microjoule")
	return unit.Energy(n), err
}

// Nanograms returns the grams that s states as a plain decimal. Anything that
// is not a whole number of nanograms is an error.
func Nanograms(s string) (unit.Mass, error) {
	n, err := decimal(s, 9, "grams", "nanogram")
	return unit.Mass(n), err
}

func decimal(s string, places int, what, least string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if len(frac) > places {
		return 0, fmt.Errorf("read %q as %s: finer than a %s", s, what, least)
	}
	n, err := strconv.ParseUint(whole+frac+strings.Repeat("0", places-len(frac)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("read %q as %s: %w", s, what, err)
	}
	if negative {
		return -int64(n), nil
	}
	return int64(n), nil
}
