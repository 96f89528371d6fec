package scale

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// truth is what is true of a pod, by which pages are judged.
type truth struct {
	node            int
	namespace, name string
	uid             string
	kind, workload  string
	cronJob         string // the minute of its schedule
	containers      []string
	beats           int
}

type object = map[string]any

// nodeName returns the name of a node.
func nodeName(n int) string { return fmt.Sprintf("node-%03d", n) }

// newPod returns the pod number i of all that ever were, for a node. Its owner
// and containers follow from i; nothing else does.
func newPod(node, i int) *truth {
	p := &truth{node: node, namespace: fmt.Sprintf("team-%02d", i%20), containers: []string{"app"}}
	suffix := strconv.FormatInt(int64(i)+1_000_000, 36)
	switch i % 10 {
	case 0, 1, 2, 3, 4:
		p.kind, p.workload = "Deployment", fmt.Sprintf("web-%d", i%40)
		p.name = p.workload + "-" + templateHash + "-" + suffix
	case 5, 6:
		p.kind, p.workload = "StatefulSet", "db-"+suffix
		p.name = p.workload + "-0"
	case 7:
		p.kind, p.workload = "DaemonSet", fmt.Sprintf("logs-%d", i%3)
		p.name = p.workload + "-" + suffix
	case 8:
		p.kind, p.workload = "Job", "import-"+suffix
		p.name = p.workload + "-x7k2p"
	case 9:
		p.kind, p.workload = "CronJob", "report-"+suffix
		p.cronJob = strconv.FormatInt(time.Now().Unix()/60, 10)
		p.name = p.workload + "-" + p.cronJob + "-x7k2p"
	}
	if i%2 == 0 {
		p.containers = append(p.containers, "proxy")
	}
	return p
}

const templateHash = "6bf4d9c7b9"

func (p *truth) owner() object {
	ref := object{"apiVersion": "apps/v1", "kind": p.kind, "name": p.workload, "uid": "00000000-0000-4000-8000-000000000001", "controller": true, "blockOwnerDeletion": true}
	switch p.kind {
	case "Deployment":
		ref["kind"], ref["name"] = "ReplicaSet", p.workload+"-"+templateHash
	case "Job":
		ref["apiVersion"] = "batch/v1"
	case "CronJob":
		ref["apiVersion"], ref["kind"], ref["name"] = "batch/v1", "Job", p.workload+"-"+p.cronJob
	}
	return ref
}

// containerID returns the id of a container: what a runtime would have drawn.
func (p *truth) containerID(name string) string {
	sum := sha256.Sum256([]byte(p.uid + "/" + name))
	return hex.EncodeToString(sum[:])
}

// object returns the pod as a controller and the scheduler would have made it,
// as large as pods of services are: with variables, volumes, probes and
// annotations.
func (p *truth) object() object {
	var env, mounts, volumes, containers []object
	for i := range 20 {
		env = append(env, object{"name": fmt.Sprintf("SERVICE_OPTION_%02d", i), "value": fmt.Sprintf("https://service-%02d.%s.svc.cluster.local:8443/v1", i, p.namespace)})
	}
	env = append(env, object{"name": "POD_IP", "valueFrom": object{"fieldRef": object{"fieldPath": "status.podIP"}}})
	for i := range 4 {
		name := fmt.Sprintf("config-%d", i)
		volumes = append(volumes, object{"name": name, "configMap": object{"name": p.workload + "-" + name, "defaultMode": 420}})
		mounts = append(mounts, object{"name": name, "mountPath": "/etc/" + name, "readOnly": true})
	}
	for _, name := range p.containers {
		c := object{
			"name": name, "image": "registry.example.com/" + p.namespace + "/" + name + ":v1.2.3",
			"resources":     object{"requests": object{"cpu": "100m", "memory": "128Mi"}, "limits": object{"memory": "256Mi"}},
			"ports":         []object{{"name": "http-" + name, "containerPort": 8080}},
			"livenessProbe": object{"httpGet": object{"path": "/healthz", "port": 8080}, "periodSeconds": 10},
		}
		if name == "app" {
			c["env"], c["volumeMounts"] = env, mounts
		}
		containers = append(containers, c)
	}
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{
			"name": p.name, "namespace": p.namespace,
			"labels": object{"app.kubernetes.io/name": p.workload, "app.kubernetes.io/part-of": "shop", "pod-template-hash": templateHash},
			"annotations": object{
				"prometheus.io/scrape": "true", "checksum/config": strings.Repeat("0123456789abcdef", 4),
				"example.com/deployed-by": "pipeline 4711 of the repository " + p.namespace + "/" + p.workload,
			},
			"ownerReferences": []object{p.owner()},
		},
		"spec": object{
			"nodeName": nodeName(p.node), "automountServiceAccountToken": false, "containers": containers, "volumes": volumes,
			"tolerations": []object{{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}},
		},
	}
}

// status returns what a kubelet writes once the containers run, and again with
// other times.
func (p *truth) status() object {
	started := time.Now().UTC().Format(time.RFC3339)
	var containers, conditions []object
	for _, name := range p.containers {
		containers = append(containers, object{
			"name": name, "ready": true, "started": true, "restartCount": 0,
			"containerID": "containerd://" + p.containerID(name),
			"image":       "registry.example.com/" + p.namespace + "/" + name + ":v1.2.3",
			"imageID":     "registry.example.com/" + p.namespace + "/" + name + "@sha256:" + strings.Repeat("ab", 32),
			"state":       object{"running": object{"startedAt": started}},
		})
	}
	for _, kind := range []string{"PodScheduled", "Initialized", "ContainersReady", "Ready"} {
		conditions = append(conditions, object{"type": kind, "status": "True", "lastTransitionTime": started, "message": fmt.Sprint("observed ", p.beats)})
	}
	return object{
		"phase": "Running", "startTime": started, "hostIP": "10.0.0.1", "podIP": "10.88.0.7",
		"podIPs": []object{{"ip": "10.88.0.7"}}, "conditions": conditions, "containerStatuses": containers,
	}
}

// asSeen returns the pod as an API server or a kubelet shows it.
func (p *truth) asSeen() object {
	o := p.object()
	meta := o["metadata"].(object)
	meta["uid"], meta["resourceVersion"] = p.uid, "1"
	meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	o["status"] = p.status()
	return o
}

// labels are those that the series of the pod have.
func (p *truth) labels() map[string]string {
	return map[string]string{"node": nodeName(p.node), "namespace": p.namespace, "pod": p.name, "workload_kind": p.kind, "workload": p.workload}
}
