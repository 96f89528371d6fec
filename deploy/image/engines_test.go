package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program returns where an engine's program is, or skips.
func program(t *testing.T, names ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root, as which engines keep images of their own")
	}
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here: apt-get install containerd, podman", name)
		}
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func archiveFile(t *testing.T, images ...Image) (name, digest string) {
	t.Helper()
	a, err := Build(images...)
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := a.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return name, a.Digest()
}

// TestContainerdImports gives archives to a containerd of the test's own, in
// the namespace of the kubelet's.
func TestContainerdImports(t *testing.T) {
	program(t, "containerd", "ctr")
	dir, err := os.MkdirTemp("", "image-") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	daemon := exec.Command("containerd", "-c", config)
	daemon.Stdout, daemon.Stderr = &log, &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = daemon.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(log.String())
		}
	})
	ctr := func(args ...string) string {
		return command(t, "ctr", append([]string{"-a", socket, "-n", "k8s.io"}, args...)...)
	}
	for exec.Command("ctr", "-a", socket, "version").Run() != nil {
		select {
		case <-ended:
			t.Fatal("containerd ended")
		case <-t.Context().Done():
			t.Fatal("containerd does not answer")
		default:
		}
	}

	one, oneDigest := archiveFile(t, sample(t, "amd64"))
	both := []Image{sample(t, "amd64"), sample(t, "arm64")}
	for i := range both {
		both[i].Ref = "registry.test:5000/noether:both"
	}
	all, allDigest := archiveFile(t, both...)
	ctr("images", "import", "--all-platforms", one)
	ctr("images", "import", "--all-platforms", all)
	images := ctr("images", "ls")
	for ref, want := range map[string][]string{
		"docker.io/library/noether:1.2.3": {oneDigest, "linux/amd64", typeManifest},
		"registry.test:5000/noether:both": {allDigest, "linux/amd64,linux/arm64", typeIndex},
	} {
		var line string
		for l := range strings.Lines(images) {
			if strings.HasPrefix(l, ref+" ") {
				line = l
			}
		}
		for _, w := range want {
			if !strings.Contains(line, w) {
				t.Errorf("containerd lists %q for %s, without %s", line, ref, w)
			}
		}
	}
	if content := ctr("content", "get", oneDigest); !strings.Contains(content, typeLayer) {
		t.Errorf("the manifest in containerd is %s", content)
	}
}

// TestPodmanLoads gives archives to podman with a store of the test's own.
func TestPodmanLoads(t *testing.T) {
	program(t, "podman")
	dir := t.TempDir()
	podman := func(args ...string) string {
		return command(t, "podman", append([]string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"}, args...)...)
	}
	im := sample(t, "amd64")
	one, _ := archiveFile(t, im)
	for _, how := range []string{"oci-archive:", "docker-archive:"} {
		podman("pull", "--quiet", how+one)
		var got []struct {
			Architecture string
			Config       struct {
				User                 string
				Entrypoint, Cmd, Env []string
				Labels               map[string]string
			}
			RepoTags []string
		}
		if err := json.Unmarshal([]byte(podman("image", "inspect", "noether:1.2.3")), &got); err != nil {
			t.Fatal(err)
		}
		c := got[0].Config
		if diff := cmp.Diff([]any{"amd64", im.User, im.Entrypoint, im.Cmd, im.Env, im.Labels, []string{"docker.io/library/noether:1.2.3"}},
			[]any{got[0].Architecture, c.User, c.Entrypoint, c.Cmd, c.Env, c.Labels, got[0].RepoTags}); diff != "" {
			t.Errorf("%s: %s", how, diff)
		}
		podman("rmi", "noether:1.2.3")
	}
	all, _ := archiveFile(t, im, sample(t, "arm64"))
	if said := podman("load", "-i", all); !strings.Contains(said, "docker.io/library/noether:1.2.3") {
		t.Errorf("podman load says %q", said)
	}
}
