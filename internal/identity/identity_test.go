package identity

import (
	"bufio"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"noether/internal/workload"
)

const (
	id1 = "796b4d67b1075bd324528b8cbbae26164110984f3a165b57d9e3cc7f7b4dedce"
	id2 = "3b2a5e212c695d8f380b8ab0ad11d740ace084fae7f9fadc0eb740a99d8c3754"
)

func pod(uid, qos, id, runtime string) workload.Owner {
	return workload.Owner{
		Kind:      workload.PodOwner,
		Pod:       workload.Pod{UID: uid, QoS: qos},
		Container: workload.Container{ID: id, Runtime: runtime},
	}
}

func container(id, runtime string) workload.Owner {
	return workload.Owner{Kind: workload.ContainerOwner, Container: workload.Container{ID: id, Runtime: runtime}}
}

func named(name, runtime string) workload.Owner {
	o := container(name, runtime)
	o.Container.Name = name
	return o
}

func machine(name, hypervisor string) workload.Owner {
	return workload.Owner{Kind: workload.VMOwner, VM: workload.VM{Name: name, Hypervisor: hypervisor}}
}

func unit(name string) workload.Owner { return workload.Owner{Kind: workload.UnitOwner, Unit: name} }

func session(user string) workload.Owner {
	return workload.Owner{Kind: workload.SessionOwner, User: user}
}

// What the example of each row of the table must yield, by the row's title.
// A row without a line here fails the test.
func TestTableExamples(t *testing.T) {
	want := map[string]workload.Owner{
		"Kubernetes, systemd driver, Burstable":     pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", exampleID, "containerd"),
		"Kubernetes, systemd driver, BestEffort":    pod("cab1855f104523cc570a78886c3243e7", "besteffort", exampleID, "cri-o"),
		"Kubernetes, systemd driver, Guaranteed":    pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", exampleID, "docker"),
		"Kubernetes, cgroupfs driver, Burstable":    pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", exampleID, ""),
		"Kubernetes, cgroupfs driver, BestEffort":   pod("4d79d57d-edcd-47e1-9e07-b9baa78c5b87", "besteffort", exampleID, ""),
		"Kubernetes, cgroupfs driver, Guaranteed":   pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", exampleID, ""),
		"Docker, systemd driver":                    container(exampleID, "docker"),
		"containerd CRI, systemd driver":            container(exampleID, "containerd"),
		"nerdctl, systemd driver":                   container(exampleID, "containerd"),
		"CRI-O, systemd driver":                     container(exampleID, "cri-o"),
		"CRI-O, cgroupfs driver":                    container(exampleID, "cri-o"),
		"Podman, systemd driver":                    container(exampleID, "podman"),
		"Podman, in the cgroup of its service":      container(exampleID, "podman"),
		"Podman, cgroupfs driver":                   container(exampleID, "podman"),
		"Docker, systemd name as directory":         container(exampleID, "docker"),
		"containerd CRI, systemd name as directory": container(exampleID, "containerd"),
		"nerdctl, systemd name as directory":        container(exampleID, "containerd"),
		"CRI-O, systemd name as directory":          container(exampleID, "cri-o"),
		"Podman, systemd name as directory":         container(exampleID, "podman"),
		"LXC, LXD, Incus":                           named("web", "lxc"),
		"LXC 4.0":                                   named("web", "lxc"),
		"LXC before 4.0, Proxmox VE":                named("101", "lxc"),
		"systemd-nspawn, as a service":              named("build-host", "systemd-nspawn"),
		"libvirt LXC, systemd":                      named("web", "libvirt-lxc"),
		"libvirt LXC before 1.3, systemd":           named("web", "libvirt-lxc"),
		"libvirt LXC, without systemd":              named("web", "libvirt-lxc"),
		"libvirt QEMU, systemd":                     machine("debian-12", "libvirt"),
		"libvirt QEMU before 1.3, systemd":          machine("debian-12", "libvirt"),
		"libvirt QEMU, without systemd, numbered":   machine("debian", "libvirt"),
		"libvirt QEMU, without systemd":             machine("debian", "libvirt"),
		"libvirt QEMU before 1.0.5":                 machine("debian", "libvirt"),
		"Proxmox VE QEMU":                           machine("100", "proxmox"),
		"systemd-vmspawn, as a service":             machine("fedora", "systemd-vmspawn"),
		"systemd-nspawn, started by hand":           named("web", "systemd-nspawn"),
		"container of a pod, cgroupfs driver":       pod("cab1855f104523cc570a78886c3243e7", "besteffort", exampleID, ""),
		"BuildKit":                                  named("u8gy5pcj6ftuvwvdjafrsfdnv", "buildkit"),
		"containerd, namespace default":             container(exampleID, "containerd"),
		"containerd, namespace k8s.io":              named("probe", "containerd"),
		"Docker, cgroupfs driver, any parent":       container(exampleID, "docker"),
	}
	for _, row := range table {
		t.Run(row.title, func(t *testing.T) {
			w, ok := want[row.title]
			if !ok {
				t.Fatal("the row has no expectation")
			}
			got, ok := Parse(row.example)
			if !ok {
				t.Fatalf("Parse(%q) found nothing", row.example)
			}
			if diff := cmp.Diff(w, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", row.example, diff)
			}
		})
		delete(want, row.title)
	}
	for title := range want {
		t.Errorf("no row is called %q", title)
	}
}

// One path on a line of its own, as a host's only hierarchy.
func TestPath(t *testing.T) {
	burstable := pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", id1, "containerd")
	tests := []struct {
		name, path string
		want       workload.Owner
	}{
		// Kubernetes.
		{"CRI-O leaf below its scope", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice/crio-" + id1 + ".scope/container", pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", id1, "cri-o")},
		{"CRI-O cgroupfs", "/kubepods/burstable/pod207ae490-d3c8-40b7-8f60-25e14c36ca4d/crio-" + id1, pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", id1, "cri-o")},
		{"cri-dockerd systemd is not an id out of the uid", "/kubepods.slice/kubepods-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice/docker-" + id1 + ".scope", pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", id1, "docker")},
		{"CRI-O monitor in a pod is the pod's own", "/kubepods.slice/kubepods-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice/crio-conmon-" + id1 + ".scope", pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", "", "")},
		{"the pod's own cgroup, systemd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podcab1855f104523cc570a78886c3243e7.slice", pod("cab1855f104523cc570a78886c3243e7", "besteffort", "", "")},
		{"the pod's own cgroup, cgroupfs", "/kubepods/besteffort/podcab1855f104523cc570a78886c3243e7", pod("cab1855f104523cc570a78886c3243e7", "besteffort", "", "")},
		{"k3s, kubelet says systemd and containerd does not", "/system.slice/k3s.service/kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice:cri-containerd:" + id1, burstable},
		{"k3s rootless", "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/k3s_evac/kubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b/" + id1, pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", id1, "")},
		{"kind, systemd: a pod of a node in a container", "/system.slice/docker-" + id2 + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice/cri-containerd-" + id1 + ".scope", burstable},
		{"kind, cgroupfs: a pod of a node in a container", "/docker/" + id2 + "/kubelet/kubepods/besteffort/pod4d79d57d-edcd-47e1-9e07-b9baa78c5b87/" + id1, pod("4d79d57d-edcd-47e1-9e07-b9baa78c5b87", "besteffort", id1, "")},
		{"kind: the node itself is a container", "/docker/" + id2 + "/kubelet.slice/kubelet.service", container(id2, "docker")},
		{"kind in a pod: the outer pod pays", "/kubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b/" + id1 + "/docker/" + id2 + "/kubelet/kubepods/podcab1855f104523cc570a78886c3243e7/" + id2, pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", id1, "")},
		{"docker in a pod is the pod's container", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice/cri-containerd-" + id1 + ".scope/docker/" + id2, burstable},
		{"KubeVirt: a VM in a pod is the pod's", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod207ae490_d3c8_40b7_8f60_25e14c36ca4d.slice/cri-containerd-" + id1 + `.scope/machine/qemu-1-vm.libvirt-qemu/emulator`, burstable},
		{"Kata: the sandbox is the pod's own", "/kubepods/burstable/pod207ae490-d3c8-40b7-8f60-25e14c36ca4d/kata_" + id1, pod("207ae490-d3c8-40b7-8f60-25e14c36ca4d", "burstable", "", "")},
		{"the kubelet's root is a unit, systemd", "/kubepods.slice/kubepods-burstable.slice", unit("kubepods-burstable.slice")},
		{"the kubelet's root is a unit, cgroupfs", "/kubepods/burstable", unit("/kubepods")},
		{"a directory called pod elsewhere is no pod", "/srv/podcast", unit("/srv")},
		{"a slice that only ends like a pod's", "/notkubepods-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice/a.scope", unit("a.scope")},
		{"a directory that only ends like the kubelet's", "/notkubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b", unit("/notkubepods")},
		{"a pod without a uid is no pod", "/kubepods/pod", unit("/kubepods")},
		{"a uid of other characters is no pod", "/kubepods/pod a/" + id1, container(id1, "docker")},
		{"removed while it was read", "/kubepods/pod841bfa13-623d-4e85-8c45-991c7dbbaa2b/" + id1 + " (deleted)", pod("841bfa13-623d-4e85-8c45-991c7dbbaa2b", "guaranteed", id1, "")},
		{"a sibling seen from a private cgroup namespace", "/../cri-containerd-" + id1 + ".scope", container(id1, "containerd")},

		// Containers.
		{"docker, slice of one's own", "/batch.slice/docker-" + id1 + ".scope", container(id1, "docker")},
		{"docker, cgroupfs, parent of one's own", "/batch/jobs/" + id1, container(id1, "docker")},
		{"docker, at the root", "/" + id1, container(id1, "docker")},
		{"docker in docker is the outer one's", "/docker/" + id1 + "/docker/" + id2, container(id1, "docker")},
		{"systemd in a container", "/system.slice/docker-" + id1 + ".scope/system.slice/nginx.service", container(id1, "docker")},
		{"docker in LXC is the LXC container's", "/lxc.payload.ci/docker/" + id1, named("ci", "lxc")},
		{"docker's service is no container", "/system.slice/docker.service", unit("docker.service")},
		{"docker's service with a cgroup of its own", "/system.slice/docker.service/supervised", unit("docker.service")},
		{"a scope that only begins like docker's", "/system.slice/docker-desktop.scope", unit("docker-desktop.scope")},
		{"an id that is too short", "/docker/" + id1[1:], unit("/docker")},
		{"an id in capitals", "/docker/" + strings.ToUpper(id1), unit("/docker")},
		{"32 digits are no id", "/process_api/cc0e202ff0e68bc6b654fb8f7afe2569", unit("/process_api")},
		{"nerdctl rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-" + id1 + ".scope", container(id1, "containerd")},
		{"ctr run", "/default/redis", named("redis", "containerd")},
		{"default deeper down is no namespace", "/batch/default/redis", unit("/batch")},
		{"podman pod", "/machine.slice/machine-libpod_pod_" + id2 + ".slice/libpod-" + id1 + ".scope", container(id1, "podman")},
		{"podman rootful", "/machine.slice/libpod-" + id1 + ".scope/container", container(id1, "podman")},
		{"podman's monitor is no container", "/machine.slice/libpod-conmon-" + id1 + ".scope", unit("libpod-conmon-" + id1 + ".scope")},
		{"podman's monitor, rootless, is the user's", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-" + id1 + ".scope", session("1000")},
		{"podman's monitor, cgroupfs", "/libpod_parent/conmon", unit("/libpod_parent")},
		{"CRI-O's monitor is no container", "/system.slice/crio-conmon-" + id1 + ".scope", unit("crio-conmon-" + id1 + ".scope")},
		{"LXC's monitor is no container", "/lxc.monitor.web", unit("/lxc.monitor.web")},
		{"LXC's monitor, 4.0", "/lxc.monitor/web", unit("/lxc.monitor")},
		{"LXC itself", "/lxc", unit("/lxc")},
		{"no container is called ..", "/lxc/..", unit("/lxc")},
		{"LXD's daemon", "/system.slice/snap.lxd.daemon.service", unit("snap.lxd.daemon.service")},
		{"LXC unprivileged", "/user.slice/user-1000.slice/session-3.scope/lxc/web", named("web", "lxc")},
		{"LXC in LXC is the outer one's", "/lxc/outer/lxc/inner", named("outer", "lxc")},
		{"an LXC name that is not UTF-8", "/lxc/\xff\xfeab", named("\uFFFDab", "lxc")},
		{"an escape that is none stays", `/machine.slice/systemd-nspawn@a\x2\xzz.service`, named(`a\x2\xzz`, "systemd-nspawn")},
		{"an escape that is not UTF-8", `/machine.slice/systemd-nspawn@a\xff.service`, named("a\uFFFD", "systemd-nspawn")},
		{"an nspawn container called qemu", "/machine.slice/machine-qemu.scope", named("qemu", "systemd-nspawn")},

		// Virtual machines.
		{"libvirt, slice of one's own", `/machine-production.slice/machine-qemu\x2d12\x2ddb\x2d1.scope/libvirt/vcpu3`, machine("db-1", "libvirt")},
		{"libvirt, a name of digits and dashes", `/machine.slice/machine-qemu\x2d2\x2d1\x2d1.scope`, machine("1-1", "libvirt")},
		{"libvirt, umlaut", `/machine.slice/machine-qemu\x2d1\x2dB\xc3\xa4r.scope`, machine("Bär", "libvirt")},
		{"libvirt, without systemd, a name with a dash", "/machine/qemu-3-db-1.libvirt-qemu", machine("db-1", "libvirt")},
		{"libvirt, without systemd, a name that begins with qemu", "/machine/qemu-db.libvirt-qemu", machine("qemu-db", "libvirt")},
		{"libvirt's daemon", "/system.slice/libvirtd.service", unit("libvirtd.service")},
		{"Proxmox's slice", "/qemu.slice", unit("qemu.slice")},
		{"a scope in Proxmox's slice that is no VM", "/qemu.slice/foo.scope", unit("foo.scope")},

		// Units and sessions.
		{"the root", "/", unit("/")},
		{"nothing", "", unit("/")},
		{"the root of a namespace", "/../..", unit("/")},
		{"init", "/init.scope", unit("init.scope")},
		{"a service", "/system.slice/ssh.service", unit("ssh.service")},
		{"a template", "/system.slice/system-getty.slice/getty@tty1.service", unit("getty@tty1.service")},
		{"a delegated service", "/system.slice/slurmstepd.scope/job_42/step_0/user/task_0", unit("slurmstepd.scope")},
		{"a transient unit", "/system.slice/run-rf3c4.scope", unit("run-rf3c4.scope")},
		{"a unit with escapes keeps them", `/system.slice/system-foo.slice/foo@a\x2db.service`, unit(`foo@a\x2db.service`)},
		{"a unit that systemd hides from the kernel", "/system.slice/_cpu.service", unit("cpu.service")},
		{"a slice", "/system.slice", unit("system.slice")},
		{"a slice of slices", "/a.slice/a-b.slice", unit("a-b.slice")},
		{"a directory below a slice", "/a.slice/x/y.service", unit("a.slice")},
		{"a mount", "/system.slice/tmp.mount", unit("tmp.mount")},
		{"Slurm v1", "/slurm/uid_1000/job_7/step_0", unit("/slurm")},
		{"OpenRC", "/openrc.sshd", unit("/openrc.sshd")},
		{"no systemd, a name that looks like its", "/foo/bar.service", unit("/foo")},
		{"without a leading slash", "foo/bar", unit("/foo")},
		{"a unit that is not UTF-8", "/\xff/x", unit("/\uFFFD")},
		{"login shell", "/user.slice/user-1000.slice/session-2.scope", session("1000")},
		{"user service", "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.scope", session("1000")},
		{"the user's slice itself", "/user.slice/user-0.slice", session("0")},
		{"all users", "/user.slice", unit("user.slice")},
		{"no uid", "/user.slice/user-bob.slice/x.scope", unit("x.scope")},
		{"a uid that is too long", "/user.slice/user-42949672950.slice", unit("user-42949672950.slice")},
		{"a user's slice elsewhere", "/system.slice/user-1000.slice/a.scope", unit("a.scope")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Resolve([]workload.CgroupPath{{Path: tt.path}})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tt.path, diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	docker1, docker2 := "/docker/"+id1, "/docker/"+id2
	tests := []struct {
		name  string
		lines string
		want  workload.Owner
	}{
		{"no line", "", unit("/")},
		{"only roots", "2:cpuacct:/\n1:name=systemd:/\n0::/", unit("/")},
		{"only other controllers", "4:memory:/process_api/x\n3:blkio:/system.slice/a.service\n2:devices:/b\n0::/", unit("/")},
		{"the unit of v2 comes first", "3:cpu,cpuacct:/c\n2:name=systemd:/system.slice/b.service\n0::/system.slice/a.service", unit("a.service")},
		{"then that of cpuacct", "4:cpu:/d\n3:cpuacct:/c\n2:name=systemd:/system.slice/b.service\n0::/", unit("/c")},
		{"then that of cpu", "4:cpu:/d\n3:cpuacct:/\n2:name=systemd:/system.slice/b.service\n0::/", unit("/d")},
		{"then that of systemd", "4:cpuset,cpu,cpuacct:/\n1:name=systemd:/user.slice/user-7.slice/session-1.scope\n0::/", session("7")},
		{"a container in memory alone counts", "4:memory:" + docker1 + "\n1:name=systemd:/system.slice/b.service\n0::/system.slice/b.service", container(id1, "docker")},
		{"a container in devices alone counts", "4:devices:" + docker1 + "\n0::/system.slice/b.service", container(id1, "docker")},
		{"cpuacct before systemd", "4:name=systemd:" + docker2 + "\n3:cpu,cpuacct:" + docker1, container(id1, "docker")},
		{"systemd before pids", "5:pids:" + docker2 + "\n4:name=systemd:" + docker1, container(id1, "docker")},
		{"pids before v2", "5:pids:" + docker1 + "\n0::" + docker2, container(id1, "docker")},
		{"a hierarchy ranks by its best controller", "5:pids:" + docker2 + "\n4:cpuacct,cpu,cpuset:" + docker1, container(id1, "docker")},
		{"v2 before memory", "5:memory:" + docker2 + "\n0::" + docker1, container(id1, "docker")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Resolve(lines(tt.lines))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// lines turns the text of /proc/<pid>/cgroup into paths.
func lines(text string) []workload.CgroupPath {
	var paths []workload.CgroupPath
	for line := range strings.Lines(text) {
		if parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(parts) == 3 {
			paths = append(paths, workload.CgroupPath{Hierarchy: parts[1], Path: parts[2]})
		}
	}
	return paths
}

// TestRecorded runs over cgroup files that were recorded on real machines.
func TestRecorded(t *testing.T) {
	f, err := os.Open("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var (
		want  workload.Owner
		text  string
		n     int
		title string
	)
	check := func() {
		if text == "" {
			return
		}
		n++
		if diff := cmp.Diff(want, Resolve(lines(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", title, diff)
		}
		text = ""
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			check()
			title = line
			f := strings.Fields(line)[1:]
			switch f[0] {
			case "pod":
				want = pod(f[1], f[2], f[3], strings.Trim(f[4], `"`))
			default:
				want = unit(f[1])
			}
		default:
			text += line + "\n"
		}
	}
	check()
	if n < 20 {
		t.Errorf("only %d recorded processes", n)
	}
}

// checkNames fails if a name in o could not stand in a label.
func checkNames(t *testing.T, o workload.Owner) {
	t.Helper()
	for _, s := range []string{o.Pod.UID, o.Container.ID, o.Container.Name, o.VM.Name, o.User, o.Unit} {
		if !utf8.ValidString(s) || len(s) > MaxLabel || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("%q is no label", s)
		}
	}
	empty := map[workload.Kind]bool{
		workload.PodOwner:       o.Pod.UID == "",
		workload.ContainerOwner: o.Container.ID == "",
		workload.VMOwner:        o.VM.Name == "",
		workload.SessionOwner:   o.User == "",
		workload.UnitOwner:      o.Unit == "",
	}
	if e, known := empty[o.Kind]; e || !known {
		t.Errorf("%+v is no owner", o)
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range table {
		f.Add(row.example, "x")
	}
	for _, path := range []string{"", "/", "//..//", "/user.slice/user-1000.slice/x", "/system.slice/a.service/b", "/machine.slice/machine-qemu\\x2d1\\x2d\\xff.scope", "/lxc/" + strings.Repeat("\xff", 300), "/.slice/.service"} {
		f.Add(path, "docker/"+id1)
	}
	f.Fuzz(func(t *testing.T, path, below string) {
		checkNames(t, Resolve([]workload.CgroupPath{{Path: path}}))
		checkNames(t, Unit(path))
		owner, ok := Parse(path)
		if !ok {
			if owner != (workload.Owner{}) {
				t.Fatalf("Parse(%q) = %+v and false", path, owner)
			}
			return
		}
		checkNames(t, owner)
		// What runs below belongs to the same owner, unless it is the first
		// container of a pod, or a pod in a container.
		nested, ok := Parse(path + "/" + below)
		switch {
		case strings.HasSuffix(path, " (deleted)") || strings.HasSuffix(below, " (deleted)"):
		case !ok:
			t.Errorf("Parse(%q) found nothing below %q", path+"/"+below, path)
		case owner.Kind == workload.PodOwner && nested.Pod != owner.Pod,
			owner.Kind == workload.PodOwner && owner.Container.ID != "" && nested != owner,
			owner.Kind != workload.PodOwner && nested.Kind != workload.PodOwner && nested != owner:
			t.Errorf("%q is of %+v, but below it %q is of %+v", path, owner, below, nested)
		}
	})
}

func TestLabel(t *testing.T) {
	long := strings.Repeat("a", MaxLabel-1)
	for in, want := range map[string]string{
		"":             "",
		"plain":        "plain",
		"\xff\xfeab":   "\uFFFDab",
		long + "bc":    long + "b",
		long + "é":     long,
		long + "\xff":  long,
		"a\x00b\n\"\\": "a\uFFFDb\uFFFD\"\\",
		"\u0085\x7f":   "\uFFFD\uFFFD",
	} {
		if got := Label(in); got != want {
			t.Errorf("Label(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAllocs(t *testing.T) {
	for _, tt := range []struct {
		name string
		path string
		want float64
	}{
		{"docker", "/system.slice/docker-" + id1 + ".scope", 0},
		{"service", "/system.slice/ssh.service", 0},
		{"pod, cgroupfs", "/kubepods/burstable/pod207ae490-d3c8-40b7-8f60-25e14c36ca4d/" + id1, 0},
		{"pod, systemd: the dashes of the uid", "/kubepods.slice/kubepods-pod841bfa13_623d_4e85_8c45_991c7dbbaa2b.slice/cri-containerd-" + id1 + ".scope", 1},
	} {
		paths := []workload.CgroupPath{{Path: tt.path}}
		if got := testing.AllocsPerRun(100, func() { Resolve(paths) }); got != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}
