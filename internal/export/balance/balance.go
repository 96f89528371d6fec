// Package balance checks a page of metrics the way an auditor would: from its
// text alone, in whole microjoules. It knows the names of the families and
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

// Books is the energy of one component, as a page states it.
type Books struct {
	Node unit.Energy
	// Owners, by the word in the name of their family: pod, container (outside
	// pods), vm, session, unit, system, and retired.
	Owners map[string]unit.Energy
}

// Accounted returns the sum of the owners.
func (b *Books) Accounted() (sum unit.Energy) {
	for _, e := range b.Owners {
		sum += e
	}
	return sum
}

// Check returns an error unless page is well-formed, has no series twice, and
// balances: per component, the machine equals pods, containers outside pods,
// virtual machines, units, sessions, system accounts and what is retired.
func Check(page []byte) error {
	books, err := Read(page)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range slices.Sorted(maps.Keys(books)) {
		if b := books[c]; b.Node != b.Accounted() {
			errs = append(errs, fmt.Errorf("balance component %q: machine %d µJ less accounts %d µJ leaves %d µJ (%v)", c, b.Node, b.Accounted(), b.Node-b.Accounted(), b.Owners))
		}
	}
	return errors.Join(errs...)
}

// Read returns the books of each component on the page.
func Read(page []byte) (map[string]*Books, error) {
	books := map[string]*Books{}
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
			return nil, fmt.Errorf("read line %d: %w", n, err)
		}
		if seen[s.Series] {
			return nil, fmt.Errorf("read line %d: series %s is there twice", n, s.Series)
		}
		seen[s.Series] = true
		owner := ""
		switch s.Name {
		case "noether_node_joules_total":
		case "noether_retired_joules":
			owner = "retired"
		case "noether_pod_joules_total", "noether_vm_joules_total", "noether_unit_joules_total", "noether_session_joules_total", "noether_system_joules_total":
			owner = strings.TrimSuffix(strings.TrimPrefix(s.Name, "noether_"), "_joules_total")
		case "noether_container_joules_total":
			if s.Labels["pod_uid"] != "" {
				continue // inside its pod's
			}
			owner = "container"
		default:
			continue
		}
		e, err := Microjoules(s.Value)
		if err != nil {
			return nil, fmt.Errorf("read line %d: %w", n, err)
		}
		c := s.Labels["component"]
		if books[c] == nil {
			books[c] = &Books{Owners: map[string]unit.Energy{}}
		}
		if owner == "" {
			books[c].Node += e
		} else {
			books[c].Owners[owner] += e
		}
	}
	return books, nil
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
	digits, negative := strings.CutPrefix(s, "-")
	whole, frac, _ := strings.Cut(digits, ".")
	if len(frac) > 6 {
		return 0, fmt.Errorf("read %q as joules: finer than a microjoule", s)
	}
	n, err := strconv.ParseUint(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("read %q as joules: %w", s, err)
	}
	if negative {
		return -unit.Energy(n), nil
	}
	return unit.Energy(n), nil
}
