package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"noether/internal/agent"
	"noether/internal/config"
	identity "noether/internal/identity/all"
	"noether/internal/identity/docker"
	"noether/internal/identity/kube"
	"noether/internal/linux"
	"noether/internal/probe"
	"noether/internal/workload"
)

// openNames returns who tells what pods and containers are called, asked for
// nothing yet. It fails on settings that can never work; an API that is not
// there yet is none of those.
func openNames(cfg *config.Config, log *slog.Logger, clock agent.Clock) (sources []identity.Namer, err error) {
	if cfg.Kube.Source != "off" {
		s, err := kube.Open(kubeOptions(cfg, log, clock))
		if err != nil {
			return nil, remedied(err)
		}
		sources = append(sources, s)
	}
	if !slices.Contains(cfg.ContainerNames, "off") {
		s, err := docker.Open(dockerOptions(cfg, log, clock))
		if err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

// remedied puts the remedy behind an error that has one.
func remedied(err error) error {
	if known, ok := errors.AsType[*probe.Error](err); ok && known.Remedy != "" {
		return fmt.Errorf("%w: %s", err, known.Remedy)
	}
	return err
}

func kubeOptions(cfg *config.Config, log *slog.Logger, clock agent.Clock) kube.Options {
	return kube.Options{
		Mode:       cfg.Kube.Source,
		Node:       cfg.Agent.NodeName,
		Kubeconfig: cfg.Kube.Config,
		TokenFile:  cfg.Kube.TokenFile,
		KubeletURL: cfg.Kube.KubeletURL,
		KubeletCA:  cfg.Kube.KubeletCA,
		Labels:     podLabels(cfg),
		Log:        log,
		Machine:    capacity(cfg.FS()),
		Now:        clock.Wall,
		Version:    build().version,
	}
}

// podLabels returns the chosen labels of pods. Settings were found valid.
func podLabels(cfg *config.Config) []kube.LabelKey {
	keys, err := kube.ParseLabels(cfg.Kube.PodLabels)
	if err != nil {
		return nil
	}
	return keys
}

// labelNames returns what the chosen labels of pods are called here.
func labelNames(cfg *config.Config) (names []string) {
	for _, k := range podLabels(cfg) {
		names = append(names, k.MetricLabel())
	}
	return names
}

// capacity returns what the machine has: processors that are online, and memory.
func capacity(fs linux.FS) (r workload.Reserved) {
	// Each processor has a line of less than 256 bytes, and they come first (proc_stat(5)).
	stat, _ := linux.ReadFile(filepath.Join(fs.Proc, "stat"), 1<<20) // what cannot be read is not known
	for line := range bytes.Lines(stat) {
		if rest, ok := bytes.CutPrefix(line, []byte("cpu")); ok && len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			r.CPU += 1000
		}
	}
	meminfo, _ := linux.ReadFile(filepath.Join(fs.Proc, "meminfo"), 8192)
	for line := range strings.Lines(string(meminfo)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseUint(f[1], 10, 53)
			r.Memory = kib << 10
		}
	}
	return r
}

func dockerOptions(cfg *config.Config, log *slog.Logger, clock agent.Clock) docker.Options {
	o := docker.Options{Root: cfg.Root, Log: log, Now: clock.Wall}
	if !slices.Contains(cfg.ContainerNames, "auto") {
		o.Sockets = cfg.ContainerNames
	}
	return o
}

// runNames lets every source ask until stop is called, which waits until they
// have ended. One that ends by itself costs names only: the agent goes on.
func runNames(ctx context.Context, log *slog.Logger, sources []identity.Namer) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var running errgroup.Group
	for _, s := range sources {
		running.Go(func() error {
			err := s.Run(ctx)
			if err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "a source of names has ended: what it would have named is told by id", slog.Any("error", err))
			}
			return nil
		})
	}
	return func() error {
		cancel()
		return running.Wait()
	}
}

// probeNames asks every source once, whatever else works.
func probeNames(ctx context.Context, cfg *config.Config, log *slog.Logger, clock agent.Clock) (verdicts []probe.Verdict) {
	if cfg.Kube.Source == "off" {
		v := probe.Verdict{Name: "api", Status: probe.Absent, Reason: "not asked: --kube-source is off; pods are told by uid"}
		if hasPods(cfg.FS()) {
			v.Remedy = "--kube-source api --node-name NAME, the name of this machine in kubectl get nodes"
		}
		verdicts = append(verdicts, v)
	} else {
		v := kube.Check(ctx, kubeOptions(cfg, log, clock))
		v.Name = cfg.Kube.Source
		verdicts = append(verdicts, v)
	}
	if slices.Contains(cfg.ContainerNames, "off") {
		verdicts = append(verdicts, probe.Verdict{Name: "docker", Status: probe.Absent, Reason: "not asked: --container-names off; containers outside pods are told by id"})
	} else {
		verdicts = append(verdicts, docker.Check(ctx, dockerOptions(cfg, log, clock))...)
	}
	return verdicts
}

// hasPods reports whether a kubelet has cgroups here, as cgroup v2 or any one
// hierarchy of v1 shows them.
func hasPods(fs linux.FS) bool {
	for _, pattern := range [...]string{"kubepods*", "*/kubepods*"} {
		if found, err := filepath.Glob(filepath.Join(fs.Cgroup, pattern)); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}
