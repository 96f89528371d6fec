package all

import (
	"context"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"noether/internal/workload"
)

type namer struct {
	names   *workload.Names
	missing []workload.Owner
}

func (*namer) Run(context.Context) error    { return nil }
func (n *namer) Latest() *workload.Names    { return n.names }
func (n *namer) Missing(o []workload.Owner) { n.missing = o }
func (n *namer) Status(dst []workload.NamesStatus) []workload.NamesStatus {
	return append(dst, workload.NamesStatus{Known: len(n.names.Pods) + len(n.names.Containers)})
}

func TestCombine(t *testing.T) {
	web := &workload.PodFacts{UID: "1", Name: "web"}
	kube := &namer{names: &workload.Names{Pods: map[string]*workload.PodFacts{"1": web}, Allocatable: workload.Reserved{CPU: 2000}, Node: workload.NodeFacts{Known: true, Region: "r"}, AsksPods: true}}
	docker := &namer{names: &workload.Names{Containers: map[string]string{"a": "db"}, AsksContainers: true}}
	names := Combine(kube, docker)

	got := names.Latest()
	want := &workload.Names{
		Pods: map[string]*workload.PodFacts{"1": web}, Containers: map[string]string{"a": "db"},
		Allocatable: workload.Reserved{CPU: 2000}, Node: workload.NodeFacts{Known: true, Region: "r"}, AsksPods: true, AsksContainers: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Pods["1"] != web {
		t.Error("the facts were copied")
	}
	if names.Latest() != got {
		t.Error("another pointer though nothing changed")
	}
	if n := testing.AllocsPerRun(100, func() { names.Latest() }); n != 0 {
		t.Errorf("%v allocations in a tick without news", n)
	}

	docker.names = &workload.Names{Containers: map[string]string{"b": "job"}}
	next := names.Latest()
	if next == got || !maps.Equal(next.Containers, docker.names.Containers) || next.Pods["1"] != web {
		t.Errorf("%+v", next)
	}
	if len(got.Containers) != 1 || got.Containers["a"] != "db" {
		t.Error("what was published has changed")
	}

	owners := []workload.Owner{{Kind: workload.PodOwner}}
	names.Missing(owners)
	if len(kube.missing) != 1 || len(docker.missing) != 1 {
		t.Error("a source was not told who is missing")
	}
	if diff := cmp.Diff([]workload.NamesStatus{{Known: 1}, {Known: 1}}, names.Status(nil)); diff != "" {
		t.Error(diff)
	}
	if Combine().Latest() == nil {
		t.Error("no source is no names")
	}
}

func TestTheFirstSourceIsRight(t *testing.T) {
	first := &namer{names: &workload.Names{Containers: map[string]string{"a": "one", "b": "two"}}}
	second := &namer{names: &workload.Names{Containers: map[string]string{"a": "other", "c": "three"}}}
	got := Combine(first, second).Latest().Containers
	if diff := cmp.Diff(map[string]string{"a": "one", "b": "two", "c": "three"}, got); diff != "" {
		t.Error(diff)
	}
	if len(second.names.Containers) != 2 {
		t.Error("a source's own map was changed")
	}
}
