package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/impact"
	"noether/internal/impact/builtin"
	"noether/internal/impact/jsyaml"
	"noether/internal/impact/plugin"
	"noether/internal/impact/report"
	"noether/internal/impact/value"
)

var update = flag.Bool("update", false, "write testdata/checkout.md and testdata/explain.txt")

// ran runs a manifest as impact run does, on a machine that is always the same.
func ran(t *testing.T, src []byte) *impact.Outcome {
	t.Helper()
	m, err := jsyaml.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	e := value.NewObject(2)
	e.Set("if-version", value.Text("1.1.0"))
	e.Set("dependencies", value.Texts("noether@test"))
	return impact.Run(t.Context(), m, impact.Options{
		Env: &plugin.Env{
			Dialect: plugin.Noether(), Now: time.Now, Getenv: func(string) string { return "" },
			Warn: func(format string, args ...any) { t.Logf(format, args...) }, Random: rand.Float64,
		},
		Methods: builtin.Methods(), Command: "test", Environment: e,
	})
}

func checkout(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile("testdata/checkout.yml")
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func disclose(t *testing.T, src []byte) *report.Disclosure {
	t.Helper()
	d, err := report.New(ran(t, src).Output, builtin.Methods())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// golden compares text with a file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (go test ./internal/impact/report -update):\n%s", path, diff)
	}
}

func TestCheckout(t *testing.T) {
	d := disclose(t, checkout(t))
	// By hand: 144,000 J are 0.04 kWh, at 350 g 14 g. Of four slots each has
	// (1,000,000 + 3 × 100,000) g × 0.25 × 1800 s ÷ 126,144,000 s embodied.
	// 4000 requests of the system are counted once, not for each component.
	embodied := 4 * 1.3e6 * 0.25 * 1800 / 126144000
	s := d.Score
	for _, c := range []struct {
		what      string
		got, want float64
	}{
		{"energy", *s.Energy, 0.04},
		{"operational", *s.Operational, 14},
		{"embodied", *s.Embodied, embodied},
		{"carbon", s.Carbon, 14 + embodied},
		{"units", s.Units, 4000},
		{"duration", s.Duration, 3600},
		{"sci", s.SCI, (14 + embodied) / 4000},
	} {
		if math.Abs(c.got-c.want) > 1e-12*c.want {
			t.Errorf("%s %v, want %v", c.what, c.got, c.want)
		}
	}
	var b bytes.Buffer
	if err := d.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/checkout.md", b.Bytes())
	b.Reset()
	if err := d.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Score struct {
			SCI float64 `json:"sci_grams"`
		} `json:"score"`
		Boundary []string `json:"software_boundary"`
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Score.SCI != s.SCI || len(back.Boundary) != 2 {
		t.Error(err, b.String())
	}
}

func TestExplain(t *testing.T) {
	e, err := impact.Explain(ran(t, checkout(t)).Output.Object(), builtin.Methods(), "tree.children.web.outputs[1].sci")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.Explain(&b, e); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/explain.txt", b.Bytes())
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	src := string(checkout(t))
	before, rest, _ := strings.Cut(src, "disclosure:")
	_, after, _ := strings.Cut(rest, "initialize:")
	for name, c := range map[string]struct {
		src  string
		want []string // beginnings
	}{
		"all is there": {src, nil},
		"no boundary":  {before + "initialize:" + after, []string{"the software boundary"}},
		"no score":     {strings.Replace(src, "carbon, sci]", "carbon]", 1), []string{"the score"}},
	} {
		d := disclose(t, []byte(c.src))
		ok := len(d.Missing) == len(c.want)
		for i := range min(len(d.Missing), len(c.want)) {
			ok = ok && strings.HasPrefix(d.Missing[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", name, d.Missing, c.want)
		}
	}
}

func TestFailuresAreShown(t *testing.T) {
	d := disclose(t, []byte(strings.Replace(string(checkout(t)), "joules: 18000, requests: 1000", "requests: 1000", 1)))
	var b bytes.Buffer
	if err := d.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "**The run failed, so these figures are not complete:** InputValidationError") {
		t.Error(b.String())
	}
	for _, c := range d.Components {
		if failed := c.Error != ""; failed != (c.Path == "tree.children.database") {
			t.Errorf("%+v", c)
		}
	}
}

func TestManifestsAreNoMarkup(t *testing.T) {
	src := strings.NewReplacer("name: checkout", `name: "<script>|x|\n# y"`, "its database", `"a | b <img> [l](javascript:x)"`, "web:", `"a|b":`).Replace(string(checkout(t)))
	var b bytes.Buffer
	if err := disclose(t, []byte(src)).Markdown(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, bad := range []string{"<script", "<img", "\n# y", "[l]("} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is in:\n%s", bad, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, `a\|b`) {
			return
		}
	}
	t.Errorf("the component's name is not there:\n%s", text)
}

func TestNoManifest(t *testing.T) {
	for _, v := range []value.Value{{}, value.Of(1), value.NewObject(0).Value()} {
		if d, err := report.New(v, nil); err == nil {
			t.Errorf("%v: %+v", v, d)
		}
	}
}
