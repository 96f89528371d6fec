package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	operatorPackage   = "github.com/prometheus-operator/prometheus-operator"
	prometheusPackage = "github.com/prometheus/prometheus"
)

// ErrNoTools says that the programs of the cluster were not built yet.
var ErrNoTools = errors.New("the cluster's programs are not built: make cluster-tools builds them, once")

// Tools is a directory with the programs of the cluster, built from the nested
// module test/e2e/cluster/tools. It is a value; nothing changes the directory
// once it is complete.
type Tools struct {
	// Dir holds kube-apiserver, kube-controller-manager, kube-scheduler,
	// kubelet, kube-proxy, kubectl, etcd, helm, kubeconform, prometheus,
	// promtool, prometheus-operator, and in crds the operator's CRDs.
	Dir string
	// Kubernetes is the version, as in v1.34.4.
	Kubernetes string
	module     string // the directory of the nested module
	flags      []string
	packages   []string // what to build; tool is all
}

// Program returns the path of a program.
func (t Tools) Program(name string) string { return filepath.Join(t.Dir, name) }

// FindTools says where the programs belong: below the user's cache, under a
// key of the module's files and the flags. With names, only those programs
// need be there. The error is ErrNoTools when they are not; the Tools are good
// for Build all the same.
func FindTools(ctx context.Context, names ...string) (Tools, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return Tools{}, fmt.Errorf("ask the Go command for this module: %w", err)
	}
	t := Tools{module: filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "test/e2e/cluster/tools")}
	mod, err := os.ReadFile(filepath.Join(t.module, "go.mod"))
	if err != nil {
		return Tools{}, fmt.Errorf("find the module of the cluster's programs: %w", err)
	}
	sum, err := os.ReadFile(filepath.Join(t.module, "go.sum"))
	if err != nil {
		return Tools{}, fmt.Errorf("find the module of the cluster's programs: %w", err)
	}
	if t.Kubernetes, err = versionOf(mod, "k8s.io/kubernetes"); err != nil {
		return Tools{}, err
	}
	helm, err := versionOf(mod, "helm.sh/helm/v3")
	if err != nil {
		return Tools{}, err
	}
	t.flags = []string{"-mod=readonly", "-trimpath", "-ldflags", linkerFlags(t.Kubernetes, helm)}

	cache, err := os.UserCacheDir()
	if err != nil {
		return Tools{}, fmt.Errorf("find the user's cache: %w", err)
	}
	h := sha256.New()
	say(h, "%s\n%s\n%s\n%s", mod, sum, t.flags, discovery)
	t.Dir = filepath.Join(cache, "noether", "cluster-"+hex.EncodeToString(h.Sum(nil)[:6]))
	t.packages = []string{"tool"}
	if fileExists(t.Dir) {
		return t, nil
	}
	if len(names) > 0 {
		t.Dir += "-" + strings.Join(names, "-")
		t.packages = nil
	}
	for _, name := range names {
		pkg := regexp.MustCompile(`(?m)^\s+(\S+/cmd/` + regexp.QuoteMeta(name) + `)$`).FindSubmatch(mod)
		if pkg == nil {
			return Tools{}, fmt.Errorf("the module of the cluster's programs has no %s", name)
		}
		t.packages = append(t.packages, string(pkg[1]))
	}
	if fileExists(t.Dir) {
		return t, nil
	}
	return t, ErrNoTools
}

// versionOf reads the version that go.mod requires of a module.
func versionOf(mod []byte, module string) (string, error) {
	m := regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(mod)
	if m == nil {
		return "", fmt.Errorf("the module of the cluster's programs does not require %s", module)
	}
	return string(m[1]), nil
}

// linkerFlags tells the programs their versions, as the projects' own builds
// do: without them the API server is a v0.0.0, which charts refuse.
func linkerFlags(kubernetes, helm string) string {
	parts := strings.SplitN(strings.TrimPrefix(kubernetes, "v"), ".", 3)
	flags := []string{"-s", "-w"}
	set := func(name, value string) { flags = append(flags, "-X", name+"="+value) }
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		set(p+".gitVersion", kubernetes)
		set(p+".gitMajor", parts[0])
		set(p+".gitMinor", parts[1])
		set(p+".gitTreeState", "clean")
		set(p+".buildDate", "2026-01-01T00:00:00Z")
	}
	for _, p := range []string{"helm.sh/helm/v3/pkg/lint/rules", "helm.sh/helm/v3/pkg/chartutil"} {
		set(p+".k8sVersionMajor", parts[0])
		set(p+".k8sVersionMinor", parts[1])
	}
	set("helm.sh/helm/v3/internal/version.version", helm)
	return strings.Join(flags, " ")
}

// say writes a line for people.
func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...) //nolint:errcheck // nothing depends on it
}

// discovery is Prometheus' list of service discoveries, less those of the
// clouds: upstream's plugins.yml is there to be shortened, and their SDKs are
// a third of the work and most of the memory that the build takes.
const discovery = `package plugins

import _ "` + prometheusPackage + `/discovery/kubernetes"
`

// Build builds what FindTools did not find. Two of them at once wait for each
// other, and a build that was interrupted leaves nothing behind that counts as
// finished. It takes minutes, some gigabytes of Go's caches, and the network
// unless Go's module cache has everything.
func (t Tools) Build(ctx context.Context, log io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(t.Dir), 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, t.Dir+".lock", log)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(t.Dir); err == nil {
		return nil
	}
	if t.packages[0] == "tool" {
		say(log, "building Kubernetes %s and the tools of its tests into %s, once; this takes 10 to 30 minutes on two CPUs", t.Kubernetes, t.Dir)
	} else {
		say(log, "building %s into %s, once; this takes some minutes", strings.Join(t.packages, " "), t.Dir)
	}
	start := time.Now() //nolint:forbidigo // to say how long it took

	work := t.Dir + ".new"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	source, err := t.slimPrometheus(ctx, work)
	if err != nil {
		return err
	}
	args := append([]string{"build", "-modfile", filepath.Join(source, "tools.mod"), "-o", work + "/"}, t.flags...)
	build := t.command(ctx, append(args, t.packages...)...)
	build.Stdout, build.Stderr = log, log
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the cluster's programs (go build tool in %s): %w", t.module, err)
	}
	if t.packages[0] == "tool" {
		if err := t.finish(ctx, work); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(source); err != nil {
		return err
	}
	if err := os.Rename(work, t.Dir); err != nil {
		return err
	}
	usage, _ := build.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	say(log, "built %s in %s (%s of CPU time)", t.Dir, time.Since(start).Round(time.Second), cpu.Round(time.Second)) //nolint:forbidigo // to say how long it took
	return nil
}

// finish gives the programs their usual names and adds the operator's CRDs.
func (t Tools) finish(ctx context.Context, work string) error {
	for from, to := range map[string]string{"server": "etcd", "operator": "prometheus-operator"} {
		if err := os.Rename(filepath.Join(work, from), filepath.Join(work, to)); err != nil {
			return err
		}
	}
	from, err := t.moduleDir(ctx, operatorPackage)
	if err != nil {
		return err
	}
	crds, err := filepath.Glob(filepath.Join(from, "example/prometheus-operator-crd/*.yaml"))
	if err == nil && len(crds) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("find the CRDs in %s: %w", from, err)
	}
	if err := os.Mkdir(filepath.Join(work, "crds"), 0o755); err != nil {
		return err
	}
	for _, name := range crds {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, "crds", filepath.Base(name)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// command is the Go command in the tools' module. It gives way to everything
// else on the machine.
func (t Tools) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"go"}, args...)...)
	cmd.Dir = t.module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	return cmd
}

// slimPrometheus copies Prometheus' module below dir, shortens its list of
// discoveries, and writes a tools.mod beside it which uses the copy.
func (t Tools) slimPrometheus(ctx context.Context, dir string) (string, error) {
	from, err := t.moduleDir(ctx, prometheusPackage)
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, "source")
	if out, err := exec.CommandContext(ctx, "cp", "-r", "--no-preserve=mode", from, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	if err := os.WriteFile(filepath.Join(source, "plugins", "plugins.go"), []byte(discovery), 0o644); err != nil {
		return "", err
	}
	for _, suffix := range []string{"mod", "sum"} {
		content, err := os.ReadFile(filepath.Join(t.module, "go."+suffix))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(source, "tools."+suffix), content, 0o644); err != nil {
			return "", err
		}
	}
	out, err := t.command(ctx, "mod", "edit", "-replace", prometheusPackage+"="+source, filepath.Join(source, "tools.mod")).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("use the copy of Prometheus: %w: %s", err, out)
	}
	return source, nil
}

// moduleDir returns where Go keeps the source of a module of the tools, and
// fetches it if need be.
func (t Tools) moduleDir(ctx context.Context, module string) (string, error) {
	for range 2 {
		out, err := t.command(ctx, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module).Output()
		if dir := strings.TrimSpace(string(out)); err == nil && dir != "" {
			return dir, nil
		}
		if out, err := t.command(ctx, "mod", "download", module).CombinedOutput(); err != nil {
			return "", fmt.Errorf("fetch the module %s: %w: %s", module, err, out)
		}
	}
	return "", fmt.Errorf("find the source of the module %s: the Go command does not say", module)
}
