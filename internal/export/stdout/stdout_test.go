package stdout

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files")

func write(t *testing.T, s *snapshot.Snapshot, opt Options) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, s, opt); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, width := range []int{48, 80, 120} {
		got := write(t, exporttest.Snapshot(), Options{Width: width, Top: 7})
		file := filepath.Join("testdata", strconv.Itoa(width)+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
		}
	}
}

func TestEveryJouleIsListedOnce(t *testing.T) {
	s := exporttest.Snapshot()
	list, all := consumers(s)
	var node, sum unit.Energy
	for i := range s.Nodes {
		node += s.Nodes[i].Delta[0] + s.Nodes[i].Delta[1]
	}
	for i := range list {
		sum += list[i].used
	}
	if all != node || sum != node {
		t.Errorf("the machine used %d µJ, the list has %d of %d", node, sum, all)
	}
}

func TestATickWithoutEnergySaysWhereToLook(t *testing.T) {
	if got := write(t, &snapshot.Snapshot{}, Options{}); !strings.Contains(got, "noether check") {
		t.Error(got)
	}
}

func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcdef", 5, "ab…ef"}, {"abcdef", 1, "…"}, {"ééééé", 4, "éé…é"}} {
		if got := shorten(tt.in, tt.width); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a\"\n\xff\x1b[2J", 60)
	f.Fuzz(func(t *testing.T, name string, width int) {
		s := exporttest.Snapshot()
		lines := strings.Count(write(t, s, Options{Top: 100}), "\n")
		s.Node = name
		s.Sessions[0].Owner = &workload.Owner{Kind: workload.SessionOwner, User: name}
		width = max(minWidth, min(width, 500))
		got := write(t, s, Options{Width: width, Top: 100})
		if !utf8.ValidString(got) || strings.ContainsRune(got, '\x1b') || strings.Count(got, "\n") != lines {
			t.Errorf("%q", got)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
	})
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAWriterThatFailsIsReported(t *testing.T) {
	if err := Write(full{}, exporttest.Snapshot(), Options{}); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Error(err)
	}
}
