package kube

import (
	"regexp"
	"strings"
	"testing"
)

func TestMetricLabel(t *testing.T) {
	for _, c := range []struct{ key, want string }{
		{"team", "label_team"},
		{" team ", "label_team"},
		{"app.kubernetes.io/name", "label_app_kubernetes_io_name"},
		{"annotation:example.com/costCenter", "annotation_example_com_cost_center"},
		{"costCenterID", "label_cost_center_id"},
		{"a-B", "label_a_b"},
		{"v1Beta", "label_v1_beta"},
	} {
		keys, err := ParseLabels([]string{c.key})
		if err != nil {
			t.Fatal(err)
		}
		if got := keys[0].MetricLabel(); got != c.want {
			t.Errorf("%s is called %s, want %s", c.key, got, c.want)
		}
	}
}

func TestParseLabels(t *testing.T) {
	for _, c := range []struct {
		list []string
		want string
	}{
		{[]string{"a.b", "team", "a-b"}, `pod labels "a.b" and "a-b" would both be called label_a_b`},
		{[]string{"team", "team"}, `pod labels "team" and "team" would both be called label_team`},
		{[]string{""}, "a pod label is empty"},
		{[]string{"annotation:"}, "a pod label is empty"},
		{[]string{"no spaces"}, `pod label "no spaces" is no key that Kubernetes allows`},
		{[]string{"annotation:/x"}, `pod label "annotation:/x" is no key that Kubernetes allows`},
		{[]string{strings.Repeat("a", 64)}, "is no key that Kubernetes allows"},
	} {
		_, err := ParseLabels(c.list)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.list, err, c.want)
		}
	}
	keys, err := ParseLabels([]string{"team", "annotation:team"})
	if err != nil || len(keys) != 2 || !keys[1].Annotation {
		t.Errorf("a label and an annotation of one name: %v, %v", keys, err)
	}
	if keys, err := ParseLabels(nil); err != nil || len(keys) != 0 {
		t.Errorf("no labels: %v, %v", keys, err)
	}
}

func FuzzParseLabels(f *testing.F) {
	f.Add("app.kubernetes.io/name,annotation:Team")
	f.Add("annotation:annotation:x")
	f.Add("\xff,é")
	valid := regexp.MustCompile(`^(label|annotation)_[a-z0-9_]+$`)
	f.Fuzz(func(t *testing.T, list string) {
		items := strings.Split(list, ",")
		keys, err := ParseLabels(items)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for i, k := range keys {
			name := k.MetricLabel()
			if !valid.MatchString(name) || seen[name] {
				t.Errorf("%q is called %q", k, name)
			}
			seen[name] = true
			if k.String() != strings.TrimSpace(items[i]) {
				t.Errorf("%q reads as %q", items[i], k)
			}
		}
	})
}
