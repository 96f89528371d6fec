package cluster

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Need returns the cluster's programs, or skips the test with the reason why
// there can be no cluster; in CI (CI=true) that fails it.
func Need(t testing.TB) Tools {
	t.Helper()
	tools, err := Check(t.Context())
	if err == nil {
		return tools
	}
	if os.Getenv("CI") == "true" { //nolint:forbidigo // every CI system sets it
		t.Fatal(err)
	}
	t.Skip(err)
	return Tools{}
}

// StartTest starts a cluster for a test, and ends it with the test, which then
// fails if anything is left. When the test fails, the components' logs and the
// state of all pods are kept, and the test says where.
func StartTest(t testing.TB, options Options) *Cluster {
	t.Helper()
	Need(t)
	if options.Log == nil {
		options.Log = t.Output()
	}
	logs := filepath.Join(t.ArtifactDir(), "cluster")
	options.LogDir = logs
	c, err := Start(t.Context(), options)
	t.Cleanup(func() {
		if c != nil {
			if t.Failed() {
				c.keepState()
			}
			if err := c.Down(context.Background()); err != nil {
				t.Errorf("end the cluster: %v", err)
			}
			left, err := Leftovers()
			if err != nil || len(left) > 0 {
				t.Errorf("the cluster left %q, %v", left, err)
			}
		}
		if t.Failed() {
			keepLogs(t, logs)
		}
	})
	if err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	return c
}

// keepState writes what Kubernetes knows beside the logs.
func (c *Cluster) keepState() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for name, args := range map[string][]string{
		"pods.txt":   {"get", "pods", "-A", "-o", "wide"},
		"pods.yaml":  {"get", "pods", "-A", "-o", "yaml"},
		"events.txt": {"get", "events", "-A", "--sort-by=.lastTimestamp"},
	} {
		out, err := c.Kubectl(ctx, nil, args...)
		if err != nil {
			out += err.Error()
		}
		os.WriteFile(filepath.Join(Dir, "logs", name), []byte(out), 0o644) //nolint:errcheck // the test failed anyway
	}
}

// keepLogs copies the logs of a failed test to where they outlive it.
func keepLogs(t testing.TB, logs string) {
	if !fileExists(logs) {
		return
	}
	keep, err := os.MkdirTemp("", "noether-cluster-logs-") //nolint:usetesting // it is to stay
	if err == nil {
		err = os.CopyFS(keep, os.DirFS(logs))
	}
	t.Logf("the logs of the cluster are in %s (%v)", keep, err)
	if pods, err := os.ReadFile(filepath.Join(logs, "pods.txt")); err == nil {
		t.Logf("pods at the end:\n%s", pods)
	}
}
