package kubernetes

import (
	"strconv"
	"strings"
	"testing"

	"noether/internal/export/balance"
)

// page is one scrape of an agent, audited: well-formed, no series twice, and
// the machine's energy is the sum of its owners' to the microjoule.
type page struct {
	text    string
	samples []balance.Sample
}

func readPage(t *testing.T, text string) page {
	t.Helper()
	if err := balance.Check([]byte(text)); err != nil {
		t.Errorf("the page does not balance: %v", err)
	}
	p := page{text: text}
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); line == "" || line[0] == '#' {
			continue
		}
		s, err := balance.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		p.samples = append(p.samples, s)
	}
	return p
}

// labels are pairs that a series must have; a value of "*" is any but none.
type labels []string

func (want labels) match(have map[string]string) bool {
	for i := 0; i+1 < len(want); i += 2 {
		got := have[want[i]]
		if want[i+1] == "*" && got == "" || want[i+1] != "*" && got != want[i+1] {
			return false
		}
	}
	return true
}

// all are the series of a family that have such labels.
func (p page) all(family string, want ...string) (found []balance.Sample) {
	for _, s := range p.samples {
		if s.Name == family && labels(want).match(s.Labels) {
			found = append(found, s)
		}
	}
	return found
}

// sum adds the values of a family's series that have such labels.
func (p page) sum(family string, want ...string) (sum float64) {
	for _, s := range p.all(family, want...) {
		v, _ := strconv.ParseFloat(s.Value, 64) // Parse has seen that it is one
		sum += v
	}
	return sum
}

// microjoules adds exactly.
func (p page) microjoules(t *testing.T, family string, want ...string) (sum int64) {
	t.Helper()
	for _, s := range p.all(family, want...) {
		e, err := balance.Microjoules(s.Value)
		if err != nil {
			t.Fatalf("%s: %v", s.Series, err)
		}
		sum += int64(e)
	}
	return sum
}
