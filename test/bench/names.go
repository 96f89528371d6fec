package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// nodeName is the name of this machine in the cluster that namesOf plays.
const nodeName = "bench-node"

// namesOf serves the pods of the fleet as a Kubernetes API server does, each
// with one container, requests and a Deployment, and writes a kubeconfig. It
// refuses to be more of a cluster than that: nothing changes.
func (l *lab) namesOf(pods int) (kubeconfig string, stop func(), err error) {
	var items []map[string]any
	for i := range pods {
		name := fmt.Sprintf("web-%d", i%40)
		items = append(items, map[string]any{
			"apiVersion": "v1", "kind": "Pod",
			"metadata": map[string]any{
				"name": fmt.Sprintf("%s-6bf4d9c7b9-%05d", name, i), "namespace": fmt.Sprintf("team-%02d", i%20),
				"uid": fmt.Sprintf(podUID, i, i), "resourceVersion": "100", "creationTimestamp": "2026-01-01T00:00:00Z",
				"labels":          map[string]any{"pod-template-hash": "6bf4d9c7b9"},
				"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name + "-6bf4d9c7b9", "uid": "x", "controller": true}},
			},
			"spec": map[string]any{"nodeName": nodeName, "containers": []any{map[string]any{
				"name": "app", "resources": map[string]any{"requests": map[string]any{"cpu": "5m", "memory": "16Mi"}},
			}}},
			"status": map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
				"name": "app", "containerID": fmt.Sprintf("containerd://"+containerID, i+1), "state": map[string]any{"running": map[string]any{}},
			}}},
		})
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		var err error
		send := func(v map[string]any) {
			if err == nil {
				err = encoder.Encode(v)
			}
		}
		q := r.URL.Query()
		switch {
		case strings.HasSuffix(r.URL.Path, "/nodes/"+nodeName):
			send(map[string]any{"apiVersion": "v1", "kind": "Node", "status": map[string]any{"allocatable": map[string]any{"cpu": "2", "memory": "16Gi"}}})
			return
		case q.Get("watch") == "":
			send(map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{"resourceVersion": "100"}, "items": items})
			return
		case q.Get("sendInitialEvents") == "true":
			for _, p := range items {
				send(map[string]any{"type": "ADDED", "object": p})
			}
			send(map[string]any{"type": "BOOKMARK", "object": map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{
				"resourceVersion": "100", "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
			}}})
		}
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		<-r.Context().Done()
	}))
	stop = func() {
		server.CloseClientConnections()
		server.Close()
	}
	ca, kubeconfig := filepath.Join(l.dir, "ca.crt"), filepath.Join(l.dir, "kubeconfig")
	err = os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)
	if err == nil {
		err = os.WriteFile(kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: bench
clusters: [{name: bench, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: bench, user: {token: bench}}]
contexts: [{name: bench, context: {cluster: bench, user: bench}}]
`, server.URL, ca), 0o600)
	}
	if err != nil {
		stop()
		return "", nil, err
	}
	return kubeconfig, stop, nil
}
