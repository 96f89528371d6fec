package promwrite

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// maxSamples is the most samples of one request. Receivers bound requests by
// megabytes (VictoriaMetrics takes 32), and Prometheus stores all or nothing of
// a 1.0 request, so more is better until then.
const maxSamples = 5000

// Remote writes by Prometheus remote-write, 1.0
// (prometheus.io/docs/specs/prw/remote_write_spec) or 2.0
// (…/remote_write_spec_2_0). It is for one goroutine at a time.
type Remote struct {
	s       *sender
	version int // 1 or 2
	// warn tells the user once that the receiver does not speak 2.0.
	warn func(format string, args ...any)
	encoder
}

// NewRemote returns a writer in version "1.0" or "2.0". With 2.0, a receiver
// that stores nothing of a request it says it took is told of by warn, and
// written to in 1.0 from then on.
func NewRemote(h HTTP, version string, warn func(format string, args ...any)) (*Remote, error) {
	r := &Remote{warn: warn}
	switch version {
	case "1.0":
		r.version = 1
	case "2.0":
		r.version = 2
	default:
		return nil, fmt.Errorf("remote-write has no version %q: give 1.0 or 2.0", version)
	}
	var err error
	r.s, err = newSender(h)
	return r, err
}

// String names the receiver.
func (r *Remote) String() string { return r.s.shown }

// Write sends all samples, those of a series from the oldest to the newest.
// Sending what the receiver has already is a success.
func (r *Remote) Write(ctx context.Context, families []Family) error {
	if err := Check(families); err != nil {
		return err
	}
	sent := 0
	for batch := range batches(families, maxSamples) {
		if err := r.write(ctx, batch); err != nil {
			if sent > 0 {
				return fmt.Errorf("%w (%d samples before were stored)", err, sent)
			}
			return err
		}
		sent += batch.samples
	}
	return nil
}

func (r *Remote) write(ctx context.Context, b batch) error {
	if r.version == 2 {
		return r.write2(ctx, b)
	}
	body, err := r.encode1(b)
	if err != nil {
		return fmt.Errorf("write to %s: encode: %w", r.s.shown, err)
	}
	a, err := r.s.send(ctx, http.MethodPost, r.s.URL, http.Header{
		"Content-Encoding":                  {"snappy"},
		"Content-Type":                      {"application/x-protobuf"},
		"X-Prometheus-Remote-Write-Version": {"0.1.0"},
	}, body)
	switch {
	case err != nil:
		return err
	case !a.ok():
		return r.s.refused(a, noReceiver)
	}
	return nil
}

const noReceiver = "no remote-write receiver at this path: Prometheus needs --web.enable-remote-write-receiver and the path /api/v1/write (VictoriaMetrics: /api/v1/write, Mimir: /api/v1/push, Thanos Receive: /api/v1/receive)"

func (r *Remote) write2(ctx context.Context, b batch) error {
	body, err := r.encode2(b)
	if err != nil {
		return fmt.Errorf("write to %s: encode: %w", r.s.shown, err)
	}
	a, err := r.s.send(ctx, http.MethodPost, r.s.URL, http.Header{
		"Content-Encoding":                  {"snappy"},
		"Content-Type":                      {"application/x-protobuf;proto=io.prometheus.write.v2.Request"},
		"X-Prometheus-Remote-Write-Version": {"2.0.0"},
	}, body)
	if err != nil {
		return err
	}
	written, told := a.header["X-Prometheus-Remote-Write-Samples-Written"]
	switch {
	case a.ok() && !told, a.status == http.StatusUnsupportedMediaType:
		// A receiver of 1.0 finds a 2.0 request empty and says that all is well.
		r.version = 1
		r.warn("%s does not speak remote-write 2.0 (it did not say what it stored); writing in 1.0", r.s.shown)
		return r.write(ctx, b)
	case !a.ok():
		err := r.s.refused(a, noReceiver)
		if n, e := strconv.Atoi(first(written)); e == nil && n > 0 {
			return fmt.Errorf("%w (%d of the request's %d samples were stored)", err, n, b.samples)
		}
		return err
	case first(written) != strconv.Itoa(b.samples):
		return fmt.Errorf("write to %s: it stored %q of %d samples and calls that a success: see its log for the others", r.s.shown, first(written), b.samples)
	}
	return nil
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// batch is a part of families of a bounded number of samples.
type batch struct {
	parts   []part
	samples int
}

type part struct {
	family  *Family
	labels  []Label
	samples []Sample
}

// batches yields families in order, in batches of at most limit samples. A
// batch is valid until the next one is asked for.
func batches(families []Family, limit int) func(yield func(batch) bool) {
	return func(yield func(batch) bool) {
		var b batch
		for i := range families {
			f := &families[i]
			for _, s := range f.Series {
				for rest := s.Samples; len(rest) > 0; {
					n := min(len(rest), limit-b.samples)
					b.parts = append(b.parts, part{f, s.Labels, rest[:n]})
					b.samples += n
					if rest = rest[n:]; b.samples == limit {
						if !yield(b) {
							return
						}
						b.parts, b.samples = b.parts[:0], 0
					}
				}
			}
		}
		if b.samples > 0 {
			yield(b)
		}
	}
}

// encoder makes request bodies in memory that it keeps.
type encoder struct {
	v1      prompb.WriteRequest
	labels  []prompb.Label
	samples []prompb.Sample

	v2       writev2.Request
	symbols  writev2.SymbolsTable
	refs     []uint32
	samples2 []writev2.Sample

	plain, packed []byte
}

func (e *encoder) encode1(b batch) ([]byte, error) {
	e.v1.Timeseries, e.labels, e.samples = e.v1.Timeseries[:0], e.labels[:0], e.samples[:0]
	for _, p := range b.parts {
		l, s := len(e.labels), len(e.samples)
		e.labels = append(e.labels, prompb.Label{Name: "__name__", Value: p.family.Name})
		for _, label := range p.labels {
			e.labels = append(e.labels, prompb.Label{Name: label.Name, Value: label.Value})
		}
		for _, sample := range p.samples {
			e.samples = append(e.samples, prompb.Sample{Timestamp: sample.Time, Value: sample.Value})
		}
		e.v1.Timeseries = append(e.v1.Timeseries, prompb.TimeSeries{Labels: e.labels[l:len(e.labels):len(e.labels)], Samples: e.samples[s:len(e.samples):len(e.samples)]})
	}
	return e.pack(e.v1.Size(), e.v1.MarshalToSizedBuffer)
}

func (e *encoder) encode2(b batch) ([]byte, error) {
	if e.v2.Symbols == nil {
		e.symbols = writev2.NewSymbolTable()
	}
	e.symbols.Reset()
	e.v2.Timeseries, e.refs, e.samples2 = e.v2.Timeseries[:0], e.refs[:0], e.samples2[:0]
	for _, p := range b.parts {
		at := len(e.refs)
		e.refs = append(e.refs, e.symbols.Symbolize("__name__"), e.symbols.Symbolize(p.family.Name))
		for _, label := range p.labels {
			e.refs = append(e.refs, e.symbols.Symbolize(label.Name), e.symbols.Symbolize(label.Value))
		}
		from := len(e.samples2)
		for _, sample := range p.samples {
			e.samples2 = append(e.samples2, writev2.Sample{Timestamp: sample.Time, Value: sample.Value})
		}
		kind := writev2.Metadata_METRIC_TYPE_GAUGE
		if p.family.Type == Counter {
			kind = writev2.Metadata_METRIC_TYPE_COUNTER
		}
		e.v2.Timeseries = append(e.v2.Timeseries, writev2.TimeSeries{
			LabelsRefs: e.refs[at:len(e.refs):len(e.refs)], Samples: e.samples2[from:len(e.samples2):len(e.samples2)],
			Metadata: writev2.Metadata{Type: kind, HelpRef: e.symbols.Symbolize(p.family.Help), UnitRef: e.symbols.Symbolize(p.family.Unit)},
		})
	}
	e.v2.Symbols = e.symbols.Symbols()
	return e.pack(e.v2.Size(), e.v2.MarshalToSizedBuffer)
}

// pack marshals and compresses in snappy's block format.
func (e *encoder) pack(size int, marshal func([]byte) (int, error)) ([]byte, error) {
	if cap(e.plain) < size {
		e.plain = make([]byte, size)
	}
	e.plain = e.plain[:size]
	if _, err := marshal(e.plain); err != nil {
		return nil, err
	}
	if n := snappy.MaxEncodedLen(size); cap(e.packed) < n {
		e.packed = make([]byte, n)
	}
	e.packed = snappy.Encode(e.packed[:cap(e.packed)], e.plain)
	return e.packed, nil
}
