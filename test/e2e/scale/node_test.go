package scale

import (
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noether/test/machine"
)

// node is the simulated machine on which the agent runs.
type node struct {
	t *testing.T
	*machine.Machine
	pid  int
	runs map[string][]running // by the uid of the pod
}

type running struct {
	pid    int
	cgroup string
}

func newNode(t *testing.T) *node {
	n := &node{t: t, pid: 100, runs: map[string][]running{}}
	n.Machine = machine.New(t, machine.Options{CPUs: 8, Zones: []machine.Zone{
		{Dir: "intel-rapl:0", Name: "package-0", Range: 262_143_328_850},
		{Dir: "intel-rapl:0:0", Name: "dram", Range: 65_532_610_987},
	}})
	return n
}

// run starts the containers of a pod and its sandbox.
func (n *node) run(p *truth) {
	dir := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(p.uid, "-", "_") + ".slice"
	for _, name := range append([]string{"/pause"}, p.containers...) {
		cgroup := dir + "/cri-containerd-" + p.containerID(name) + ".scope"
		n.AddCgroup(cgroup, "pod/"+p.uid)
		n.Start(machine.Process{PID: n.pid, PPID: 1, Comm: "server", Cgroup: cgroup})
		n.runs[p.uid] = append(n.runs[p.uid], running{n.pid, cgroup})
		n.pid++
	}
}

// end ends what run started.
func (n *node) end(p *truth) {
	for _, r := range n.runs[p.uid] {
		n.Exit(r.pid)
		n.RemoveCgroup(r.cgroup)
	}
	n.RemoveCgroup(filepath.Dir(n.runs[p.uid][0].cgroup))
	delete(n.runs, p.uid)
}

// work lets every pod use CPU time, and the machine energy.
func (n *node) work() {
	s := machine.Step{Energy: map[string]uint64{"intel-rapl:0": 5_000_000, "intel-rapl:0:0": 1_000_000}, CPU: map[int]time.Duration{}}
	for _, all := range n.runs {
		s.CPU[all[len(all)-1].pid] = 10 * time.Millisecond
	}
	n.Advance(s)
}

// wrong returns what a page says of pods that is not so, and how many of those
// that run are not on it by name yet. Strangers have no name here.
func (n *node) wrong(p page, known func(uid string) *truth) (lies []string, unnamed int) {
	named := map[string]bool{}
	for _, s := range p {
		uid := s.Labels["pod_uid"]
		if !strings.HasPrefix(s.Name, "noether_pod_") || s.Labels["pod"] == "" {
			continue
		}
		want := known(uid)
		if want == nil || want.node != agentNode {
			lies = append(lies, s.Series+": no pod of this node")
			continue
		}
		for k, v := range want.labels() {
			if s.Labels[k] != v {
				lies = append(lies, s.Series+": "+k+" should be "+v)
			}
		}
		named[uid] = true
	}
	for uid := range n.runs {
		if p := known(uid); p != nil && p.node == agentNode && !named[uid] {
			unnamed++
		}
	}
	return lies, unnamed
}

// agentNode is the number of the node on which the agent runs.
const agentNode = 0

// podUID returns the uid of a pod that no API server has named.
func podUID(seed string) string {
	p := truth{uid: seed}
	b, _ := hex.DecodeString(p.containerID("uid"))
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}
