// Package configmap writes a forecast of carbon intensity into a ConfigMap of
// Kubernetes, in the form that carbon-aware operators read: the one that
// https://github.com/Azure/kubernetes-carbon-intensity-exporter publishes and
// https://github.com/Azure/carbon-aware-keda-operator consumes.
//
// It refuses to write a forecast that is none, and to replace a ConfigMap that
// holds something else.
package configmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"noether/internal/grid"
)

// Name is where readers look for a ConfigMap. The default of the operator is
// kube-system/carbon-intensity.
type Name struct{ Namespace, Name string }

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// ParseName reads NAMESPACE/NAME.
func ParseName(s string) (Name, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return Name{}, fmt.Errorf("%q is no NAMESPACE/NAME of a ConfigMap: write it like kube-system/carbon-intensity", s)
	}
	return Name{namespace, name}, nil
}

// ConfigMap is what is read and written of a core/v1 ConfigMap.
type ConfigMap struct {
	metav1.TypeMeta `json:",inline"`

	Metadata   Meta              `json:"metadata"`
	Immutable  *bool             `json:"immutable,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string][]byte `json:"binaryData,omitempty"`
}

// Meta is what is read and written of an object's metadata.
type Meta struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace"`
	Labels          map[string]string `json:"labels,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
}

// DeepCopyObject returns a copy that shares what is never changed.
func (c *ConfigMap) DeepCopyObject() runtime.Object {
	d := *c
	return &d
}

// The keys of the ConfigMap, as in pkg/exporter/consts.go of the exporter
// named above.
const (
	lastHeartbeatTime = "lastHeartbeatTime"
	message           = "message"
	numOfRecords      = "numOfRecords"
	forecastDateTime  = "forecastDateTime"
	minForecast       = "minForecast"
	maxForecast       = "maxForecast"
	binaryKey         = "data"

	managedBy = "app.kubernetes.io/managed-by"
	manager   = "noether"
)

// record is the EmissionsData of the Carbon Aware SDK's Web API, of which
// binaryData.data is a JSON array. A value of 0 is written: who decodes it has
// 0 either way.
type record struct {
	Location  string    `json:"location"`
	Timestamp time.Time `json:"timestamp"`
	Duration  int32     `json:"duration"` // minutes
	Value     float64   `json:"value"`    // gCO2e/kWh
}

// Limits of a forecast: a ConfigMap holds at most 1 MiB
// (https://kubernetes.io/docs/concepts/configuration/configmap/).
const maxRecords = 4096

// timeForm is that of time.Time.String, which the exporter writes.
const timeForm = "2006-01-02 15:04:05.999999999 -0700 MST"

// Make returns the ConfigMap of a forecast for a zone. Samples of less than a
// minute are left out, as the form has no way to say them.
func Make(name Name, zone string, samples []grid.Sample, now time.Time) (*ConfigMap, error) {
	var records []record
	low, high := math.Inf(1), math.Inf(-1)
	for i := range samples {
		s := &samples[i]
		if err := grid.Check(s.Intensity); err != nil {
			return nil, fmt.Errorf("write the forecast of %s at %s: %w", zone, s.From.UTC().Format(time.RFC3339), err)
		}
		minutes := int64(s.To.Sub(s.From).Round(time.Second) / time.Minute)
		if minutes < 1 || minutes > math.MaxInt32 {
			continue
		}
		records = append(records, record{zone, s.From.UTC(), int32(minutes), s.Intensity})
		low, high = min(low, s.Intensity), max(high, s.Intensity)
	}
	switch {
	case len(records) == 0:
		return nil, fmt.Errorf("write the forecast of %s: it is empty", zone)
	case len(records) > maxRecords:
		return nil, fmt.Errorf("write the forecast of %s: it has %d values, more than %d: choose a shorter --within", zone, len(records), maxRecords)
	}
	data, err := json.Marshal(records)
	if err != nil {
		return nil, fmt.Errorf("write the forecast of %s: %w", zone, err)
	}
	immutable := true
	return &ConfigMap{
		TypeMeta:  metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		Metadata:  Meta{Name: name.Name, Namespace: name.Namespace, Labels: map[string]string{managedBy: manager}},
		Immutable: &immutable,
		Data: map[string]string{
			lastHeartbeatTime: heartbeat(now),
			message:           "",
			numOfRecords:      strconv.Itoa(len(records)),
			forecastDateTime:  records[0].Timestamp.Format(timeForm),
			minForecast:       fmt.Sprintf("%f", low),
			maxForecast:       fmt.Sprintf("%f", high),
		},
		BinaryData: map[string][]byte{binaryKey: data},
	}, nil
}

func heartbeat(now time.Time) string { return now.UTC().Format(timeForm) }

// ours tells whether c holds a forecast, so that replacing it destroys nothing else.
func (c *ConfigMap) ours() bool {
	if c.Metadata.Labels[managedBy] == manager {
		return true
	}
	_, data := c.BinaryData[binaryKey]
	_, beat := c.Data[lastHeartbeatTime]
	return data && beat
}

// YAML returns c for kubectl apply and kubectl replace. It is JSON within, which YAML is a
// superset of, but for the lines that people read.
func (c *ConfigMap) YAML() ([]byte, error) {
	if c.Immutable == nil {
		return nil, errors.New("write a ConfigMap as YAML: it does not say whether it is immutable")
	}
	dst := fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: %s\n  labels:\n", c.Metadata.Name, c.Metadata.Namespace)
	dst = appendMap(dst, "    ", c.Metadata.Labels)
	dst = fmt.Appendf(dst, "immutable: %t\ndata:\n", *c.Immutable)
	dst = appendMap(dst, "  ", c.Data)
	dst = append(dst, "binaryData:\n"...)
	keys := make([]string, 0, len(c.BinaryData))
	for k := range c.BinaryData {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		text, err := json.Marshal(c.BinaryData[k]) // base64 in quotes
		if err != nil {
			return nil, fmt.Errorf("write a ConfigMap as YAML: %w", err)
		}
		dst = fmt.Appendf(dst, "  %s: %s\n", k, text)
	}
	return dst, nil
}

func appendMap(dst []byte, indent string, m map[string]string) []byte {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		text, _ := json.Marshal(m[k]) // a string always can be
		dst = fmt.Appendf(dst, "%s%s: %s\n", indent, k, text)
	}
	return dst
}
