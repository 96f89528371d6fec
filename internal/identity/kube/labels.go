package kube

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// LabelKey is a label or annotation of pods that the user chose to export.
type LabelKey struct {
	Key        string
	Annotation bool
}

// annotationPrefix marks the key of an annotation in a list.
const annotationPrefix = "annotation:"

// ParseLabels reads a list of keys such as app.kubernetes.io/name or
// annotation:team. Two keys that would get one name are an error.
func ParseLabels(list []string) ([]LabelKey, error) {
	var keys []LabelKey
	taken := make(map[string]string, len(list))
	for _, item := range list {
		var k LabelKey
		k.Key, k.Annotation = strings.CutPrefix(strings.TrimSpace(item), annotationPrefix)
		if err := k.validate(); err != nil {
			return nil, err
		}
		name := k.MetricLabel()
		if before, ok := taken[name]; ok {
			return nil, fmt.Errorf("pod labels %q and %q would both be called %s: choose one of them", before, k, name)
		}
		taken[name] = k.String()
		keys = append(keys, k)
	}
	return keys, nil
}

func (k LabelKey) validate() error {
	if k.Key == "" {
		return errors.New("a pod label is empty: give a key such as app.kubernetes.io/name, or annotation:KEY")
	}
	key := k.Key
	if k.Annotation {
		key = strings.ToLower(key) // as the API server does
	}
	if wrong := validation.IsQualifiedName(key); len(wrong) > 0 {
		return fmt.Errorf("pod label %q is no key that Kubernetes allows: %s", k, wrong[0])
	}
	return nil
}

// String returns the key as it stands in a list.
func (k LabelKey) String() string {
	if k.Annotation {
		return annotationPrefix + k.Key
	}
	return k.Key
}

// MetricLabel returns the name that kube-state-metrics gives the label in
// kube_pod_labels and kube_pod_annotations: a prefix, then the key in snake
// case with every other byte replaced by an underscore.
func (k LabelKey) MetricLabel() string {
	var b strings.Builder
	if k.Annotation {
		b.WriteString("annotation_")
	} else {
		b.WriteString("label_")
	}
	humped := false // the last byte is one that a capital is parted from
	for i := range len(k.Key) {
		c := k.Key[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			humped = true
		case 'A' <= c && c <= 'Z':
			if humped {
				b.WriteByte('_')
			}
			humped = false
			c += 'a' - 'A'
		default:
			humped = false
			c = '_'
		}
		b.WriteByte(c)
	}
	return b.String()
}
