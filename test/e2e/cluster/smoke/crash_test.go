package smoke

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"noether/test/e2e/cluster"
)

// roleVariable makes the test binary a process that holds a cluster, to be
// killed.
const roleVariable = "NOETHER_CLUSTER_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "holder" {
		if err := hold(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func hold(ctx context.Context) error {
	return cluster.Hold(ctx, cluster.Options{Log: os.Stderr}, func(c *cluster.Cluster) {
		err := c.Apply(ctx, `{apiVersion: v1, kind: Pod, metadata: {name: idle, namespace: default}, spec: {containers: [{name: c, image: "`+cluster.PauseImage+`", imagePullPolicy: Never}]}}`)
		if err == nil {
			err = c.WaitReady(ctx, "default")
		}
		fmt.Println("up:", err)
	})
}

func TestAKilledClusterIsCleanedUp(t *testing.T) {
	cluster.Need(t)
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleVariable+"=holder")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	killed := cmd.Process.Kill()
	cmd.Wait()
	t.Cleanup(func() { must(t, cluster.End(context.Background())) })
	must(t, killed)
	if must(t, err); line != "up: <nil>\n" {
		t.Fatal(line)
	}
	left, err := cluster.Leftovers()
	if must(t, err); !strings.Contains(strings.Join(left, " "), "process") {
		t.Errorf("the pod's shim ended by itself: %q", left)
	}
	start := time.Now()
	must(t, cluster.End(t.Context()))
	left, err = cluster.Leftovers()
	if must(t, err); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	t.Logf("cleaned up in %v", time.Since(start).Round(time.Millisecond))
}
