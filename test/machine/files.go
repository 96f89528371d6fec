package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// write replaces the content of a file in place: the inode stays, and the new
// bytes arrive with one pwrite(2).
func (m *Machine) write(path, content string) {
	m.tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	m.must(err)
	_, err = f.WriteAt([]byte(content), 0)
	m.must(err)
	m.must(f.Truncate(int64(len(content))))
	m.must(f.Close())
}

// remove removes a tree of files, emptied first for those who have them open.
func (m *Machine) remove(dir string) {
	m.tb.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return os.Truncate(path, 0)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.must(err)
	}
	m.must(os.RemoveAll(dir))
}

func (m *Machine) writeStatic() {
	m.tb.Helper()
	var info, online strings.Builder
	for i := range m.cpus {
		fmt.Fprintf(&info, "processor\t: %d\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n"+
			"model name\t: Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz\nstepping\t: 6\ncpu MHz\t\t: 2000.000\nphysical id\t: 0\n"+
			"siblings\t: %d\ncore id\t\t: %d\ncpu cores\t: %d\nflags\t\t: fpu tsc msr\n\n", i, m.cpus, i, m.cpus)
	}
	online.WriteString("0")
	if m.cpus > 1 {
		fmt.Fprintf(&online, "-%d", m.cpus-1)
	}
	online.WriteByte('\n')
	for path, content := range map[string]string{
		"proc/cpuinfo":                    info.String(),
		"proc/meminfo":                    "MemTotal:       16384000 kB\nMemFree:         8192000 kB\nMemAvailable:   12288000 kB\n",
		"proc/sys/kernel/pid_max":         "4194304\n",
		"proc/sys/kernel/osrelease":       "6.12.0\n",
		"proc/sys/kernel/random/boot_id":  "5a2a3c0e-7c0f-4f86-9d3e-0d6c1a8f8c11\n",
		"sys/devices/system/cpu/online":   online.String(),
		"sys/devices/system/cpu/possible": online.String(),
		"sys/devices/system/cpu/present":  online.String(),
	} {
		m.must(os.MkdirAll(filepath.Dir(m.Path(path)), 0o755))
		m.write(m.Path(path), content)
	}
	for i := range m.cpus {
		dir := m.Path(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology", i))
		m.must(os.MkdirAll(dir, 0o755))
		m.write(filepath.Join(dir, "physical_package_id"), "0\n")
		m.write(filepath.Join(dir, "core_id"), fmt.Sprintf("%d\n", i))
	}
	m.must(os.MkdirAll(m.Path("sys/class/powercap"), 0o755))
	base := m.Path("sys/fs/cgroup")
	m.must(os.MkdirAll(base, 0o755))
	type mount struct{ dir, kind, options string }
	var mounts []mount
	if m.layout != V2 {
		for _, c := range []string{"cpu,cpuacct", "memory"} {
			mounts = append(mounts, mount{c, "cgroup", "rw,nosuid,nodev,noexec,relatime," + c})
		}
		mounts = append(mounts, mount{"systemd", "cgroup", "rw,nosuid,nodev,noexec,relatime,xattr,name=systemd"})
		for _, alias := range []string{"cpu", "cpuacct"} {
			m.must(os.Symlink("cpu,cpuacct", filepath.Join(base, alias)))
		}
	}
	switch m.layout {
	case V2:
		mounts = append(mounts, mount{"", "cgroup2", "rw,nosuid,nodev,noexec,relatime"})
	case Hybrid:
		mounts = append(mounts, mount{"unified", "cgroup2", "rw,nosuid,nodev,noexec,relatime"})
	case V1:
	}
	var plain, info2 strings.Builder
	for i, mt := range mounts {
		dir := filepath.Join("/sys/fs/cgroup", mt.dir)
		m.must(os.MkdirAll(m.Path(dir), 0o755))
		fmt.Fprintf(&plain, "%s %s %s %s 0 0\n", mt.kind, dir, mt.kind, mt.options)
		fmt.Fprintf(&info2, "%d 20 0:%d / %s rw,nosuid,nodev,noexec,relatime shared:%d - %s %s %s\n",
			30+i, 40+i, dir, 9+i, mt.kind, mt.kind, mt.options)
		if mt.kind == "cgroup2" {
			controllers := "cpu io memory pids\n"
			if m.layout == Hybrid {
				controllers = "\n"
			}
			m.write(filepath.Join(m.Path(dir), "cgroup.controllers"), controllers)
		}
	}
	m.must(os.MkdirAll(m.Path("proc/self"), 0o755))
	m.write(m.Path("proc/mounts"), plain.String())
	m.write(m.Path("proc/self/mounts"), plain.String())
	m.write(m.Path("proc/self/mountinfo"), info2.String())
	m.write(m.Path("proc/self/cgroup"), m.procCgroup("/"))
	m.must(os.MkdirAll(m.Path("proc/1"), 0o755))
	m.write(m.Path("proc/1/mountinfo"), info2.String())
}

// cgroupDirs returns where the cgroup is, one directory a hierarchy.
func (m *Machine) cgroupDirs(path string) []string {
	base := m.Path("sys/fs/cgroup")
	v1 := []string{filepath.Join(base, "cpu,cpuacct", path), filepath.Join(base, "memory", path), filepath.Join(base, "systemd", path)}
	switch m.layout {
	case V1:
		return v1
	case Hybrid:
		return append(v1, filepath.Join(base, "unified", path))
	default:
		return []string{filepath.Join(base, path)}
	}
}

func (m *Machine) procCgroup(path string) string {
	v1 := fmt.Sprintf("4:memory:%[1]s\n3:cpu,cpuacct:%[1]s\n1:name=systemd:%[1]s\n", path)
	v2 := fmt.Sprintf("0::%s\n", path)
	switch m.layout {
	case V1:
		return v1
	case Hybrid:
		return v1 + v2
	default:
		return v2
	}
}

func (m *Machine) writeCgroup(path string) {
	m.tb.Helper()
	usage := m.cgroups[path].usage
	us := usage.Microseconds()
	cpuStat := fmt.Sprintf("usage_usec %d\nuser_usec %d\nsystem_usec %d\n", us, us-us/3, us/3)
	dirs := m.cgroupDirs(path)
	if m.layout != V2 {
		m.write(filepath.Join(dirs[0], "cpuacct.usage"), fmt.Sprintf("%d\n", usage.Nanoseconds()))
		m.write(filepath.Join(dirs[1], "memory.usage_in_bytes"), "4194304\n")
	}
	if m.layout != V1 {
		m.write(filepath.Join(dirs[len(dirs)-1], "cpu.stat"), cpuStat)
	}
	if m.layout == V2 && path != "/" {
		m.write(filepath.Join(dirs[0], "memory.current"), "4194304\n")
	}
}

func (m *Machine) writeProcess(p *process, fresh bool) {
	m.tb.Helper()
	dir := m.Path("proc", strconv.Itoa(p.PID))
	if fresh {
		m.must(os.MkdirAll(dir, 0o755))
		m.write(filepath.Join(dir, "cgroup"), m.procCgroup(p.Cgroup))
	}
	if fresh && !p.Plain {
		cmdline := ""
		if len(p.Cmdline) > 0 {
			cmdline = strings.Join(p.Cmdline, "\x00") + "\x00"
		}
		m.write(filepath.Join(dir, "cmdline"), cmdline)
		m.write(filepath.Join(dir, "comm"), p.Comm+"\n")
		m.write(filepath.Join(dir, "statm"), fmt.Sprintf("%d %d 0 0 0 0 0\n", p.RSS/2048, p.RSS/4096))
		m.write(filepath.Join(dir, "status"), fmt.Sprintf("Name:\t%s\nState:\tS (sleeping)\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\n"+
			"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmRSS:\t%d kB\nThreads:\t1\n",
			strings.NewReplacer("\n", `\n`, `\`, `\\`).Replace(p.Comm), p.PID, p.PID, p.PPID, p.RSS/1024))
		if p.Exe != "" {
			m.must(os.Symlink(p.Exe, filepath.Join(dir, "exe")))
		}
	}
	flags := 0x00400000 // PF_RANDOMIZE
	if p.Kernel {
		flags = 0x00200000 // PF_KTHREAD (include/linux/sched.h)
	}
	// The 52 fields of man 5 proc_pid_stat.
	m.write(filepath.Join(dir, "stat"), fmt.Sprintf("%d (%s) S %d %d %d 0 -1 %d 10 0 0 0 %d %d %d %d 20 0 1 0 %d %d %d"+
		" 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		p.PID, p.Comm, p.PPID, p.PID, p.PID, flags, p.utime, p.stime, p.cutime, p.cstime, p.start, 2*p.RSS, p.RSS/4096))
}

func (m *Machine) writeStat() {
	m.tb.Helper()
	var b strings.Builder
	line := func(name string, share int64) {
		fmt.Fprintf(&b, "%s %d 0 %d %d 0 %d 0 %d 0 0\n", name,
			(m.user-m.user/3)/share, m.user/3/share, m.idle/share, m.irq/share, m.steal/share)
	}
	line("cpu ", 1)
	for i := range m.cpus {
		line(fmt.Sprintf("cpu%d", i), int64(m.cpus))
	}
	fmt.Fprintf(&b, "intr 0\nctxt 1\nbtime 1700000000\nprocesses %d\nprocs_running 1\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n", len(m.procs))
	m.write(m.Path("proc/stat"), b.String())
	m.write(m.Path("proc/uptime"), fmt.Sprintf("%d.%02d %d.%02d\n", m.uptime/100, m.uptime%100, m.idle/100, m.idle%100))
}
