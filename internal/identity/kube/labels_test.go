package kube

import "testing"

func TestMetricLabel(t *testing.T) {
	for _, c := range []struct{ key, want string }{
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
