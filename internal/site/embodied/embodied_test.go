package embodied

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"noether/internal/linux"
	"noether/internal/linux/machinetest"
	"noether/internal/snapshot"
	"noether/internal/unit"
)

const fourYears = 35040 * time.Hour

func machine(t *testing.T, name string) linux.FS {
	return linux.Under(machinetest.Unpack(t, "../../../testdata/machines/"+name+".txtar"))
}

func find(fs linux.FS, setting, instance string) Finding {
	s, err := ParseSetting(setting)
	if err != nil {
		panic(err)
	}
	return Find(fs, Options{Setting: s, Instance: instance, Lifetime: fourYears})
}

// perHour is what an hour of the lifetime costs, in grams.
func perHour(h *snapshot.Hardware) float64 {
	return h.Total().Grams() / h.Lifetime.Hours()
}

func TestWorkedVectors(t *testing.T) {
	empty := linux.Under(t.TempDir())
	for _, test := range []struct {
		instance string
		kg, hour float64
	}{
		{"m5.xlarge", 1610.79 * 4 / 96, 1.915},      // Cloud Carbon Footprint, methodology
		{"e2-standard-4", 1230.46 * 4 / 32, 4.39},   // Green Software Foundation, SCI guide
		{"M5.24XLARGE", 1610.79, 45.97},             // the whole server
		{"Standard_D4s_v3", 1482.9 * 4 / 64, 2.645}, // Azure
	} {
		f := find(empty, "auto", test.instance)
		if got := f.Total().Grams() / 1000; math.Abs(got-test.kg) > 1e-6 {
			t.Errorf("%s: %v kg, want %v", test.instance, got, test.kg)
		}
		if got := perHour(&f.Hardware); math.Abs(got-test.hour) > .005 {
			t.Errorf("%s: %v g an hour, want %v", test.instance, got, test.hour)
		}
		if f.Source != FromInstance || !f.Estimated {
			t.Errorf("%s: source %q, estimated %v", test.instance, f.Source, f.Estimated)
		}
	}
}

func TestFind(t *testing.T) {
	server, ec2, hostile := machine(t, "hardware-server"), machine(t, "hardware-ec2"), machine(t, "hardware-hostile")
	exactly := func(cpu, memory, gpu, rest float64, source string, estimated bool) snapshot.Hardware {
		return snapshot.Hardware{CPU: kg(cpu), Memory: kg(memory), GPU: kg(gpu), Rest: kg(rest), Lifetime: fourYears, Source: source, Estimated: estimated}
	}
	const perGB = 533. / 384
	for _, test := range []struct {
		name              string
		fs                linux.FS
		setting, instance string
		want              snapshot.Hardware
		why               string
	}{
		{
			"a server's parts", server, "auto", "", exactly(200, 533, 300, 900-16*perGB+250, FromComponents, true),
			"2160.8 kg: a server with 2 CPUs, 384 GB of memory, 1 HDDs, 2 SSDs and 2 GPUs",
		},
		{
			"the firmware's instance type", ec2, "auto", "", exactly(200./24, (510.79+16*perGB)/24, 0, (1610.79-200-510.79-16*perGB)/24, FromInstance, true),
			"67.1 kg: instance type m5.xlarge has 4 of the 96 vCPUs of a server of 1610.8 kg (ccf-2022)",
		},
		{
			"what the user says wins over the firmware", ec2, "auto", "m5.24xlarge", exactly(200, 510.79+16*perGB, 0, 900-16*perGB, FromInstance, true),
			"1610.8 kg: instance type m5.24xlarge has 96 of the 96 vCPUs of a server of 1610.8 kg (ccf-2022)",
		},
		{
			"an unknown type is a share of a usual server", ec2, "auto", "q9.huge", exactly(200./24, 16*perGB, 0, (1000-16*perGB)/24, FromComponents, true),
			`instance type "q9.huge" is not in the table; 71.3 kg: a virtual machine with 4 of the 96 vCPUs of a server with 2 CPUs and 256 GB, and 16 GB of memory`,
		},
		{
			"a value goes to the parts that are known", ec2, "100", "m5.24xlarge", exactly(20000/1610.79, 100*(510.79+16*perGB)/1610.79, 0, 100*(900-16*perGB)/1610.79, FromValue, false),
			"100.0 kg as embodied.kg says",
		},
		{"a value without known parts is the rest", hostile, "100", "", exactly(0, 0, 0, 100, FromValue, false), "100.0 kg as embodied.kg says"},
		{"off", server, "off", "m5.xlarge", snapshot.Hardware{}, "switched off by embodied.kg"},
		{
			"nonsense is no machine", hostile, "auto", "",
			snapshot.Hardware{},
			"nobody tells what kind of machine this is: neither the firmware's tables nor its size; say embodied.kg or embodied.instance",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := find(test.fs, test.setting, test.instance)
			near := cmp.Comparer(func(a, b unit.Mass) bool { return max(a-b, b-a) <= unit.Gram })
			if diff := cmp.Diff(test.want, got.Hardware, near); diff != "" {
				t.Error(diff)
			}
			if got.Why != test.why {
				t.Errorf("why: %s\nwant: %s", got.Why, test.why)
			}
			if total := got.CPU + got.Memory + got.GPU + got.Rest; total != got.Total() || test.setting == "100" && total != 100*unit.Kilogram {
				t.Errorf("the parts sum to %d", total)
			}
		})
	}
}

func TestKindOfMachine(t *testing.T) {
	for _, test := range []struct {
		name string
		seen linux.Hardware
		want kind
	}{
		{"a guest on a rack server's firmware", linux.Hardware{Guest: true, Chassis: 23}, guest},
		{"rack mount", linux.Hardware{Chassis: 23}, server},
		{"laptop", linux.Hardware{Chassis: 10, Memory: 256 << 30}, desk},
		{"desktop", linux.Hardware{Chassis: 3, Sockets: 1, Memory: 32 << 30}, desk},
		{"a tower with two sockets", linux.Hardware{Chassis: 7, Sockets: 2}, server},
		{"no firmware, much memory", linux.Hardware{Memory: 256 << 30}, server},
		{"a board without firmware tables", linux.Hardware{Sockets: 1, Memory: 8 << 30}, unknown},
	} {
		if got := kindOf(&test.seen); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Every line of the table parses, makes sense, and no type stands in it twice.
func TestPlatforms(t *testing.T) {
	types := map[string]bool{}
	lines := 0
	for line := range strings.Lines(platforms) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") {
			continue
		}
		lines++
		if len(f) != 8 {
			t.Fatalf("%q has %d fields", line, len(f))
		}
		var kilos [4]float64
		for i := range kilos {
			var err error
			if kilos[i], err = strconv.ParseFloat(f[3+i], 64); err != nil || kilos[i] < 0 || kilos[i] > 40_000 {
				t.Errorf("%q: %q is no mass", line, f[3+i])
			}
		}
		if rest := kilos[3] - kilos[0] - kilos[1] - kilos[2]; rest < 200 {
			t.Errorf("%q: %v kg are left for the rest of the server", line, rest)
		}
		server := count(f[2])
		for size := range strings.FieldsSeq(f[1]) {
			name, vcpus, _ := strings.Cut(size, ":")
			name = strings.ToLower(f[0] + name)
			if n := count(vcpus); n == 0 || n > server {
				t.Errorf("%s has %s of %d vCPUs", name, vcpus, server)
			}
			if types[name] {
				t.Errorf("%s stands in the table twice", name)
			}
			types[name] = true
			if p, ok := findPlatform(name); !ok || p.of != server || p.total != kg(kilos[3]) {
				t.Errorf("%s is found as %+v, %v", name, p, ok)
			}
		}
	}
	if lines < 150 || len(types) < 800 {
		t.Errorf("%d lines with %d types", lines, len(types))
	}
	for _, none := range []string{"", "m5.", "m5", ".", "m5.xlarge:4", "m5.large xlarge", "#"} {
		if p, ok := findPlatform(none); ok {
			t.Errorf("%q is %+v", none, p)
		}
	}
}

func TestSetting(t *testing.T) {
	for _, s := range []string{"auto", "off", "1500", "0.5"} {
		if got, err := ParseSetting(s); err != nil || got.String() != s {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"0", "-1", "NaN", "1e18", "Inf", "1,5", "auto ", "1000001"} {
		if got, err := ParseSetting(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func FuzzParseSetting(f *testing.F) {
	for _, s := range []string{"auto", "off", "1500", "12.5kg", "1e400", "-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseSetting(s)
		if err == nil && !got.Off && got.Mass != 0 && (got.Mass < unit.Gram || got.Mass > maxKilograms*unit.Kilogram) {
			t.Errorf("%q is %d", s, got.Mass)
		}
	})
}

func FuzzInstance(f *testing.F) {
	for _, s := range []string{"m5.xlarge", "Standard_D4s_v3", "n2-standard-4", "İ5.xlarge", "c5."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := findPlatform(s); ok && (p.vcpus == 0 || p.vcpus > p.of || p.total <= 0) {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
