package promwrite

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func sample() []Family {
	return []Family{
		{Name: "sci_grams", Help: "Score.", Unit: "grams", Series: []Series{
			{Labels: []Label{{"path", "/shop/a\"b\\c\n"}, {"pod", "é"}}, Samples: []Sample{{1000, 1.5}}},
			{Labels: []Label{{"path", "/"}}, Samples: []Sample{{1000, 0.30000000000000004}}},
		}},
		{Name: "empty", Help: "Nothing."},
		{Name: "units_total", Help: `Back\slash.`, Type: Counter, Series: []Series{{Samples: []Sample{{1000, math.Inf(1)}}}}},
	}
}

func TestText(t *testing.T) {
	got, err := text(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := `# HELP sci_grams Score.
# TYPE sci_grams gauge
sci_grams{path="/shop/a\"b\\c\n",pod="é"} 1.5
sci_grams{path="/"} 0.30000000000000004
# HELP units_total Back\\slash.
# TYPE units_total counter
units_total +Inf
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestCheck(t *testing.T) {
	one := []Sample{{1, 1}}
	for name, c := range map[string]struct {
		family Family
		want   string
	}{
		"metric name":    {Family{Name: "a-b"}, "not a metric name"},
		"label name":     {Family{Name: "a", Series: []Series{{[]Label{{"a-b", "x"}}, one}}}, "no label name"},
		"reserved":       {Family{Name: "a", Series: []Series{{[]Label{{"__name__", "x"}}, one}}}, "no label name"},
		"empty value":    {Family{Name: "a", Series: []Series{{[]Label{{"b", ""}}, one}}}, "is empty"},
		"not UTF-8":      {Family{Name: "a", Series: []Series{{[]Label{{"b", "\xff"}}, one}}}, "not UTF-8"},
		"unsorted":       {Family{Name: "a", Series: []Series{{[]Label{{"b", "x"}, {"a", "x"}}, one}}}, "label a comes after b"},
		"label twice":    {Family{Name: "a", Series: []Series{{[]Label{{"b", "x"}, {"b", "x"}}, one}}}, "label b comes after b"},
		"series twice":   {Family{Name: "a", Series: []Series{{[]Label{{"b", "x"}}, one}, {[]Label{{"b", "x"}}, one}}}, `a{b="x"}: two series`},
		"no sample":      {Family{Name: "a", Series: []Series{{}}}, "no sample"},
		"newest first":   {Family{Name: "a", Series: []Series{{nil, []Sample{{2, 1}, {1, 1}}}}}, "not the oldest first"},
		"time twice":     {Family{Name: "a", Series: []Series{{nil, []Sample{{2, 1}, {2, 1}}}}}, "same time"},
		"a good one":     {Family{Name: "a:b", Series: []Series{{[]Label{{"a", "x"}, {"b", "y"}}, []Sample{{1, 1}, {2, 1}}}}}, ""},
		"digit in front": {Family{Name: "1a"}, "not a metric name"},
	} {
		err := Check([]Family{c.family})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// decode1 and decode2 turn request bodies back into series, with the name as
// the receiver would store it.
func decode1(t testing.TB, body []byte) (out []string) {
	t.Helper()
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	var w prompb.WriteRequest
	if err := w.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	for _, ts := range w.Timeseries {
		s := Series{}
		for _, l := range ts.Labels {
			s.Labels = append(s.Labels, Label{l.Name, l.Value})
		}
		for _, x := range ts.Samples {
			out = append(out, show(s.text(""), x.Timestamp, x.Value))
		}
	}
	return out
}

func decode2(t testing.TB, body []byte) (out []string, r writev2.Request) {
	t.Helper()
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	for _, ts := range r.Timeseries {
		s := Series{}
		for i := 0; i < len(ts.LabelsRefs); i += 2 {
			s.Labels = append(s.Labels, Label{r.Symbols[ts.LabelsRefs[i]], r.Symbols[ts.LabelsRefs[i+1]]})
		}
		for _, x := range ts.Samples {
			out = append(out, show(s.text(""), x.Timestamp, x.Value))
		}
	}
	return out, r
}

func show(labels string, at int64, v float64) string {
	return labels + " " + string(appendValue(nil, v)) + " " + string(appendValue(nil, float64(at)))
}

// flat lists samples as show does.
func flat(families []Family) (out []string) {
	for _, f := range families {
		for _, s := range f.Series {
			named := Series{Labels: append([]Label{{"__name__", f.Name}}, s.Labels...)}
			for _, x := range s.Samples {
				out = append(out, show(named.text(""), x.Time, x.Value))
			}
		}
	}
	return out
}

// long returns series of many samples.
func long(series, samples int) []Family {
	f := Family{Name: "a"}
	for i := range series {
		s := Series{Labels: []Label{{"n", strings.Repeat("x", i+1)}}}
		for j := range samples {
			s.Samples = append(s.Samples, Sample{int64(j), float64(i * j)})
		}
		f.Series = append(f.Series, s)
	}
	return []Family{f}
}

func TestWhatIsDecodedIsWhatWasSent(t *testing.T) {
	for name, families := range map[string][]Family{"small": sample(), "long series": long(3, 12), "nothing": nil} {
		for _, limit := range []int{1, 5, 1000} {
			var e encoder
			var got1, got2 []string
			for b := range batches(families, limit) {
				if b.samples > limit {
					t.Errorf("%s: a batch of %d samples, more than %d", name, b.samples, limit)
				}
				body, err := e.encode1(b)
				if err != nil {
					t.Fatal(err)
				}
				got1 = append(got1, decode1(t, body)...)
				if body, err = e.encode2(b); err != nil {
					t.Fatal(err)
				}
				more, r := decode2(t, body)
				got2 = append(got2, more...)
				for _, ts := range r.Timeseries {
					help := r.Symbols[ts.Metadata.HelpRef]
					if want := map[writev2.Metadata_MetricType]string{writev2.Metadata_METRIC_TYPE_COUNTER: `Back\slash.`}[ts.Metadata.Type]; want != "" && help != want {
						t.Errorf("%s: help %q, want %q", name, help, want)
					}
				}
			}
			if diff := cmp.Diff(flat(families), got1); diff != "" {
				t.Errorf("%s in batches of %d, 1.0: %s", name, limit, diff)
			}
			if diff := cmp.Diff(flat(families), got2); diff != "" {
				t.Errorf("%s in batches of %d, 2.0: %s", name, limit, diff)
			}
		}
	}
}

// FuzzEncode sends any text as label and checks that it arrives.
func FuzzEncode(f *testing.F) {
	f.Add("a", "b", 1.0, int64(1))
	f.Add("\"\n\\", "é\x00", math.NaN(), int64(-1))
	f.Fuzz(func(t *testing.T, value, help string, v float64, at int64) {
		families := []Family{{Name: "m", Help: help, Series: []Series{{Labels: []Label{{"a", value}}, Samples: []Sample{{at, v}}}}}}
		if Check(families) != nil {
			return
		}
		var e encoder
		for b := range batches(families, 10) {
			body, err := e.encode1(b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(flat(families), decode1(t, body)); diff != "" {
				t.Error(diff)
			}
			if body, err = e.encode2(b); err != nil {
				t.Fatal(err)
			}
			if got, _ := decode2(t, body); !cmp.Equal(flat(families), got) {
				t.Error(cmp.Diff(flat(families), got))
			}
		}
		page, err := text(families)
		if err != nil || strings.Count(string(page), "\n") != 3 {
			t.Errorf("text of one series has three lines, got %q (%v)", page, err)
		}
	})
}

func TestEncodingKeepsItsMemory(t *testing.T) {
	families := long(100, 10)
	var e encoder
	for b := range batches(families, maxSamples) {
		for version, encode := range map[string]func(batch) ([]byte, error){"1.0": e.encode1, "2.0": e.encode2} {
			// The generated code of 2.0 makes a buffer for the references of each series.
			budget := map[string]float64{"1.0": 2, "2.0": 2 + 100}[version]
			if n := testing.AllocsPerRun(10, func() { _, _ = encode(b) }); n > budget {
				t.Errorf("%s: %v allocations for 100 series of 10 samples, want %v at most", version, n, budget)
			}
		}
	}
}

func TestSegment(t *testing.T) {
	for value, want := range map[string]string{
		"sci-checkout_1.0~x": "manifest/sci-checkout_1.0~x",
		"":                   "manifest@base64/=",
		"a/b":                "manifest@base64/YS9i",
		"a b":                "manifest@base64/YSBi",
		"..":                 "manifest@base64/Li4",
		"é":                  "manifest@base64/w6k",
		"a%2Fb":              "manifest@base64/YSUyRmI",
	} {
		if got := segment(Label{"manifest", value}); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestTextfile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "noether.prom")
	w, err := NewTextfile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second replaces the first
		if err := w.Write(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := text(sample())
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("%v, %q", err, got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, want what another user can read", info.Mode())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}

	if err := w.Write(t.Context(), long(1, 2)); err == nil || !strings.Contains(err.Error(), "use remote-write") {
		t.Errorf("two samples of a series: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != string(want) {
		t.Errorf("a write that failed changed the file: %q", got)
	}
	w, _ = NewTextfile(filepath.Join(dir, "none", "a.prom"))
	if err := w.Write(t.Context(), sample()); err == nil || !strings.Contains(err.Error(), "--collector.textfile.directory") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := NewTextfile(filepath.Join(dir, "a.txt")); err == nil || !strings.Contains(err.Error(), ".prom") {
		t.Errorf("a name that nobody reads: %v", err)
	}
	// What cannot be replaced leaves nothing beside it.
	if err := os.Mkdir(filepath.Join(dir, "d.prom"), 0o755); err != nil {
		t.Fatal(err)
	}
	w, _ = NewTextfile(filepath.Join(dir, "d.prom"))
	if err := w.Write(t.Context(), sample()); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}
