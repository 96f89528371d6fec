package cluster

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStrictSchemas(t *testing.T) {
	schemas, err := strictSchemas([]byte(`{"definitions": {
		"io.k8s.api.apps.v1.Deployment": {
			"type": "object",
			"properties": {
				"apiVersion": {"type": "string"}, "kind": {"type": "string"},
				"spec": {"$ref": "#/definitions/Spec"},
				"free": {"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-preserve-unknown-fields": true}},
			"x-kubernetes-group-version-kind": [{"group": "apps", "kind": "Deployment", "version": "v1"}]},
		"Spec": {"properties": {
			"port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
			"format": {"type": "string"},
			"labels": {"additionalProperties": {"type": "string"}, "type": "object"},
			"n": {"type": "integer", "format": "int32"}}},
		"Unused": {"type": "string"},
		"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
		"many": {"x-kubernetes-group-version-kind": [{"kind": "A", "version": "v1"}, {"kind": "A", "version": "v2"}]}
	}}`))
	if err != nil {
		t.Fatal(err)
	}
	// The object is closed and its parts too, but for what is declared open.
	want := `{"deployment-apps-v1": {
		"type": "object", "additionalProperties": false,
		"properties": {
			"apiVersion": {"enum": ["apps/v1"]}, "kind": {"enum": ["Deployment"]},
			"spec": {"$ref": "#/definitions/Spec"},
			"free": {"type": "object", "properties": {"a": {"type": "string"}}}},
		"definitions": {
			"Spec": {"additionalProperties": false, "properties": {
				"port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
				"format": {"type": "string"},
				"labels": {"additionalProperties": {"type": "string"}, "type": "object"},
				"n": {"type": "integer"}}},
			"io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"oneOf": [{"type": "string"}, {"type": "number"}]}}}}`
	got, err := json.Marshal(schemas)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decode(t, want), decode(t, string(got))); diff != "" {
		t.Error(diff)
	}
}

func decode(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestShimsAreToldByTheirSocket(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want bool
	}{
		{[]string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", ContainerdSocket}, true},
		{[]string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", "/run/containerd/containerd.sock"}, false},
		{[]string{"vi", ContainerdSocket}, false},
		{[]string{"x", "-address"}, false},
		{nil, false},
	} {
		if got := isShim(c.argv); got != c.want {
			t.Errorf("isShim(%q) = %v", c.argv, got)
		}
	}
}

func TestARecordOfAnotherProcessIsNotAlive(t *testing.T) {
	mine, err := identify(1)
	if err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]string{
		"the same": mine, "another boot": "x" + mine, "a later start": mine + "1", "empty": "", "rubbish": "a b c",
	} {
		path := t.TempDir() + "/record"
		if err := os.WriteFile(path, []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := alive(path); ok != (name == "the same") {
			t.Errorf("%s: alive is %v", name, ok)
		}
	}
}

func TestVersionOf(t *testing.T) {
	mod := []byte("module x\n\nreplace (\n\ta.b/c => a.b/c v0.0.1\n)\n\nrequire (\n\ta.b/c v1.2.3 // indirect\n\ta.b/c/v2 v2.0.0\n)\n")
	if got, err := versionOf(mod, "a.b/c"); err != nil || got != "v1.2.3" {
		t.Errorf("versionOf = %q, %v", got, err)
	}
	if got, err := versionOf(mod, "a.b"); err == nil {
		t.Errorf("versionOf = %q", got)
	}
}
