package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"noether/internal/probe"
)

// The Go structures lie in memory as the C ones do.
func TestLayout(t *testing.T) {
	spec, err := loadTasks()
	if err != nil {
		t.Fatal(err)
	}
	type layout [][2]uint32 // offset, size
	for name, v := range map[string]any{
		"task_record": taskRecord{}, "group_record": groupRecord{}, "exit_key": exitKey{}, "exit_value": exitValue{}, "shared": shared{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Fatal(err)
		}
		var got, want layout
		for _, m := range c.Members {
			size, err := btf.Sizeof(m.Type)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, [2]uint32{m.Offset.Bytes(), uint32(size)})
		}
		typ := reflect.TypeOf(v)
		for f := range typ.Fields() {
			got = append(got, [2]uint32{uint32(f.Offset), uint32(f.Type.Size())})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-C +Go):\n%s", name, diff)
		}
		if uint32(typ.Size()) != c.Size {
			t.Errorf("%s is %d bytes in Go and %d in C", name, typ.Size(), c.Size)
		}
	}
	if recordSize != 72 {
		t.Errorf("a record is %d bytes, documented are 72", recordSize)
	}
	var e *btf.Struct
	if err := spec.Types.TypeByName("cgroup_event", &e); err != nil {
		t.Fatal(err)
	}
	if got := e.Members[len(e.Members)-1].Offset.Bytes(); got != eventHeader {
		t.Errorf("the path of a cgroup event is at %d, want %d", got, eventHeader)
	}
}

// The committed object is what the compiler makes of the source.
func TestObjectIsUpToDate(t *testing.T) {
	const compiler = "clang version 14." // other versions order instructions differently
	version, err := exec.CommandContext(t.Context(), "clang", "--version").Output()
	if err != nil {
		t.Skipf("clang cannot be run: %v", err)
	}
	if !strings.Contains(string(version), compiler) {
		line, _, _ := strings.Cut(string(version), "\n")
		t.Skipf("the object was made by %s, here is %q", compiler, line)
	}
	text, err := os.ReadFile("generate.go")
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(text), "//go:generate ")
	args := strings.Fields(command)
	dir := t.TempDir()
	at := len(args)
	for i, a := range args {
		if strings.HasSuffix(a, "/bpf2go") {
			at = i + 1
		}
	}
	args = append(args[:at:at], append([]string{"-output-dir", dir}, args[at:]...)...)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOPACKAGE=bpf")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", args, err, out)
	}
	for _, name := range []string{"tasks_bpfel.o", "tasks_bpfel.go"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what the source compiles to: run go generate ./internal/usage/bpf", name)
		}
	}
}

var hierarchyCases = []struct {
	name, text string
	want       hierarchies
}{
	{"unified", "0::/system.slice/noether.service\n", hierarchies{false, -1}},
	{"hybrid", "12:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n0::/x\n", hierarchies{true, 4}},
	{"v1 with cpuacct alone", "2:cpuacct:/\n1:cpu:/\n", hierarchies{true, 2}},
	{"systemd's named hierarchy beside the unified one", "1:name=systemd:/\n0::/\n", hierarchies{true, -1}},
	{"a path that looks like a line", "0::/a\\n3:cpuacct:/\n", hierarchies{false, -1}},
	{"a path with colons", "0::/3:cpuacct:/\n", hierarchies{false, -1}},
	{"nothing", "", hierarchies{false, -1}},
	{"garbage", "cpuacct\n:cpuacct:\n-1:cpuacct:\n99999999999:cpuacct:\n3:cpuacct", hierarchies{false, -1}},
}

func TestParseHierarchies(t *testing.T) {
	for _, tt := range hierarchyCases {
		if got := parseHierarchies([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func FuzzParseHierarchies(f *testing.F) {
	for _, tt := range hierarchyCases {
		f.Add([]byte(tt.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseHierarchies(data)
		if h.cpuacct == 0 || h.cpuacct < -1 || h.cpuacct > 0 && !h.legacy {
			t.Errorf("%+v", h)
		}
	})
}

func TestRefusals(t *testing.T) {
	eperm := fmt.Errorf("load BPF program walk: %w", unix.EPERM)
	all := rights{bpf: true, perfmon: true, executable: "/usr/bin/noether"}
	with := func(change func(*rights)) rights { r := all; change(&r); return r }
	for _, tt := range []struct {
		name           string
		rights         rights
		reason, remedy string
	}{
		{"no capability", rights{executable: "/usr/bin/noether"}, "CAP_BPF and CAP_PERFMON are missing", "setcap cap_bpf,cap_perfmon+ep /usr/bin/noether "},
		{"half of them", with(func(r *rights) { r.perfmon = false }), "CAP_PERFMON is missing", "AmbientCapabilities=CAP_BPF CAP_PERFMON"},
		{"user namespace", with(func(r *rights) { r.userNamespace = true }), "user namespace", "hostUsers: true"},
		{"lockdown", with(func(r *rights) { r.confidential = true }), "lockdown", "lockdown=integrity"},
		{"seccomp", with(func(r *rights) { r.seccomp = true }), "seccomp", "allow bpf(2)"},
		{"no idea", all, "operation not permitted", ""},
	} {
		v := probe.Of("bpf", "", refusal(tt.rights, eperm))
		if v.Status != probe.Forbidden || !strings.Contains(v.Reason, tt.reason) || !strings.Contains(v.Remedy, tt.remedy) {
			t.Errorf("%s: %+v, want a reason with %q and a remedy with %q", tt.name, v, tt.reason, tt.remedy)
		}
		if !errors.Is(refusal(tt.rights, eperm), unix.EPERM) {
			t.Errorf("%s: the cause is lost", tt.name)
		}
	}
}

func TestExplain(t *testing.T) {
	f := facts{opts: Options{Proc: "/host/proc"}}
	other := errors.New("other")
	for _, tt := range []struct {
		name string
		err  error
		want probe.Status
	}{
		{"no BTF", &noTypesError{fs.ErrNotExist}, probe.Absent},
		{"no bpf(2)", unix.ENOSYS, probe.Absent},
		{"not permitted", unix.EPERM, probe.Forbidden},
		{"a tenth missing", f.coverage(89, 100, true), probe.Forbidden},
		{"as many as a procfs of the same PID namespace", f.coverage(3, 3, false), probe.Forbidden},
		{"anything else", other, probe.Unknown},
	} {
		if got := probe.Of("bpf", "", f.explain(tt.err)); got.Status != tt.want {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
		}
	}
	if err := f.coverage(90, 100, true); err != nil {
		t.Errorf("90 of 100 processes: %v", err)
	}
}

func TestOpenWithoutProc(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "proc")
	if _, err := Open(t.Context(), Options{Proc: dir}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v does not name %s", err, dir)
	}
	s := open(t, Options{})
	s.opts.Rung = "nonsense"
	if _, err := Open(t.Context(), s.opts); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("a rung that does not exist: %v", err)
	}
}

// What is not a whole ring record is skipped, and the ring is used up.
func TestRing(t *testing.T) {
	const size = 4096
	page := os.Getpagesize()
	r := &ring{consumer: make([]byte, page), producer: make([]byte, page+2*size), mask: size - 1}
	put := func(at int, header uint32, record ...byte) int {
		b := r.producer[page+at:]
		b[0], b[1], b[3] = byte(header), byte(header>>8), byte(header>>24)
		copy(b[ringHeader:], record)
		return at + (ringHeader+int(header&0xffff)+7)&^7
	}
	event := func(what byte, path string) []byte {
		return append([]byte{7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, what, 0, 0, 0}, path+"\x00"...)
	}
	at := put(0, 8|ringDiscard)
	at = put(at, 8) // too short for an event
	at = put(at, uint32(len(event(1, "/a"))), event(1, "/a")...)
	end := put(at, uint32(len(event(2, "/busy")))|ringBusy, event(2, "/busy")...)
	r.producer[0], r.producer[1] = byte(end), byte(end>>8)
	var got []string
	tell := func(what uint32, v1 bool, id uint64, path []byte) {
		got = append(got, fmt.Sprintf("%d %t %d %s", what, v1, id, path))
	}
	r.drain(tell)
	if diff := cmp.Diff([]string{"1 true 7 /a"}, got); diff != "" {
		t.Errorf("with a record being written (-want +got):\n%s", diff)
	}
	put(at, uint32(len(event(2, "/busy"))), event(2, "/busy")...)
	r.drain(tell)
	if diff := cmp.Diff([]string{"1 true 7 /a", "2 true 7 /busy"}, got); diff != "" {
		t.Errorf("after it is written (-want +got):\n%s", diff)
	}
	if pos := int(r.consumer[0]) | int(r.consumer[1])<<8; pos != end {
		t.Errorf("the ring is read up to %d, want %d", pos, end)
	}
}
