package guest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"noether/deploy/image"
	"noether/internal/export/balance"
	"noether/test/e2e/cluster"
)

// The Debian of the guest. Its file is kept under a key of these words.
const (
	suite    = "bookworm"
	packages = "systemd,systemd-sysv,dbus,containerd,runc,mount,procps"
)

// TestPods runs a kubelet with static pods in a pure cgroup v2 hierarchy, and
// beside them the chart's unprivileged agent twice: without names, and with
// names of the kubelet. Both have no right and a cgroup namespace of their own,
// where every path that the kernel tells them is relative to themselves.
func TestPods(t *testing.T) {
	found := kernels(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest is an amd64 machine, and programs are built for this one's " + runtime.GOARCH)
	}
	tools, err := cluster.FindTools(t.Context(), "kubelet")
	if errors.Is(err, cluster.ErrNoTools) && fetch() {
		err = tools.Build(t.Context(), t.Output())
	}
	if err != nil {
		t.Skipf("needs a kubelet (make guest): %v", err)
	}
	g := guest{busybox: need(t, "busybox", "busybox-static"), kubelet: tools.Program("kubelet"), debian: debian(t), agents: agents(t)}
	g.images = images(t)
	for i, kernel := range found {
		drivers := []string{"systemd", "cgroupfs"}
		if i > 0 {
			drivers = drivers[:1]
		}
		for _, driver := range drivers {
			t.Run(driver+"-"+strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-"), func(t *testing.T) {
				out := g.boot(t, kernel, driver)
				truth := witness(t, out)
				for _, agent := range []string{"off", "kubelet"} {
					t.Run(agent, func(t *testing.T) { checkPods(t, out, agent, truth) })
				}
			})
		}
	}
}

// fetch says whether what is missing may be downloaded and built.
func fetch() bool { return os.Getenv("GUEST_FETCH") != "" }

func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("needs %s (Debian: apt-get install %s)", program, pkg)
	}
	return path
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// debian returns a file with the guest's file system, which is made once.
func debian(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("needs a cache of file systems: %v", err)
	}
	key := sha256.Sum256([]byte(suite + " " + packages))
	path := filepath.Join(cache, "noether", "guest-debian-"+hex.EncodeToString(key[:6])+".ext2")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if !fetch() {
		t.Skipf("needs a Debian, %s (make guest)", path)
	}
	mmdebstrap := need(t, "mmdebstrap", "mmdebstrap genext2fs e2fsprogs")
	need(t, "genext2fs", "genext2fs")
	t.Logf("making %s of Debian's packages %s", path, packages)
	work := path + ".new"
	os.Remove(work)
	command(t, mmdebstrap, "--quiet", "--variant=minbase", "--format=ext2", "--include="+packages, suite, work)
	// Room for images and containers, which takes none here.
	if err := os.Truncate(work, 2<<30); err != nil {
		t.Fatal(err)
	}
	command(t, need(t, "e2fsck", "e2fsprogs"), "-fy", work)
	command(t, need(t, "resize2fs", "e2fsprogs"), work)
	if err := os.Rename(work, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// agents renders the chart for both agents, and makes static pods of what it
// renders: these may not refer to objects of an API.
func agents(t *testing.T) map[string][]byte {
	t.Helper()
	helm, err := exec.LookPath("helm")
	if cache, nowhere := os.UserCacheDir(); err != nil && nowhere == nil {
		for _, dir := range []string{"helm-*", "cluster-*"} {
			if found, _ := filepath.Glob(filepath.Join(cache, "noether", dir, "helm")); len(found) > 0 { // the pattern is right
				helm, err = found[0], nil
			}
		}
	}
	if err != nil {
		t.Skip("needs helm (make guest)")
	}
	pods := map[string][]byte{}
	for source, port := range map[string]string{"off": "9877", "kubelet": "9878"} {
		text := command(t, helm, "template", "noether", "../../deploy/helm/noether", "--namespace", "noether", "--kube-version", "1.34.0",
			"--values", "pods/values.yaml", "--set", "port="+port+",kubernetes.source="+source, "--show-only", "templates/daemonset.yaml")
		var set struct {
			Spec struct{ Template map[string]any }
		}
		if err := yaml.Unmarshal([]byte(text), &set); err != nil {
			t.Fatal(err)
		}
		pod := set.Spec.Template
		pod["apiVersion"], pod["kind"] = "v1", "Pod"
		metadata, ok := pod["metadata"].(map[string]any)
		spec, ok2 := pod["spec"].(map[string]any)
		if !ok || !ok2 {
			t.Fatalf("the chart has no pod:\n%s", text)
		}
		metadata["name"], metadata["namespace"] = source, "noether"
		delete(spec, "serviceAccountName")
		if pods[source+".yaml"], err = json.Marshal(pod); err != nil { // YAML includes JSON
			t.Fatal(err)
		}
	}
	return pods
}

// images returns the archives of what runs in pods.
func images(t *testing.T) map[string][]byte {
	t.Helper()
	archives := map[string][]byte{}
	for ref, pkg := range map[string]string{"pause:1": "noether/test/e2e/cluster/cmd/pause", "shop:1": "noether/test/e2e/shop"} {
		im, err := cluster.Program(t.Context(), ref, pkg)
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		if err := image.Write(&archive, im); err != nil {
			t.Fatal(err)
		}
		archives[filepath.Base(pkg)+".tar"] = archive.Bytes()
	}
	path := filepath.Join(t.TempDir(), "noether.tar")
	command(t, "go", "run", "../../deploy/image/cmd/noether-image", "-C", "../..", "-ref", "noether:guest", "-platform", "linux/amd64", "-o", path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	archives["noether.tar"] = content
	return archives
}

type guest struct {
	busybox, kubelet, debian string // paths
	agents, images           map[string][]byte
}

// boot runs the machine and returns the files it wrote.
func (g *guest) boot(t *testing.T, kernel, driver string) map[string][]byte {
	t.Helper()
	initrd := &archive{}
	for _, dir := range []string{"bin", "proc", "sys", "dev", "root", "modules", "add", "add/usr", "add/usr/bin", "add/etc", "add/etc/containerd", "add/etc/systemd", "add/etc/systemd/system", "add/guest", "add/guest/agents", "add/guest/images", "add/guest/shop", "add/guest/token"} {
		initrd.add(dir, 0o40755, nil)
	}
	initrd.file(t, "init", "pods/init")
	initrd.file(t, "bin/busybox", g.busybox)
	initrd.modules(t, kernel, "virtio_pci", "virtio_blk", "overlay")
	initrd.file(t, "add/usr/bin/busybox", g.busybox)
	initrd.file(t, "add/guest/run", "pods/run")
	initrd.file(t, "add/guest/kubelet", g.kubelet)
	for name, content := range g.agents {
		initrd.add("add/guest/agents/"+name, 0o100644, content)
	}
	for name, content := range g.images {
		initrd.add("add/guest/images/"+name, 0o100644, content)
	}
	for _, name := range []string{"frontend", "catalogue", "shipping", "ads"} {
		initrd.file(t, "add/guest/shop/"+name+".yaml", "pods/shop/"+name+".yaml")
	}
	settings := strings.NewReplacer("CGROUP_DRIVER", driver, "SYSTEMD_CGROUP", strconv.FormatBool(driver == "systemd"))
	for to, from := range map[string]string{"guest/kubelet.yaml": "kubelet.yaml", "etc/containerd/config.toml": "containerd.toml", "etc/systemd/system/guest.service": "guest.service"} {
		content, err := os.ReadFile(filepath.Join("pods", from))
		if err != nil {
			t.Fatal(err)
		}
		initrd.add("add/"+to, 0o100644, []byte(settings.Replace(string(content))))
	}
	initrd.add("add/guest/token/token", 0o100644, []byte("any\n"))
	initrd.add("add/etc/hosts", 0o100644, []byte("127.0.0.1 localhost\n10.99.0.1 guest\n"))
	initrd.add("add/etc/hostname", 0o100644, []byte("guest\n"))
	initrd.add("TRAILER!!!", 0, nil)
	dir := t.TempDir()
	result := filepath.Join(dir, "result")
	if err := os.WriteFile(filepath.Join(dir, "initrd"), initrd.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(result, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(result, 64<<20); err != nil {
		t.Fatal(err)
	}
	console, err := emulate(t, 30*time.Minute, "2048", kernel, filepath.Join(dir, "initrd"), "systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 systemd.wants=guest.service",
		"-drive", "if=virtio,format=raw,snapshot=on,file="+g.debian, "-drive", "if=virtio,format=raw,cache=unsafe,file="+result)
	for line := range strings.Lines(string(console)) {
		if strings.HasPrefix(line, "guest: ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Fatalf("run the machine: %v\n%s", err, console[max(0, len(console)-4000):])
	}
	f, err := os.Open(result)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := files(f)
	if err != nil {
		t.Fatalf("read what the machine wrote: %v\n%s", err, console[max(0, len(console)-4000):])
	}
	if keep := os.Getenv("GUEST_OUTPUTS"); keep != "" {
		for name, content := range out {
			if err := os.WriteFile(filepath.Join(keep, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(out["witness"]) == 0 {
		log := out["journal.log"]
		t.Fatalf("the pods do not run\n%s\n%s\n%s", console[max(0, len(console)-4000):], out["tasks.late"], log[max(0, len(log)-8000):])
	}
	return out
}

func files(r io.Reader) (map[string][]byte, error) {
	out := map[string][]byte{}
	for r := tar.NewReader(r); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if out[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}

// emulate runs a machine until it is off and returns what its console showed.
func emulate(t *testing.T, limit time.Duration, megabytes, kernel, initrd, words string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max", "-m", megabytes,
		"-nographic", "-no-reboot", "-net", "none", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 rdinit=/init " + words,
	}, args...)...)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	if path := os.Getenv("GUEST_CONSOLE"); path != "" { // to watch it
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		both := io.MultiWriter(&console, f)
		cmd.Stdout, cmd.Stderr = both, both
	}
	err := cmd.Run()
	t.Logf("the machine ran %.0f s", time.Since(begin).Seconds())
	return console.Bytes(), err
}

// modules adds modules of the kernel, and those they need before them. What the
// kernel has built in is no file.
func (a *archive) modules(t *testing.T, kernel string, names ...string) {
	t.Helper()
	release := strings.TrimPrefix(filepath.Base(kernel), "vmlinuz-")
	top := filepath.Dir(filepath.Dir(kernel))
	dir := filepath.Join(top, "lib", "modules", release)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("needs the modules of the kernel: %v (make guest)", err)
	}
	depmod := "/usr/sbin/depmod" // not on the path of every user
	if _, err := os.Stat(depmod); err != nil {
		depmod = need(t, "depmod", "kmod")
	}
	needs := map[string][]string{}
	for line := range strings.Lines(command(t, depmod, "-n", "-b", top, release)) {
		file, others, ok := strings.Cut(line, ":")
		if name, _, isModule := strings.Cut(filepath.Base(file), ".ko"); ok && isModule && strings.HasPrefix(file, "kernel/") {
			list := strings.Fields(others) // the last is needed first
			slices.Reverse(list)
			needs[name] = append(list, file)
		}
	}
	done := map[string]bool{}
	for _, name := range names {
		for _, file := range needs[name] {
			if done[file] {
				continue
			}
			done[file] = true
			path := filepath.Join(dir, file)
			to := fmt.Sprintf("modules/%02d-%s", len(done), filepath.Base(file))
			if plain, packed := strings.CutSuffix(to, ".xz"); packed {
				a.add(plain, 0o100644, []byte(command(t, need(t, "xz", "xz-utils"), "-dc", path)))
			} else {
				a.file(t, to, path)
			}
		}
	}
}

// container is what the runtime and the kernel know of a container.
type container struct {
	id, name, pod, namespace, uid string
	sandbox                       bool
	used, podUsed                 float64 // seconds of CPU time
	cgroup                        string
}

func witness(t *testing.T, out map[string][]byte) []container {
	t.Helper()
	var all []container
	for line := range strings.Lines(string(out["witness"])) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			t.Fatalf("the witness says %q", line)
		}
		var bundle struct{ Annotations map[string]string }
		if err := json.Unmarshal(out[fields[0]+".json"], &bundle); err != nil {
			t.Fatalf("read what containerd knows of %s: %v", fields[0], err)
		}
		told := func(name string) string { return bundle.Annotations["io.kubernetes.cri."+name] }
		c := container{
			id: fields[0], cgroup: fields[3], name: told("container-name"), pod: told("sandbox-name"), namespace: told("sandbox-namespace"), uid: told("sandbox-uid"),
			sandbox: told("container-type") == "sandbox",
		}
		for i, to := range []*float64{&c.used, &c.podUsed} {
			usec, err := strconv.ParseFloat(fields[1+i], 64)
			if err != nil {
				t.Fatal(err)
			}
			*to = usec / 1e6
		}
		all = append(all, c)
	}
	return all
}

// checkPods holds the page of one agent against the containers' runtime, for
// who they are, and the kernel, for what they used.
func checkPods(t *testing.T, out map[string][]byte, agent string, truth []container) {
	process, log, check := string(out[agent+".process"]), string(out[agent+".log"]), string(out[agent+".check"])
	t.Logf("process\n%s\ncheck\n%s\nlog\n%s", process, check, log)
	page := out[agent+".page"]
	if err := balance.Check(page); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "cgroup: 0::/\n", "own: cgroup\n", "own: pid\n"} {
		if !strings.Contains(process, want) {
			t.Errorf("the agent's process lacks %q", want)
		}
	}
	last, err := read(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(last.containers)) {
		t.Logf("container %v %.6f s", last.containers[id].labels, last.containers[id].seconds)
	}

	var shop []container
	var kernel, seconds, joules float64
	for _, c := range truth {
		if c.namespace != "shop" || c.sandbox {
			continue
		}
		shop = append(shop, c)
		if o := last.containers[c.id]; o != nil {
			kernel, seconds, joules = kernel+c.used, seconds+o.seconds, joules+o.joules
		}
	}
	if len(shop) != 5 {
		t.Errorf("%d containers of the shop run", len(shop))
	}
	fair := fairly(t, out, agent, last, shop)
	near := func(what string, got, want float64) {
		if math.IsNaN(got/want) || math.Abs(got/want-1) > 0.02 {
			t.Errorf("%s is %.6f by the agent, and should be %.6f", what, got, want)
		}
	}
	for _, c := range shop {
		who := c.pod + "/" + c.name
		o, p := last.containers[c.id], last.pods[c.uid]
		if o == nil || p == nil {
			t.Errorf("%s: the page has its container: %t, its pod %s: %t", who, o != nil, c.uid, p != nil)
			continue
		}
		t.Logf("%-24s kernel %9.6f s, agent %9.6f s, %.3f %% of the shop; %9.6f J, by CPU time of each tick %9.6f J, %.3f %% of the shop",
			who, c.used, o.seconds, 100*o.seconds/seconds, o.joules, fair[c.id], 100*o.joules/joules)
		want := map[string]string{"container_id": c.id, "pod_uid": c.uid, "runtime": "containerd", "node": "guest"}
		wantPod := map[string]string{"pod_uid": c.uid, "node": "guest"}
		if agent == "kubelet" {
			want["namespace"], want["pod"], want["container"] = c.namespace, c.pod, c.name
			wantPod["namespace"], wantPod["pod"] = c.namespace, c.pod
			wantPod["workload_kind"], wantPod["workload"] = "StaticPod", strings.TrimSuffix(c.pod, "-guest")
		}
		if diff := cmp.Diff(want, o.labels); diff != "" {
			t.Errorf("%s: labels of the container (-want +got)\n%s", who, diff)
		}
		if diff := cmp.Diff(wantPod, p.labels); diff != "" {
			t.Errorf("%s: labels of its pod (-want +got)\n%s", who, diff)
		}
		near(who+": CPU time", o.seconds, c.used)
		near(who+": CPU time of its pod", p.seconds, c.podUsed)
		near(who+": share of CPU time", o.seconds/seconds, c.used/kernel)
		near(who+": energy", o.joules, fair[c.id])
	}
	for _, want := range []string{"* cgroup    works       cgroups by cpu.stat (v2)", "bpf       forbidden   CAP_BPF and CAP_PERFMON are missing", "Kubernetes: runAsUser: 0", "exit 0\n"} {
		if !strings.Contains(check, want) {
			t.Errorf("noether check does not tell %q", want)
		}
	}
	if strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") || strings.Contains(log, "suspended") || strings.Count(log, "listening on") != 1 {
		t.Error("the agent complains, or did not run once")
	}
}

// fairly returns what the containers of the shop should have paid: of each
// tick's energy for all of them together, the share of their CPU time in it.
// By how much power rises with CPU time differs from tick to tick, so that the
// shares of the whole are no shares of CPU time.
func fairly(t *testing.T, out map[string][]byte, agent string, last *sheet, shop []container) map[string]float64 {
	t.Helper()
	fair := map[string]float64{}
	ticks, together := 0, 0
	var before *sheet
	account := func(s *sheet) {
		if before == nil || s.tick == before.tick {
			before = s
			return
		}
		ticks++
		if s.tick > before.tick+1 {
			together++
		}
		var seconds, joules float64
		used := map[string]float64{}
		for _, c := range shop {
			is, was := s.containers[c.id], before.containers[c.id]
			if is != nil && was == nil {
				fair[c.id] = is.joules // of the ticks in which its name was waited for
			}
			if is == nil || was == nil {
				continue
			}
			used[c.id] = is.seconds - was.seconds
			seconds += used[c.id]
			joules += is.joules - was.joules
		}
		for id, d := range used {
			if seconds > 0 {
				fair[id] += joules * d / seconds
			}
		}
		before = s
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if !strings.HasPrefix(name, agent+".0") || len(out[name]) == 0 {
			continue
		}
		s, err := read(out[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		account(s)
	}
	account(last)
	t.Logf("%d ticks were seen, %d of them two or more at once", ticks, together)
	return fair
}

// sheet is what a page says of pods.
type sheet struct {
	tick             float64
	containers, pods map[string]*series // by id and by uid
}

// series are those of one owner.
type series struct {
	labels          map[string]string
	seconds, joules float64
}

func read(page []byte) (*sheet, error) {
	r := &sheet{containers: map[string]*series{}, pods: map[string]*series{}}
	for line := range strings.Lines(string(page)) {
		if line[0] == '#' {
			continue
		}
		s, err := balance.Parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseFloat(s.Value, 64)
		if err != nil {
			return nil, err
		}
		if s.Name == "noether_ticks_total" {
			r.tick = v
		}
		owners, key := r.pods, s.Labels["pod_uid"]
		kind, ok := strings.CutPrefix(s.Name, "noether_pod_")
		if !ok {
			owners, key = r.containers, s.Labels["container_id"]
			if kind, ok = strings.CutPrefix(s.Name, "noether_container_"); !ok {
				continue
			}
		}
		o := owners[key]
		if o == nil {
			o = &series{}
			owners[key] = o
		}
		switch {
		case kind == "cpu_seconds_total":
			o.seconds, o.labels = v, s.Labels
		case kind == "joules_total" && s.Labels["component"] == "cpu" && s.Labels["part"] == "dynamic":
			o.joules = v
		}
	}
	return r, nil
}
