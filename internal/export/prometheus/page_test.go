package prometheus

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"noether/internal/export"
	"noether/internal/export/balance"
	"noether/internal/export/exporttest"
	"noether/internal/snapshot"
	"noether/internal/unit"
	"noether/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pageOf(s *snapshot.Snapshot) *Page {
	return NewPage(func() *snapshot.Snapshot { return s }, exporttest.About())
}

func TestGolden(t *testing.T) {
	for name, tt := range map[string]struct {
		snap   *snapshot.Snapshot
		format Format
	}{
		"full.prom":        {exporttest.Snapshot(), Text},
		"full.openmetrics": {exporttest.Snapshot(), OpenMetrics},
		"empty.prom":       {nil, Text},
	} {
		t.Run(name, func(t *testing.T) {
			got := pageOf(tt.snap).Append(nil, tt.format)
			if err := balance.Check(got); err != nil {
				t.Error(err)
			}
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
			}
		})
	}
}

func TestPromtoolAcceptsThePage(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian package prometheus): ", err)
	}
	for name, s := range map[string]*snapshot.Snapshot{"full": exporttest.Snapshot(), "none yet": nil, "large": exporttest.Large(100)} {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(pageOf(s).Append(nil, Text))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s", name, err, out)
		}
	}
}

// strict reads a page by the rules of both formats: metadata once and before
// the samples, samples of a family together, suffixes by type.
func strict(t *testing.T, page []byte, format Format) {
	t.Helper()
	lines := strings.Split(string(page), "\n")
	if lines[len(lines)-1] != "" {
		t.Fatal("the last line does not end")
	}
	lines = lines[:len(lines)-1]
	if format == OpenMetrics {
		if lines[len(lines)-1] != "# EOF" {
			t.Fatalf("the last line is %q, not # EOF", lines[len(lines)-1])
		}
		lines = lines[:len(lines)-1]
	}
	done := map[string]bool{}
	var name, kind string
	helped := ""
	for _, line := range lines {
		word := strings.SplitN(line, " ", 4)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			if done[word[2]] {
				t.Errorf("family %s is there twice", word[2])
			}
			done[word[2]], helped = true, word[2]
		case strings.HasPrefix(line, "# TYPE "):
			if word[2] != helped {
				t.Errorf("TYPE %s does not follow its HELP", word[2])
			}
			name, kind = word[2], word[3]
		case strings.HasPrefix(line, "# UNIT "):
			if word[2] != name || !strings.HasSuffix(name, "_"+word[3]) || format != OpenMetrics {
				t.Errorf("unit %q of %s", word[3], word[2])
			}
		case strings.HasPrefix(line, "#"):
			t.Errorf("comment %q", line)
		default:
			s, err := balance.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			want := name
			if format == OpenMetrics {
				want += map[string]string{"counter": "_total", "info": "_info"}[kind]
			}
			if s.Name != want {
				t.Errorf("sample %s stands below %s %s", s.Name, kind, name)
			}
			if (kind == "counter") != strings.HasSuffix(s.Name, "_total") {
				t.Errorf("%s is a %s", s.Name, kind)
			}
			for label, value := range s.Labels {
				if value == "" || len(value) > export.MaxLabel {
					t.Errorf("label %s of %s has %d bytes", label, s.Series, len(value))
				}
			}
		}
	}
}

func TestEveryPageIsStrictAndBalances(t *testing.T) {
	for seed := range uint64(100) {
		s := exporttest.Random(rand.New(rand.NewPCG(seed, 1)))
		p := pageOf(s)
		for _, format := range []Format{Text, OpenMetrics} {
			page := p.Append(nil, format)
			strict(t, page, format)
			if err := balance.Check(page); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			books, _ := balance.Read(page)
			if got, want := books["cpu"].Node, s.Nodes[0].Total[0]+s.Nodes[0].Total[1]; got != want {
				t.Fatalf("seed %d: the page says %d µJ, the snapshot %d", seed, got, want)
			}
			grams, _ := balance.ReadCO2e(page)
			for p, emitted := range export.Emitted(s) {
				switch phase := snapshot.Phase(p); {
				case !emitted && grams[phase.String()] != nil:
					t.Fatalf("seed %d: the page tells of %s grams", seed, phase)
				case emitted && grams[phase.String()].Node != s.Footprint.CO2e[p]:
					t.Fatalf("seed %d: the page says %d ng %s, the snapshot %d", seed, grams[phase.String()].Node, phase, s.Footprint.CO2e[p])
				}
			}
		}
	}
	strict(t, pageOf(nil).Append(nil, OpenMetrics), OpenMetrics)
}

func TestAPageThatDoesNotBalanceIsCaught(t *testing.T) {
	s := exporttest.Snapshot()
	s.Units[0].Total[0][0]++
	if err := balance.Check(pageOf(s).Append(nil, Text)); err == nil {
		t.Error("a microjoule too many went unnoticed")
	}
	s = exporttest.Snapshot()
	s.Units[0].Footprint.CO2e[snapshot.Embodied]++
	if err := balance.Check(pageOf(s).Append(nil, Text)); err == nil {
		t.Error("a nanogram too many went unnoticed")
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]Format{
		"":    Text,
		"*/*": Text,
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1":                                                                     OpenMetrics,
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3": OpenMetrics,
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3":                                                                           Text,
		"application/openmetrics-text; version=\"1.0.0\"":                             OpenMetrics,
		"Application/OpenMetrics-Text":                                                OpenMetrics,
		"application/openmetrics-text;version=0.0.1":                                  Text,
		"application/openmetrics-text;version=2.0.0":                                  Text,
		"application/openmetrics-text;q=0":                                            Text,
		"application/openmetrics-text;q=0.5,text/plain":                               Text,
		"application/openmetrics-text;q=NaN":                                          Text,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8":  Text,
		";;;q==,,=;application/openmetrics-text;q=1;version=1.0.0,":                   Text,
		"application/openmetrics-text ; version=1.0.0 ; q=0.9 , text/plain ; q = 0.8": OpenMetrics,
	} {
		if got := negotiate([]string{accept}); got != want {
			t.Errorf("Accept %q: format %d, want %d", accept, got, want)
		}
	}
	for encoding, want := range map[string]bool{
		"": false, "gzip": true, "GZIP;q=0.5, br": true, "deflate": false, "gzip;q=0": false, "*": true,
		"*;q=0": false, "gzip;q=0,*": false, "identity, *;q=0.1": true, "gzip;q=2": false,
	} {
		if got := AcceptsGzip([]string{encoding}); got != want {
			t.Errorf("Accept-Encoding %q: %v, want %v", encoding, got, want)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	f.Add("gzip;q=1.0, *;q=0")
	f.Fuzz(func(t *testing.T, field string) {
		if negotiate([]string{field}) == OpenMetrics && !strings.Contains(strings.ToLower(field), "openmetrics") {
			t.Errorf("Accept %q gave OpenMetrics", field)
		}
		if AcceptsGzip([]string{field}) && !strings.Contains(strings.ToLower(field), "gzip") && !strings.Contains(field, "*") {
			t.Errorf("Accept-Encoding %q gave gzip", field)
		}
	})
}

// FuzzLabel holds that any name comes out as one valid label, and that names
// that are valid already come back unchanged.
func FuzzLabel(f *testing.F) {
	for _, s := range []string{"a\") R 1\n", "\xff\xfeab", "énergie-mesur\xc3", `\x2d`, "\x1b[2J", strings.Repeat("x", 600), "é\x00\u0085\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s := exporttest.Snapshot()
		s.Units = []snapshot.Account{s.Units[0]}
		s.Units[0].Owner = &workload.Owner{Kind: workload.UnitOwner, Unit: name}
		s.Processes[0].Name = &snapshot.ProcessName{PID: 7, Comm: name, ContainerID: name}
		page := pageOf(s).Append(nil, Text)
		for line := range strings.Lines(string(page)) {
			if !strings.HasPrefix(line, "noether_unit_cpu_seconds_total") {
				continue
			}
			got, err := balance.Parse(strings.TrimSuffix(line, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			want, _ := export.Clean(name)
			if got.Labels["unit"] != want {
				t.Errorf("unit %q came out as %q", name, got.Labels["unit"])
			}
		}
		strict(t, page, Text)
	})
}

func TestNumbersAreExact(t *testing.T) {
	for _, n := range []int64{0, 1, 10, 999_999, 1_000_000, 1_000_001, 1_100_000, 123_456_789, 1<<63 - 1} {
		if got, want := string(appendMicro(nil, uint64(n))), string(unit.AppendDecimal(nil, n, 6)); got != want {
			t.Errorf("%d µJ: %s, want %s", n, got, want)
		}
	}
}

func get(t *testing.T, h http.Handler, method string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/metrics", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHTTP(t *testing.T) {
	p := pageOf(exporttest.Snapshot())
	plain := string(p.Append(nil, Text))

	res := get(t, p, http.MethodGet)
	if res.Code != http.StatusOK || res.Body.String() != plain || res.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" || res.Header().Get("Content-Length") != strconv.Itoa(len(plain)) {
		t.Errorf("GET: %d %v, %d bytes", res.Code, res.Header(), res.Body.Len())
	}

	res = get(t, p, http.MethodGet, "Accept-Encoding", "gzip", "Accept", "application/openmetrics-text")
	zr, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(zr)
	if err != nil || !bytes.Equal(body, p.Append(nil, OpenMetrics)) {
		t.Errorf("compressed: %v, %d bytes", err, len(body))
	}
	if h := res.Header(); h.Get("Content-Encoding") != "gzip" || h.Get("Content-Type") != OpenMetrics.ContentType() || h.Get("Vary") != "Accept, Accept-Encoding" {
		t.Errorf("compressed: %v", h)
	}

	if res = get(t, p, http.MethodHead); res.Body.Len() != 0 || res.Header().Get("Content-Length") != strconv.Itoa(len(plain)) {
		t.Errorf("HEAD: %d bytes, %v", res.Body.Len(), res.Header())
	}
	if res = get(t, p, http.MethodPost); res.Code != http.StatusMethodNotAllowed || res.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", res.Code, res.Header())
	}
}

func TestALargePageSurvivesCompression(t *testing.T) {
	p := pageOf(exporttest.Large(3000)) // several chunks
	b := p.acquire(OpenMetrics, true)
	defer b.release()
	zr, err := gzip.NewReader(bytes.NewReader(b.data))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(zr)
	if want := p.Append(nil, OpenMetrics); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %d bytes, want %d", err, len(got), len(want))
	}
	if err := balance.Check(got); err != nil {
		t.Error(err)
	}
}

// slowWriter looks at the page in small pieces, while others ask for newer ones.
type slowWriter struct {
	header http.Header
	read   func([]byte)
}

func (w *slowWriter) Header() http.Header { return w.header }
func (w *slowWriter) WriteHeader(int)     {}
func (w *slowWriter) Write(p []byte) (int, error) {
	w.read(p)
	return len(p), nil
}

func TestScrapersShareOnePageAndNeverSeeItChange(t *testing.T) {
	var mu sync.Mutex
	var current atomic.Pointer[snapshot.Snapshot]
	current.Store(exporttest.Snapshot())
	publish := func() {
		mu.Lock()
		defer mu.Unlock()
		s := *current.Load()
		s.Seq++
		current.Store(&s)
	}
	p := NewPage(current.Load, exporttest.About())
	var scrapers sync.WaitGroup
	for i := range 20 {
		scrapers.Go(func() {
			var last uint64
			for range 10 {
				publish()
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				if i%2 == 0 {
					r.Header.Set("Accept-Encoding", "gzip")
				}
				p.ServeHTTP(&slowWriter{header: http.Header{}, read: func(body []byte) {
					before := bytes.Clone(body)
					page := before
					if i%2 == 0 {
						page = unzip(t, before)
					}
					if err := balance.Check(page); err != nil {
						t.Error(err)
					}
					_, after, _ := bytes.Cut(page, []byte("\nnoether_ticks_total{node=\"node-1\"} "))
					digits, _, _ := bytes.Cut(after, []byte("\n"))
					seq, err := strconv.ParseUint(string(digits), 10, 64)
					if err != nil || seq < last {
						t.Errorf("tick %q after %d: %v", digits, last, err)
					}
					last = seq
					publish() // and others render, while this page is being written
					if !bytes.Equal(before, body) {
						t.Error("the page changed while it was being written")
					}
				}}, r)
			}
		})
	}
	scrapers.Wait()
}

func unzip(t *testing.T, b []byte) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Error(err)
		return nil
	}
	page, err := io.ReadAll(zr)
	if err != nil {
		t.Error(err)
	}
	return page
}

func TestOneRenderForManyScrapes(t *testing.T) {
	asked := 0
	s := exporttest.Snapshot()
	p := NewPage(func() *snapshot.Snapshot { asked++; return s }, exporttest.About())
	first := p.acquire(Text, true)
	for range 10 {
		b := p.acquire(Text, true)
		if b != first {
			t.Error("the same snapshot was rendered again")
		}
		b.release()
	}
	if p.slots[0].ready {
		t.Error("a page that nobody asked for was rendered")
	}
	next := *s
	next.Seq++
	s = &next
	b := p.acquire(Text, true)
	if b == first {
		t.Error("a new snapshot was not rendered, or over a page in use")
	}
	b.release()
	first.release()
	if p.slots[1].free != first {
		t.Error("the page that nobody holds any more is not used again")
	}
}

func TestAPageThatNobodyAsksForLosesItsMemory(t *testing.T) {
	s := exporttest.Large(2000)
	p := NewPage(func() *snapshot.Snapshot { return s }, exporttest.About())
	p.acquire(Text, false).release()
	large := cap(p.slots[0].current.data)
	for i := range forgetAfter + 1 {
		if p.slots[0].current == nil {
			t.Errorf("forgotten after %d ticks", i)
		}
		s.Seq++
		p.acquire(Text, true).release()
	}
	if p.slots[0].current != nil || p.slots[0].free != nil || p.slots[0].ready {
		t.Errorf("a page of %d bytes is kept", large)
	}
	if err := balance.Check(p.Append(nil, Text)); err != nil {
		t.Error(err)
	}
}

func TestTheMemoryOfALargePageIsGivenBack(t *testing.T) {
	s := exporttest.Large(10_000)
	p := NewPage(func() *snapshot.Snapshot { return s }, exporttest.About())
	p.acquire(Text, false).release()
	for range 3 {
		seq := s.Seq
		s = exporttest.Large(10)
		s.Seq = seq + 1
		p.acquire(Text, false).release()
	}
	if n := cap(p.slots[0].current.data); n > 1<<20 {
		t.Errorf("a small page holds %d bytes", n)
	}
}

func TestRenderAllocatesNothing(t *testing.T) {
	s := exporttest.Large(300)
	p := NewPage(func() *snapshot.Snapshot { return s }, exporttest.About())
	for _, compressed := range []bool{false, true} {
		if n := testing.AllocsPerRun(50, func() {
			s.Seq++
			p.acquire(OpenMetrics, compressed).release()
		}); n != 0 {
			t.Errorf("compressed %v: %v allocations a render", compressed, n)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, n := range []int{0, 1000, 10_000} {
		s := exporttest.Large(n)
		for _, compressed := range []bool{false, true} {
			b.Run(strconv.Itoa(n)+map[bool]string{true: "/gzip", false: "/plain"}[compressed], func(b *testing.B) {
				p := NewPage(func() *snapshot.Snapshot { return s }, exporttest.About())
				b.ReportAllocs()
				for b.Loop() {
					s.Seq++
					body := p.acquire(Text, compressed)
					b.SetBytes(int64(len(body.data)))
					body.release()
				}
			})
		}
	}
}
