package workload

import "time"

// Reserved is what is set aside on a machine: by the requests of a container
// or pod, or, of a node, all that can be set aside.
type Reserved struct {
	CPU     uint64 // millicores
	Memory  uint64 // bytes
	Devices uint64 // graphics processors
}

// PodFacts is what an orchestrator says about one pod. It is immutable: a pod
// that changed has new facts.
type PodFacts struct {
	// UID is the one the API knows the pod by. That of a static pod differs
	// from the one in its cgroup's path.
	UID          string
	Namespace    string
	Name         string
	WorkloadKind string // Deployment, StatefulSet, DaemonSet, Job, CronJob, ReplicaSet, StaticPod, Pod (nobody's), or a kind of the user's own
	Workload     string
	// Labels are the values of the labels and annotations that the user chose,
	// in the order of his list; "" where the pod has none.
	Labels []string
	// Reserved is the pod's effective request: the larger of the sum of its
	// containers (restartable init containers included) and the largest init
	// container, plus overhead. It is zero once the pod has finished.
	Reserved Reserved
	// Containers by id, init and ephemeral ones included. The sandbox (pause)
	// is none of them.
	Containers map[string]ContainerFacts
}

// ContainerFacts is what an orchestrator says about one container of a pod.
type ContainerFacts struct {
	Name     string
	Reserved Reserved // its own request while it runs, else zero
}

// NodeFacts is what an orchestrator says about this machine. What it does not
// say is empty.
type NodeFacts struct {
	Known        bool   // it has answered, or will not: there is nothing to wait for
	Region       string // topology.kubernetes.io/region
	Zone         string // topology.kubernetes.io/zone
	InstanceType string // node.kubernetes.io/instance-type
	ProviderID   string // spec.providerID, as aws:///eu-central-1a/i-0abc
}

// Names is what orchestrators and container runtimes say about the workloads of
// this machine, at one moment. It is immutable; facts that did not change are
// the same pointers in the Names that follow.
type Names struct {
	// Pods by the uid in the path of their cgroups.
	Pods map[string]*PodFacts
	// Containers outside pods: name by full id.
	Containers map[string]string
	// Allocatable is what pods can reserve here; zero while that is unknown.
	Allocatable Reserved
	// Node is what is known of the machine itself as a node.
	Node NodeFacts
	// AsksPods and AsksContainers are set when somebody is asked about them at
	// all: only then is a name worth waiting for.
	AsksPods, AsksContainers bool
}

// NamesStatus is how one source of names is doing.
type NamesStatus struct {
	Source   string // api, kubelet, docker, podman
	Up       bool   // its last answer was one
	Requests uint64 // sent since the start; a watch is one
	Bytes    uint64 // received since the start
	Known    int    // pods or containers it knows by now
	// Synced is when it last was known to be complete; zero before.
	Synced time.Time
}
