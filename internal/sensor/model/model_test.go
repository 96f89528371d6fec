package model

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/energy"
	"noether/internal/linux/machinetest"
	"noether/internal/probe"
	"noether/internal/sensor"
	"noether/internal/unit"
)

// host is a machine whose processors and clock the test moves.
type host struct {
	tb     testing.TB
	root   string
	now    time.Duration
	busy   []uint64 // ticks of each processor
	gone   map[int]bool
	steal  uint64 // ticks of waiting: for the hypervisor, and for disks
	covers [energy.Components]bool
}

func (h *host) file(name, content string) {
	h.tb.Helper()
	path := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.tb.Fatal(err)
	}
}

func newHost(tb testing.TB, cpuinfo string, threads, kib int) *host {
	h := &host{tb: tb, root: tb.TempDir(), busy: make([]uint64, threads), gone: map[int]bool{}}
	h.file("proc/cpuinfo", cpuinfo)
	h.file("proc/meminfo", fmt.Sprintf("MemTotal:       %d kB\nMemFree: 1 kB\n", kib))
	h.write()
	return h
}

func (h *host) write() {
	var b strings.Builder
	b.WriteString("cpu  1 2 3 4 5 6 7 8 9 10\n")
	for i, busy := range h.busy {
		if !h.gone[i] {
			// User, nice, system, idle, iowait, irq, softirq, steal, guest.
			fmt.Fprintf(&b, "cpu%d %d %d %d 555 %d %d %d %d %d 0\n", i, busy-busy/4*3, 0, busy/4, h.steal, busy/4, busy/4, h.steal, busy/8)
		}
	}
	b.WriteString("intr 1 2 3\n")
	h.file("proc/stat", b.String())
}

// run makes every online processor busy for a share of a second, d long.
func (h *host) run(d time.Duration, percent uint64) {
	h.now += d
	for i := range h.busy {
		if !h.gone[i] {
			h.busy[i] += uint64(d/clockTick) * percent / 100
		}
	}
	h.write()
}

func (h *host) open(cfg Config) (sensor.Sensor, error) {
	return Kind(cfg).Open(h.tb.Context(), sensor.Env{
		Proc: filepath.Join(h.root, "proc"), Sys: filepath.Join(h.root, "sys"),
		Now: func() time.Duration { return h.now }, Covered: h.covers,
	})
}

func (h *host) mustOpen(cfg Config) sensor.Sensor {
	h.tb.Helper()
	s, err := h.open(cfg)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { s.Close() })
	return s
}

// read returns the reading of each domain.
func read(tb testing.TB, s sensor.Sensor) map[energy.Domain]energy.Reading {
	tb.Helper()
	rs, err := s.Read(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	got := map[energy.Domain]energy.Reading{}
	for _, r := range rs {
		got[s.Zones()[r.Zone].Domain] = r
	}
	return got
}

func cpu(vendor string, family, model, stepping int) string {
	return fmt.Sprintf("processor\t: 0\nvendor_id\t: %s\ncpu family\t: %d\nmodel\t\t: %d\nmodel name\t: AMD EPYC Intel Xeon\nstepping\t: %d\n\n", vendor, family, model, stepping)
}

func arm(implementer, part int) string {
	return fmt.Sprintf("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: %#x\nCPU architecture: 8\nCPU part\t: %#x\n\n", implementer, part)
}

var skylake85 = cpu("GenuineIntel", 6, 85, 4)

func TestFamilies(t *testing.T) {
	for _, tt := range []struct{ cpuinfo, want string }{
		{skylake85, "Skylake (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 85, 7), "Cascade Lake (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 85, 11), "relative of Cascade Lake (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 106, 6), "Ice Lake (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 143, 8), "Sapphire Rapids (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 207, 2), "Emerald Rapids (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 173, 1), "Granite Rapids (SPECpower median, n = "},
		{cpu("GenuineIntel", 6, 62, 4), "Ivy Bridge (published coefficients)"},
		{cpu("GenuineIntel", 6, 158, 10), "Coffee Lake (published coefficients)"},
		{cpu("GenuineIntel", 6, 94, 3), "relative of Skylake (SPECpower median, n = "},
		{cpu("GenuineIntel", 15, 207, 3), "unknown processor (providers' average)"},
		{cpu("AuthenticAMD", 23, 1, 2), "EPYC 1 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 23, 49, 0), "EPYC 2 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 25, 1, 1), "EPYC 3 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 25, 33, 0), "relative of EPYC 3 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 25, 17, 1), "EPYC 4 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 25, 160, 1), "EPYC 4 (SPECpower median, n = "},
		{cpu("AuthenticAMD", 26, 2, 1), "EPYC 5 (SPECpower median, n = "},
		{cpu("HygonGenuine", 24, 1, 1), "relative of EPYC 1 (SPECpower median, n = "},
		{arm(0x41, 0xd0c), "Neoverse N1 (SPECpower median, n = "},
		{arm(0x41, 0xd40), "Neoverse V (published coefficients)"},
		{arm(0xc0, 0xac3), "unknown processor (providers' average)"},
		{"", "unknown processor (providers' average)"},
		{"model name : Intel(R) Xeon(R) Platinum 8175M\n", "unknown processor (providers' average)"},
	} {
		h := newHost(t, tt.cpuinfo, 1, 1)
		if _, got := identify(filepath.Join(h.root, "proc")); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q\nis %s, want %s", tt.cpuinfo, got, tt.want)
		}
	}
}

func TestTableIsInOrder(t *testing.T) {
	widest := func(b band) float64 { return float64(b.high) / float64(b.low) }
	last := lookup(unknown)
	for row := range unknown + 1 {
		f := lookup(row)
		for _, b := range []band{f.idle, f.max} {
			if b.low <= 0 || b.low > b.mid || b.mid > b.high {
				t.Errorf("%s: band %+v", f.name, b)
			}
		}
		if f.idle.high > f.max.high || f.idle.low > f.max.low || f.idle.mid >= f.max.mid || f.chip <= 0 {
			t.Errorf("%s: %+v", f.name, f)
		}
		if row != unknown && (f.name == last.name || widest(f.idle) >= widest(last.idle) || widest(f.max) >= widest(last.max)) {
			t.Errorf("%s is less certain than an unknown processor", f.name)
		}
	}
}

// The documentation has the table as it is.
func TestDocumentedTable(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/sensors.md")
	if err != nil {
		t.Fatal(err)
	}
	for row := range unknown + 1 {
		f := lookup(row)
		b := func(b band) string {
			return fmt.Sprintf("%.2f (%.2f–%.2f)", b.mid.Watts(), b.low.Watts(), b.high.Watts())
		}
		line := fmt.Sprintf("| %s | %s | %d | %s | %s | %.2f |", f.name, f.source, f.n, b(f.idle), b(f.max), float64(fittedPerChip)/float64(f.chip))
		if !strings.Contains(string(doc), line) {
			t.Errorf("docs/sensors.md lacks\n%s", line)
		}
	}
}

// Four threads of a Skylake at 30 %: (.53 + .30 x 3.59) x 4 = 6.428 W, and the
// band from (.40 + .30 x 2.83) x 4 to (.75 + .30 x 3.72) x 4.
func TestWorkedExample(t *testing.T) {
	h := newHost(t, skylake85, 4, 16<<20)
	s := h.mustOpen(Config{})
	for range 360 {
		h.run(10*time.Second, 30)
		read(t, s)
	}
	got := read(t, s)[energy.ModelCPU]
	want := energy.Reading{
		At: time.Hour, Energy: 6428 * 3600 * 1000, Floor: 2120 * 3600 * 1000,
		Low: 4996 * 3600 * 1000, High: 7464 * 3600 * 1000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if about := fmt.Sprint(s); !strings.Contains(about, "estimated: Skylake (SPECpower median, n = 78), cpu 2.1 W idle (1.6 to 3.0) and 16.5 W busy (12.9 to 17.9) on 4 threads") {
		t.Error(about)
	}
}

// However often it is read, the energy is the same to the microjoule.
func TestReadingOftenLosesNothing(t *testing.T) {
	seldom, often := newHost(t, skylake85, 3, 1<<20), newHost(t, skylake85, 3, 1<<20)
	a, b := seldom.mustOpen(Config{}), often.mustOpen(Config{})
	for i := range 500 {
		often.run(70*time.Millisecond, uint64(i%2)*100)
		read(t, b)
	}
	seldom.run(35*time.Second, 0)
	copy(seldom.busy, often.busy)
	seldom.write()
	if diff := cmp.Diff(read(t, a), read(t, b)); diff != "" {
		t.Error(diff)
	}
}

func TestMemory(t *testing.T) {
	const gib = 1 << 20
	all := [energy.Components]bool{}
	cpuMeasured, bothMeasured := all, all
	cpuMeasured[energy.CPU] = true
	bothMeasured[energy.CPU], bothMeasured[energy.Memory] = true, true
	for _, tt := range []struct {
		name    string
		kib     int
		covered [energy.Components]bool
		cfg     Config
		want    float64 // watts, 0 for no zone
	}{
		// 56 threads are a chip, which has 80 GiB.
		{"within what the servers had", 80 * gib, all, Config{}, 0},
		{"above it", 90 * gib, all, Config{}, 10 * .392},
		{"all of it beside a measured processor", 90 * gib, cpuMeasured, Config{}, 90 * .392},
		{"all of it beside a processor known by its TDP", 90 * gib, all, Config{TDPWatts: 200}, 90 * .392},
		{"none beside watts of the whole machine", 90 * gib, all, Config{IdleWatts: 50, MaxWatts: 300}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, skylake85, 56, tt.kib)
			h.covers = tt.covered
			s := h.mustOpen(tt.cfg)
			h.run(10*time.Second, 50)
			got, ok := read(t, s)[energy.ModelMemory]
			if tt.want == 0 {
				if ok {
					t.Fatalf("memory is estimated: %+v", got)
				}
				return
			}
			if math.Abs(got.Energy.Joules()-10*tt.want) > .001 || got.Floor != got.Energy || got.Low >= got.Energy || got.High <= got.Energy {
				t.Errorf("%+v, want %v W", got, tt.want)
			}
			if _, ok := read(t, s)[energy.ModelCPU]; ok == tt.covered[energy.CPU] {
				t.Errorf("cpu estimated: %v, measured: %v", ok, tt.covered[energy.CPU])
			}
		})
	}
	t.Run("nothing is left", func(t *testing.T) {
		h := newHost(t, skylake85, 56, 90*gib)
		h.covers = bothMeasured
		if _, err := h.open(Config{}); !errors.Is(err, probe.ErrNotSupported) {
			t.Error(err)
		}
	})
}

func TestOverrides(t *testing.T) {
	for _, tt := range []struct {
		name             string
		cfg              Config
		percent          uint64
		watts, low, high float64
	}{
		{"idle", Config{IdleWatts: 40, MaxWatts: 140}, 0, 40, 38, 42},
		{"half", Config{IdleWatts: 40, MaxWatts: 140}, 50, 90, 78.5, 101.5},
		{"busy", Config{IdleWatts: 40, MaxWatts: 140}, 100, 140, 119, 161},
		{"only idle stated", Config{IdleWatts: 53}, 100, 412, 323, 447},
		{"only max stated", Config{MaxWatts: 412}, 0, 53, 40, 75},
		{"TDP idle", Config{TDPWatts: 100}, 0, 12, 7.2, 16.8},
		{"TDP 10 %", Config{TDPWatts: 100}, 10, 32, 19.2, 44.8},
		{"TDP 30 %", Config{TDPWatts: 100}, 30, 53.5, 32.1, 74.9},
		{"TDP 50 %", Config{TDPWatts: 100}, 50, 75, 45, 105},
		{"TDP 100 %", Config{TDPWatts: 100}, 100, 102, 61.2, 142.8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, skylake85, 10, 1<<20)
			s := h.mustOpen(tt.cfg)
			h.run(100*time.Second, tt.percent)
			r := read(t, s)[energy.ModelCPU]
			for _, f := range []struct {
				name string
				got  unit.Energy
				want float64
			}{{"energy", r.Energy, tt.watts}, {"low", r.Low, tt.low}, {"high", r.High, tt.high}} {
				if math.Abs(f.got.Joules()/100-f.want) > .001 {
					t.Errorf("%s %.3f W, want %.3f", f.name, f.got.Joules()/100, f.want)
				}
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for _, bad := range []Config{
		{IdleWatts: -1}, {MaxWatts: math.NaN()}, {TDPWatts: math.Inf(1)}, {IdleWatts: 5, MaxWatts: 4}, {TDPWatts: 5, IdleWatts: 1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
		if _, err := newHost(t, skylake85, 1, 1).open(bad); err == nil {
			t.Errorf("%+v opens", bad)
		}
	}
	for _, good := range []Config{{}, {IdleWatts: 5}, {MaxWatts: 5}, {IdleWatts: 5, MaxWatts: 5}, {TDPWatts: 5}} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestStealAndWaitingAreNotBusy(t *testing.T) {
	h := newHost(t, skylake85, 2, 1<<10)
	s := h.mustOpen(Config{})
	h.steal = 900
	h.run(10*time.Second, 0)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != r.Floor || r.Energy != 10*2*530_000 {
		t.Errorf("%+v", r)
	}
}

// A processor that is offline uses nothing; when it comes back, what it did
// before is not counted again.
func TestHotplug(t *testing.T) {
	h := newHost(t, skylake85, 2, 1<<10)
	s := h.mustOpen(Config{})
	h.gone[1] = true
	h.run(10*time.Second, 0)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 10*530_000 {
		t.Errorf("one offline: %+v", r)
	}
	h.gone[1] = false
	h.busy[1] += 5000
	h.run(10*time.Second, 0)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 30*530_000 {
		t.Errorf("back online: %+v", r)
	}
	h.busy = append(h.busy, 77) // a third is added
	h.run(10*time.Second, 100)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 60*530_000+20*3_590_000 {
		t.Errorf("one added: %+v", r)
	}
}

func TestFrequency(t *testing.T) {
	h := newHost(t, skylake85, 2, 1<<10)
	set := func(cpu, khz int) {
		h.file(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", cpu), fmt.Sprintf("%d\n", khz))
	}
	for c := range 2 { // reference: 2.5 GHz
		h.file(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", c), "3000000\n")
		h.file(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/base_frequency", c), "2000000\n")
		set(c, 2_500_000)
	}
	s := h.mustOpen(Config{})
	last := energy.Reading{}
	step := func(a, b int, want, low, high float64) { // added watts, of 3.59 (2.83 to 3.72) a thread
		t.Helper()
		set(0, a)
		set(1, b)
		h.run(10*time.Second, 100)
		r := read(t, s)[energy.ModelCPU]
		got := (r.Energy-last.Energy).Joules()/10 - 2*.53
		gotLow := (r.Low-last.Low).Joules()/10 - 2*.40
		gotHigh := (r.High-last.High).Joules()/10 - 2*.75
		last = r
		if math.Abs(got-want) > .001 || math.Abs(gotLow-low) > .001 || math.Abs(gotHigh-high) > .001 {
			t.Errorf("at %d and %d kHz: %.4f W (%.4f to %.4f), want %.4f (%.4f to %.4f)", a, b, got, gotLow, gotHigh, want, low, high)
		}
	}
	slow := math.Pow(1.6/2.5, 1.5)
	step(2_500_000, 2_500_000, 2*3.59, 2*2.83, 2*3.72)
	step(1_600_000, 2_500_000, (1+slow)*3.59, (1+slow)*2.83, 2*3.72)
	step(400_000, 0, 1.25*3.59, 1.25*2.83, 2*3.72) // bounded below; 0 is unknown
	step(5_000_000, 5_000_000, 2.5*3.59, 2*2.83, 2.5*3.72)
	if err := os.WriteFile(filepath.Join(h.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"), []byte("<unknown>\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.run(10*time.Second, 100)
	if r := read(t, s)[energy.ModelCPU]; r.Energy <= last.Energy {
		t.Error("garbage in a frequency stops the estimate")
	}
}

func TestLateTicksAreKeptAndLeapsAreNot(t *testing.T) {
	h := newHost(t, skylake85, 1, 1<<10)
	s := h.mustOpen(Config{})
	h.now += time.Second
	h.busy[0] += 150 // half a second of it belongs to the time before
	h.write()
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 4_120_000 {
		t.Errorf("first second: %+v", r)
	}
	h.run(time.Second, 0)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 4_120_000+530_000+3_590_000/2 {
		t.Errorf("second second: %+v", r)
	}
	before := read(t, s)[energy.ModelCPU].Energy
	h.busy[0] += 1 << 40
	h.run(time.Second, 0)
	for range 9 {
		h.run(time.Second, 0)
		read(t, s)
	}
	if e := read(t, s)[energy.ModelCPU].Energy - before; e > 10*530_000+3*3_590_000 {
		t.Errorf("a leap of 348 years is %v J", e.Joules())
	}
}

func TestBadFiles(t *testing.T) {
	h := newHost(t, skylake85, 2, 1<<10)
	s := h.mustOpen(Config{})
	h.file("proc/stat", "cpu  1 2 3\ncpu0 x\ncpu1")
	rs, err := s.Read(t.Context(), nil)
	var ze *sensor.ZoneError
	if len(rs) != 0 || !errors.As(err, &ze) || !strings.Contains(err.Error(), "proc/stat") {
		t.Errorf("garbage: %v, %v", rs, err)
	}
	h.run(time.Second, 0)
	if r := read(t, s)[energy.ModelCPU]; r.Energy != 2*530_000 {
		t.Errorf("mended: %+v", r)
	}
	if err := os.Remove(filepath.Join(h.root, "proc/stat")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open(Config{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no stat: %v", err)
	}
	h.write()
	h.file("proc/meminfo", "garbage")
	if s := h.mustOpen(Config{}); len(s.Zones()) != 1 || !strings.Contains(fmt.Sprint(s), "memory unknown") {
		t.Errorf("garbage in meminfo: %v", s)
	}
}

// Whatever runs, bounds hold and counters never fall.
func TestBoundsAndMonotony(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for row := range unknown + 1 {
		f := lookup(row)
		h := newHost(t, "", 4, 1<<10)
		s := h.mustOpen(Config{})
		m := s.(*model)
		m.curve = perThread(&f)
		var last energy.Reading
		for range 60 {
			h.now += time.Duration(r.IntN(2000)) * time.Millisecond
			for i := range h.busy {
				h.busy[i] += r.Uint64N(120)
				h.gone[i] = r.IntN(20) == 0 && i > 0
			}
			h.write()
			got := read(t, s)[energy.ModelCPU]
			if got.Low > got.Energy || got.Energy > got.High || got.Floor > got.Energy ||
				got.Energy < last.Energy || got.Low < last.Low || got.High < last.High || got.Floor < last.Floor {
				t.Fatalf("%s: %+v after %+v", f.name, got, last)
			}
			last = got
		}
	}
}

func TestVirtualMachineOfTheFixture(t *testing.T) {
	h := &host{tb: t, root: machinetest.Unpack(t, "../../../testdata/machines/power-vm.txtar")}
	s := h.mustOpen(Config{})
	if about := fmt.Sprint(s); !strings.Contains(about, "Emerald Rapids") || !strings.Contains(about, "memory 8.8 W") {
		t.Error(about)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	h := newHost(t, skylake85, 64, 200<<20)
	for c := range 64 {
		h.file(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq", c), "3000000\n")
		h.file(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", c), "3000000\n")
	}
	s := h.mustOpen(Config{})
	dst := make([]energy.Reading, 0, 2)
	if got := testing.AllocsPerRun(50, func() {
		h.now += time.Second
		var err error
		if dst, err = s.Read(t.Context(), dst[:0]); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("Read allocates %v times", got)
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1\n"))
	f.Add([]byte("cpu0 1 2 3 4 5 6 7"))
	f.Add([]byte("cpu99999999 1 2 3 4 5 6 7 8\ncpu1 1 2 3 4 5 6 7\n\n"))
	f.Add([]byte("MemTotal:       24731708 kB\n"))
	f.Add([]byte(skylake85))
	f.Add([]byte(arm(0x41, 0xd0c)))
	f.Fuzz(func(t *testing.T, b []byte) {
		times, err := parseCPUs(nil, b)
		if err == nil && len(times) == 0 {
			t.Error("no processor and no error")
		}
		for _, c := range times {
			if c.cpu < 0 || c.cpu >= mostCPUs {
				t.Errorf("processor %d", c.cpu)
			}
		}
		parseMemory(b)
		parseFrequency(b)
		id := parseIdentity(b)
		row, _ := id.match()
		if f := lookup(row); f.chip == 0 {
			t.Errorf("no family for %+v", id)
		}
	})
}
