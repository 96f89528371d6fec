// What is known of a grid's intensity, from either of its sources: the
// document of an agent (internal/grid/exporter's Answer), or the families of a
// Prometheus. What is not of their shape is left out.
import type { Sample } from './best';
import type { Series } from './types';

export interface Outlook {
  zone: string;
  provider: string;
  signal: string;
  factor: string;
  updated: number | null; // when it was fetched
  now: { intensity: number; estimated: boolean } | null;
  forecaster: string; // who forecast it
  past: Sample[];
  forecast: Sample[];
  coarse: boolean; // hours counted from now, not the provider's own slots
}

const text = (x: unknown): string => (typeof x === 'string' ? x : '');
const number = (x: unknown): number | null => (typeof x === 'number' && Number.isFinite(x) && x >= 0 ? x : null);
const time = (x: unknown): number | null => {
  const ms = typeof x === 'string' ? Date.parse(x) : NaN;
  return ms > 0 ? ms / 1000 : null; // year 1 is Go's "no time"
};

function samples(x: unknown): Sample[] {
  const out: Sample[] = [];
  for (const s of Array.isArray(x) ? (x as unknown[]).slice(0, 10_000) : []) {
    const { from, to, grams_per_kwh: grams, estimated } = (typeof s === 'object' && s !== null ? s : {}) as Record<string, unknown>;
    const [a, b, intensity] = [time(from), time(to), number(grams)];
    if (a !== null && b !== null && intensity !== null && b > a) out.push({ from: a, to: b, intensity, estimated: estimated === true });
  }
  return out.sort((a, b) => a.from - b.from);
}

// parseAnswer reads the document of api/noether/v1/forecast; null if it is none.
export function parseAnswer(doc: unknown): Outlook | null {
  if (typeof doc !== 'object' || doc === null || typeof (doc as { zone?: unknown }).zone !== 'string') return null;
  const d = doc as Record<string, unknown>;
  const now = (typeof d.now === 'object' && d.now !== null ? d.now : {}) as Record<string, unknown>;
  const intensity = number(now.grams_per_kwh);
  return {
    zone: text(d.zone),
    provider: text(d.provider),
    signal: text(d.signal),
    factor: text(d.factor),
    updated: time(d.updated),
    now: intensity === null ? null : { intensity, estimated: now.estimated === true },
    forecaster: text(d.forecast_provider) || text(d.provider),
    past: samples(d.past),
    forecast: samples(d.forecast),
    coarse: false,
  };
}

// zonesOf lists the grid zones of an answer of grid.history, the first one by name first.
export const zonesOf = (now: Series[]): string[] => [...new Set(now.map((s) => s.labels.grid_zone ?? ''))].filter((z) => z).sort();

// fromFamilies makes the outlook of a zone from answers of grid.history,
// site.updated and grid.forecast at one time. A horizon is a whole number of
// hours from then; its value stands for the hour that begins there.
export function fromFamilies(zone: string, at: number, now: Series[], updated: Series[], forecast: Series[]): Outlook | null {
  const of = (x: Series[]) => x.filter((s) => (s.labels.grid_zone ?? '') === zone);
  // When provider or estimate change both series may be there for a while: the measured one counts.
  const current = of(now).sort((a, b) => Number(a.labels.estimated === 'true') - Number(b.labels.estimated === 'true'))[0];
  if (!current) return null;
  const l = current.labels;
  const intensity = current.points[0]![1];
  const estimated = l.estimated === 'true';
  const ahead: Sample[] = [];
  for (const s of of(forecast)) {
    const h = /^(\d{1,3})h$/.exec(s.labels.horizon ?? '');
    if (h) ahead.push({ from: at + Number(h[1]) * 3600, to: at + (Number(h[1]) + 1) * 3600, intensity: s.points[0]![1], estimated: false });
  }
  ahead.sort((a, b) => a.from - b.from);
  return {
    zone,
    provider: l.provider ?? '',
    signal: l.signal ?? '',
    factor: l.factor ?? '',
    updated: of(updated).find((s) => s.labels.provider === l.provider)?.points[0]?.[1] ?? null,
    now: { intensity, estimated },
    forecaster: l.provider ?? '',
    past: [],
    forecast: ahead.length ? [{ from: at, to: at + 3600, intensity, estimated }, ...ahead.filter((s) => s.from > at)] : [],
    coarse: true,
  };
}

// pastOf turns the history of a zone into stretches. Where several series
// tell the same time, the one that is no estimate counts.
export function pastOf(zone: string, history: Series[], step: number): Sample[] {
  const at = new Map<number, Sample>();
  for (const s of history) {
    if ((s.labels.grid_zone ?? '') !== zone) continue;
    const estimated = s.labels.estimated === 'true';
    for (const [t, v] of s.points) {
      const had = at.get(t);
      if (!had || (had.estimated && !estimated)) at.set(t, { from: t, to: t + step, intensity: v, estimated });
    }
  }
  return [...at.values()].sort((a, b) => a.from - b.from);
}

// flat tells that every time of the forecast is alike: there is no better one.
export const flat = (forecast: Sample[]): boolean => forecast.length > 0 && forecast.every((s) => s.intensity === forecast[0]!.intensity);
