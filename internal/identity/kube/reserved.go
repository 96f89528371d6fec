package kube

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"noether/internal/workload"
)

// quantities are amounts by the name of the resource.
type quantities map[string]quantity

// quantity is an amount as the API writes it, such as 250m or 64Mi.
type quantity struct{ resource.Quantity }

// UnmarshalJSON reads an amount; one that cannot be is none, so that a single
// odd field does not cost the names of all pods.
func (q *quantity) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if len(text) > maxQuantity || hugeExponent(text) {
		return nil
	}
	if parsed, err := resource.ParseQuantity(text); err == nil {
		q.Quantity = parsed
	}
	return nil
}

// maxQuantity bounds the text of an amount, in bytes.
const maxQuantity = 64

// hugeExponent reports whether an amount such as 1e99999999 would be computed
// digit by digit.
func hugeExponent(text string) bool {
	at := strings.LastIndexAny(text, "eE")
	return at >= 0 && len(text)-at > len("e+99")
}

// devices are the resources that are one graphics processor each. Slices of
// one (nvidia.com/mig-1g.5gb and the like) are not: they are no whole device,
// and neither a pod's nor the node's are counted. Where the device plugin
// calls slices or shares nvidia.com/gpu, both are counted alike.
func isDevice(name string) bool {
	switch name {
	case "nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe":
		return true
	}
	return false
}

// maxAmount bounds every amount and every sum of them, in bytes or millicores.
const maxAmount = 1 << 50

// bounded returns q in units of 10^scale, rounded up, within [0, maxAmount].
func (q *quantity) bounded(scale resource.Scale) uint64 {
	switch {
	case q.Sign() <= 0:
		return 0
	case q.CmpInt64(maxAmount) >= 0: // ScaledValue would wrap around
		return maxAmount
	default:
		return min(uint64(q.ScaledValue(scale)), maxAmount)
	}
}

// reserved returns the amounts that matter, fractions rounded up.
func (q quantities) reserved() workload.Reserved {
	var r workload.Reserved
	for name, amount := range q {
		switch {
		case name == "cpu":
			r.CPU = amount.bounded(resource.Milli)
		case name == "memory":
			r.Memory = amount.bounded(0)
		case isDevice(name):
			r.Devices = min(r.Devices+amount.bounded(0), maxAmount)
		}
	}
	return r
}

// over returns r with what q says in its place.
func (q quantities) over(r workload.Reserved) workload.Reserved {
	if len(q) == 0 {
		return r
	}
	said := q.reserved()
	if _, ok := q["cpu"]; ok {
		r.CPU = said.CPU
	}
	if _, ok := q["memory"]; ok {
		r.Memory = said.Memory
	}
	if said.Devices > 0 {
		r.Devices = said.Devices
	}
	return r
}

// sum returns a and b, each within [0, maxAmount], together.
func sum(a, b workload.Reserved) workload.Reserved {
	return workload.Reserved{
		CPU: min(a.CPU+b.CPU, maxAmount), Memory: min(a.Memory+b.Memory, maxAmount), Devices: min(a.Devices+b.Devices, maxAmount),
	}
}

func larger(a, b workload.Reserved) workload.Reserved {
	return workload.Reserved{CPU: max(a.CPU, b.CPU), Memory: max(a.Memory, b.Memory), Devices: max(a.Devices, b.Devices)}
}

// requests returns what each container requested, by its name: what is in
// force where the kubelet says so, else what its specification says.
func (p *pod) requests() map[string]workload.Reserved {
	all := make(map[string]workload.Reserved, len(p.Spec.Containers)+len(p.Spec.InitContainers))
	for _, specs := range [...][]containerSpec{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range specs {
			all[specs[i].Name] = specs[i].Resources.Requests.reserved()
		}
	}
	for _, statuses := range [...][]containerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range statuses {
			if before, ok := all[statuses[i].Name]; ok {
				all[statuses[i].Name] = statuses[i].Resources.Requests.over(before)
			}
		}
	}
	return all
}

// reserved returns the effective request of p, by the rules of the scheduler:
// https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
// Init containers run one after the other, each beside the sidecars started
// before it; then all containers run beside all sidecars. What the pod
// requests as a whole takes the place of that, and its overhead comes on top.
func (p *pod) reserved(requests map[string]workload.Reserved) workload.Reserved {
	if p.finished() {
		return workload.Reserved{}
	}
	var sidecars, init workload.Reserved
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		beside := sum(sidecars, requests[c.Name])
		if c.RestartPolicy == "Always" {
			sidecars = beside
		}
		init = larger(init, beside)
	}
	running := sidecars
	for i := range p.Spec.Containers {
		running = sum(running, requests[p.Spec.Containers[i].Name])
	}
	r := larger(running, init)
	if whole := p.Spec.Resources.Requests; len(whole) > 0 {
		r = whole.over(r)
		r = p.Status.Resources.Requests.over(r)
	}
	return sum(r, p.Spec.Overhead.reserved())
}
