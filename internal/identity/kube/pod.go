package kube

import (
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"noether/internal/identity"
	"noether/internal/workload"
)

// pod is what is read of a core/v1 Pod. Every other field is dropped while it
// is decoded.
type pod struct {
	metav1.TypeMeta `json:",inline"`

	Metadata podMeta   `json:"metadata"`
	Spec     podSpec   `json:"spec"`
	Status   podStatus `json:"status"`

	// derived replaces the fields above once they have been read.
	derived *derived
}

type podMeta struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	CreationTimestamp string            `json:"creationTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	OwnerReferences   []ownerReference  `json:"ownerReferences"`
}

type ownerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

type podSpec struct {
	NodeName       string          `json:"nodeName"`
	Containers     []containerSpec `json:"containers"`
	InitContainers []containerSpec `json:"initContainers"`
	Overhead       quantities      `json:"overhead"`
	Resources      requirements    `json:"resources"` // of the pod as a whole
}

type containerSpec struct {
	Name          string       `json:"name"`
	RestartPolicy string       `json:"restartPolicy"` // Always: a sidecar, among init containers
	Resources     requirements `json:"resources"`
}

type requirements struct {
	Requests quantities `json:"requests"`
}

type podStatus struct {
	Phase                      string            `json:"phase"`
	ContainerStatuses          []containerStatus `json:"containerStatuses"`
	InitContainerStatuses      []containerStatus `json:"initContainerStatuses"`
	EphemeralContainerStatuses []containerStatus `json:"ephemeralContainerStatuses"`
	Resources                  requirements      `json:"resources"` // in force, where the pod has some as a whole
}

type containerStatus struct {
	Name        string         `json:"name"`
	ContainerID string         `json:"containerID"`
	State       containerState `json:"state"`
	LastState   containerState `json:"lastState"`
	Resources   requirements   `json:"resources"` // in force: a resize changes them while the container runs
}

type containerState struct {
	Running    *struct{} `json:"running"`
	Terminated *struct {
		ContainerID string `json:"containerID"`
	} `json:"terminated"`
}

// podList is what is read of a core/v1 PodList.
type podList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []pod `json:"items"`
}

// node is what is read of a core/v1 Node.
type node struct {
	metav1.TypeMeta `json:",inline"`

	Metadata struct {
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ProviderID string `json:"providerID"`
	} `json:"spec"`
	Status struct {
		Allocatable quantities `json:"allocatable"`
	} `json:"status"`
}

// facts returns where and what the node is, by the labels that clouds set:
// https://kubernetes.io/docs/reference/labels-annotations-taints/
func (n *node) facts() workload.NodeFacts {
	l := n.Metadata.Labels
	return workload.NodeFacts{
		Known:        true,
		Region:       identity.Label(l["topology.kubernetes.io/region"]),
		Zone:         identity.Label(l["topology.kubernetes.io/zone"]),
		InstanceType: identity.Label(l["node.kubernetes.io/instance-type"]),
		ProviderID:   identity.Label(n.Spec.ProviderID),
	}
}

// GetObjectMeta returns what the client keeps lists and watches apart by.
func (p *pod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{
		Name:            p.Metadata.Name,
		Namespace:       p.Metadata.Namespace,
		UID:             types.UID(p.Metadata.UID),
		ResourceVersion: p.Metadata.ResourceVersion,
		Annotations:     p.Metadata.Annotations,
	}
}

// DeepCopyObject returns a copy that shares what is never changed.
func (p *pod) DeepCopyObject() runtime.Object {
	c := *p
	return &c
}

// DeepCopyObject returns a copy that shares what is never changed.
func (l *podList) DeepCopyObject() runtime.Object {
	c := *l
	c.Items = append([]pod(nil), l.Items...)
	return &c
}

// DeepCopyObject returns a copy that shares what is never changed.
func (n *node) DeepCopyObject() runtime.Object {
	c := *n
	return &c
}

// derived is what is kept of a pod.
type derived struct {
	uid    string // the API's
	cgroup string // the uid in the path of its cgroups
	mirror bool   // of a static pod: cgroup is only claimed by an annotation
	facts  *workload.PodFacts
}

// derive returns what is kept of p, and whether it is a pod at all.
func (p *pod) derive(labels []LabelKey) (*derived, bool) {
	if p.derived != nil {
		return p.derived, p.derived.facts != nil
	}
	m := &p.Metadata
	if m.UID == "" || m.Name == "" {
		return nil, false
	}
	d := &derived{uid: identity.Label(m.UID)}
	d.cgroup = d.uid
	if hash := m.Annotations["kubernetes.io/config.hash"]; hash != "" && m.Annotations["kubernetes.io/config.mirror"] != "" {
		d.cgroup, d.mirror = identity.Label(hash), true
	}
	requests := p.requests()
	facts := &workload.PodFacts{
		UID:        d.uid,
		Namespace:  identity.Label(m.Namespace),
		Name:       identity.Label(m.Name),
		Reserved:   p.reserved(requests),
		Containers: p.containers(requests),
	}
	kind, name := p.owner()
	facts.WorkloadKind, facts.Workload = identity.Label(kind), identity.Label(name)
	if len(labels) > 0 {
		facts.Labels = make([]string, len(labels))
		for i, key := range labels {
			from := m.Labels
			if key.Annotation {
				from = m.Annotations
			}
			facts.Labels[i] = identity.Label(from[key.Key])
		}
	}
	d.facts = facts
	return d, true
}

// finished reports whether no container of p will run again.
func (p *pod) finished() bool {
	return p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed"
}

// containers returns every instance of a container that the pod's status
// knows by its id: those that run and those that ran before them.
func (p *pod) containers(requests map[string]workload.Reserved) map[string]workload.ContainerFacts {
	all := make(map[string]workload.ContainerFacts)
	add := func(reference string, facts workload.ContainerFacts) {
		_, id, found := strings.Cut(reference, "://")
		if !found {
			id = reference
		}
		if id == "" || len(id) > identity.MaxLabel {
			return
		}
		if before, ok := all[id]; !ok || before.Reserved == (workload.Reserved{}) {
			all[id] = facts
		}
	}
	for _, statuses := range [...][]containerStatus{
		p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			s := &statuses[i]
			facts := workload.ContainerFacts{Name: identity.Label(s.Name)}
			ended := facts
			if s.State.Running != nil && !p.finished() {
				facts.Reserved = requests[s.Name]
			}
			add(s.ContainerID, facts)
			for _, state := range [...]containerState{s.State, s.LastState} {
				if state.Terminated != nil {
					add(state.Terminated.ContainerID, ended)
				}
			}
		}
	}
	return all
}

// owner returns the kind and name of the workload that p belongs to, from what
// the pod itself says: no other object is read.
func (p *pod) owner() (kind, name string) {
	m := &p.Metadata
	var owner *ownerReference
	for i := range m.OwnerReferences {
		if m.OwnerReferences[i].Controller {
			owner = &m.OwnerReferences[i]
			break
		}
	}
	if owner == nil || owner.Kind == "" || owner.Name == "" {
		// A kubelet knows its static pods by where it read them, and has made no
		// mirror of them yet.
		if from := m.Annotations["kubernetes.io/config.source"]; from != "" && from != "api" {
			return "StaticPod", p.staticName()
		}
		return "Pod", m.Name
	}
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	switch {
	case owner.Kind == "Node" && owner.APIVersion == "v1":
		return "StaticPod", p.staticName()
	case owner.Kind == "ReplicaSet" && group == "apps":
		if hash := m.Labels["pod-template-hash"]; hash != "" {
			if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && name != "" {
				return "Deployment", name
			}
		}
	case owner.Kind == "Job" && group == "batch":
		if name, ok := cronJob(owner.Name, m.CreationTimestamp); ok {
			return "CronJob", name
		}
	}
	return owner.Kind, owner.Name
}

// staticName returns the name that the manifest of a static pod has: the
// kubelet appends that of the node.
func (p *pod) staticName() string {
	name, ok := strings.CutSuffix(p.Metadata.Name, "-"+strings.ToLower(p.Spec.NodeName))
	if !ok || name == "" {
		return p.Metadata.Name
	}
	return name
}

// The time between the schedule of a CronJob and the creation of a pod: the
// other way round when clocks differ, and long when a run had to wait for the
// one before it, or when its pods fail and are made anew.
const (
	maxAhead  = 10 * time.Minute
	maxBehind = 7 * 24 * time.Hour
)

// cronJob returns the name of the CronJob that made the Job called job, if one
// did: the controller appends the scheduled time in minutes since 1970, and
// before Kubernetes 1.21 in seconds. Any other number at the end of a name is
// far from the time at which the pod was created.
func cronJob(job, created string) (string, bool) {
	at := strings.LastIndexByte(job, '-')
	if at <= 0 {
		return "", false
	}
	// Neither form has had, or will have for long, less than 8 or more than 11 digits.
	digits := job[at+1:]
	if len(digits) < 8 || len(digits) > 11 || digits[0] == '0' || digits[0] == '+' || digits[0] == '-' {
		return "", false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return "", false
	}
	creation, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return "", false
	}
	for _, scheduled := range [...]time.Time{time.Unix(n*60, 0), time.Unix(n, 0)} {
		if late := creation.Sub(scheduled); -maxAhead <= late && late <= maxBehind {
			return job[:at], true
		}
	}
	return "", false
}
