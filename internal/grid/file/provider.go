package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"time"

	"noether/internal/grid"
	"noether/internal/grid/regions"
	"noether/internal/grid/yearly"
)

// mostFile is the largest table that is read: a minute's step over a year is
// about 20 MB.
const mostFile = 64 << 20

// Options of a provider that reads one file.
type Options struct {
	Path   string
	Factor grid.Factor      // what the table counts, and the column of one with both; lifecycle if empty
	MaxAge time.Duration    // as for New
	Now    func() time.Time // time.Now if nil
}

// Provider answers out of a table in CSV that somebody keeps up to date. The
// file is read again when it has changed. Rows of times to come are a forecast.
// It is safe for concurrent use.
type Provider struct {
	o Options

	mu    sync.Mutex
	table *Table
	stamp time.Time
	size  int64
}

var _ grid.Provider = (*Provider)(nil)

// NewProvider returns the provider of a file. One that cannot be read by now
// may come later, as a disk that is mounted after the start: it fails whoever
// asks, not whoever starts.
func NewProvider(o Options) (*Provider, error) {
	if o.Path == "" {
		return nil, errors.New("read carbon intensities: no file is given")
	}
	o.Factor = cmp.Or(o.Factor, grid.Lifecycle)
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the clock, unless a test has another
	}
	return &Provider{o: o}, nil
}

// Info returns what the file is said to be: averages.
func (p *Provider) Info() grid.Info {
	return grid.Info{Name: "file", Signal: grid.Average, Factor: p.o.Factor}
}

func (p *Provider) read() (*Table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Stat(p.o.Path)
	if err != nil {
		return nil, fmt.Errorf("read carbon intensities: %w", err)
	}
	if p.table != nil && info.ModTime().Equal(p.stamp) && info.Size() == p.size {
		return p.table, nil
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read carbon intensities from %s: it is not a regular file", p.o.Path)
	case info.Size() > mostFile:
		return nil, fmt.Errorf("read carbon intensities from %s: it is larger than %d MiB: leave out what has long passed", p.o.Path, mostFile>>20)
	}
	f, err := os.Open(p.o.Path)
	if err != nil {
		return nil, fmt.Errorf("read carbon intensities: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	table, err := Parse(io.LimitReader(f, mostFile), p.o.Factor, p.o.MaxAge)
	if err != nil {
		return nil, fmt.Errorf("read carbon intensities from %s: %w", p.o.Path, err)
	}
	p.table, p.stamp, p.size = table, info.ModTime(), info.Size()
	return table, nil
}

// find returns the table and what it calls zone: the same, the zone of a cloud
// region, or the ISO 3166-1 alpha-3 code of a country.
func (p *Provider) find(zone string) (*Table, string, error) {
	table, err := p.read()
	if err != nil {
		return nil, "", err
	}
	if _, ok := table.zones[zone]; ok {
		return table, zone, nil
	}
	if resolved, err := regions.Resolve(zone); err == nil {
		zone = resolved
	}
	if _, ok := table.zones[zone]; !ok {
		if country, err := yearly.Find(zone); err == nil && country.Zone == zone {
			if _, ok := table.zones[country.Alpha3]; ok {
				zone = country.Alpha3
			}
		}
	}
	return table, zone, nil
}

// Intensity returns the rows that reach into [from, to].
func (p *Provider) Intensity(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	table, name, err := p.find(zone)
	if err != nil {
		return nil, err
	}
	samples, err := table.Intensity(ctx, name, from, to)
	if err != nil {
		err = fmt.Errorf("look into %s: %w", p.o.Path, err)
	}
	return samples, err
}

// Latest returns the newest row that has begun.
func (p *Provider) Latest(ctx context.Context, zone string) (grid.Sample, error) {
	table, name, err := p.find(zone)
	if err != nil {
		return grid.Sample{}, err
	}
	all, now := table.zones[name], p.o.Now()
	begun := sort.Search(len(all), func(i int) bool { return all[i].From.After(now) })
	switch {
	case len(all) == 0:
		_, err := table.Intensity(ctx, name, now, now)
		return grid.Sample{}, fmt.Errorf("look into %s: %w", p.o.Path, err)
	case begun == 0:
		return grid.Sample{}, fmt.Errorf("look into %s: the first row of zone %q is of %s, which is to come: %w", p.o.Path, name, all[0].From.UTC().Format(time.RFC3339), grid.ErrNoData)
	}
	return all[begun-1], nil
}

// Forecast returns the rows that reach into [from, to], if the table has any
// that ends after now.
func (p *Provider) Forecast(ctx context.Context, zone string, from, to time.Time) ([]grid.Sample, error) {
	samples, err := p.Intensity(ctx, zone, from, to)
	if err != nil {
		return nil, err
	}
	if len(samples) == 0 || !samples[len(samples)-1].To.After(p.o.Now()) {
		return nil, fmt.Errorf("look into %s: it has no rows of zone %q for the time to come: %w", p.o.Path, zone, grid.ErrNoForecast)
	}
	return samples, nil
}
