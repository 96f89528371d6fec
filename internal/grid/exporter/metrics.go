package exporter

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"noether/internal/grid"
)

// Horizons are how far ahead the forecast is exported, as the agent does.
const horizons = 24 // hours

// families are descriptions of what is exported, with the names of the agent's.
type families struct {
	intensity, updated, forecast    *prometheus.Desc
	up, requests, failures, success *prometheus.Desc
	build, start                    *prometheus.Desc
}

func describe() families {
	series := []string{"grid_zone", "provider", "signal", "factor", "estimated"}
	source := []string{"source", "grid_zone"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return families{
		intensity: desc("noether_grid_carbon_intensity_grams_per_kwh", "Carbon intensity of the zone's electricity by now, in gCO2e/kWh; absent while nobody knows it.", series...),
		updated:   desc("noether_grid_carbon_intensity_updated_timestamp_seconds", "When the intensity was fetched, in seconds since 1970; absent for what is built in.", series...),
		forecast:  desc("noether_grid_forecast_grams_per_kwh", "Carbon intensity that is expected after the horizon, in gCO2e/kWh.", append(series, "horizon")...),
		up:        desc("noether_site_source_up", "1 if the source's last answer was one, 0 if it failed.", source...),
		requests:  desc("noether_site_source_requests_total", "Times the source was asked.", source...),
		failures:  desc("noether_site_source_failures_total", "Times the source had no answer of use.", source...),
		success:   desc("noether_site_source_last_success_timestamp_seconds", "When the source last answered, in seconds since 1970.", source...),
		build:     desc("noether_build_info", "The program that serves this page.", "version", "revision", "goversion", "goos", "goarch"),
		start:     desc("noether_start_time_seconds", "When the exporter started and every counter was 0, in seconds since 1970."),
	}
}

// Describe sends nothing: what there is depends on what is known.
func (e *exporter) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is known by now.
func (e *exporter) Collect(out chan<- prometheus.Metric) {
	f, now := describe(), e.Now()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...) //nolint:promlinter // it cannot see the names, which the tests lint
	}
	for _, zone := range e.Zones {
		z := zone()
		labels := func(provider string, estimated bool) []string {
			return []string{z.Zone, provider, string(z.Signal), string(z.Factor), strconv.FormatBool(estimated)}
		}
		if z.Known {
			send(f.intensity, prometheus.GaugeValue, z.Now.Intensity, labels(z.Provider, z.Now.Estimated)...)
			if !z.Updated.IsZero() {
				send(f.updated, prometheus.GaugeValue, unix(z.Updated), labels(z.Provider, z.Now.Estimated)...)
			}
		}
		by := z.ForecastBy
		if by == "" {
			by = z.Provider
		}
		for h := 1; h <= horizons; h++ {
			if s, ok := at(z.Forecast, now.Add(time.Duration(h)*time.Hour)); ok {
				send(f.forecast, prometheus.GaugeValue, s.Intensity, append(labels(by, s.Estimated), strconv.Itoa(h)+"h")...)
			}
		}
		for _, s := range z.Sources {
			up := 0.0
			if s.Up {
				up = 1
			}
			send(f.up, prometheus.GaugeValue, up, s.Name, z.Zone)
			send(f.requests, prometheus.CounterValue, float64(s.Requests), s.Name, z.Zone)
			send(f.failures, prometheus.CounterValue, float64(s.Failures), s.Name, z.Zone)
			if !s.Success.IsZero() {
				send(f.success, prometheus.GaugeValue, unix(s.Success), s.Name, z.Zone)
			}
		}
	}
	send(f.build, prometheus.GaugeValue, 1, e.Version, e.Revision, e.GoVersion, e.OS, e.Arch)
	send(f.start, prometheus.GaugeValue, unix(e.started))
}

// at returns the sample that holds at t.
func at(samples []grid.Sample, t time.Time) (grid.Sample, bool) {
	for _, s := range samples {
		if !s.From.After(t) && s.To.After(t) {
			return s, true
		}
	}
	return grid.Sample{}, false
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
