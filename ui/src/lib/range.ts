// The span of time that a view shows. In a URL it is range=24h, and end=… (an
// RFC 3339 time in UTC) unless it ends now.
import type { PageInfo } from './types';

export interface Span {
  seconds: number;
  end: number | null; // seconds since 1970; null: now
}

// Range is a span with everything a query needs.
export interface Range {
  start: number;
  end: number;
  seconds: number;
  live: boolean; // it ends now
  step: number; // between two points of a chart
  window: number; // over which a rate is taken; at least four samples
  long: boolean; // the five-minute copies are asked
}

const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
export const presets = ['15m', '1h', '6h', '24h', '7d', '15d'] as const;
const least = 60;
const most = 400 * 86400;

// parseDuration reads 90s, 15m, 1h30m, 7d; null if it is none.
export function parseDuration(text: string): number | null {
  if (!/^(\d{1,6}[smhdw])+$/.test(text)) return null;
  let sum = 0;
  for (const [, n, u] of text.matchAll(/(\d+)([smhdw])/g)) sum += Number(n) * (units[u ?? ''] ?? 0);
  return sum;
}

// formatDuration is the inverse of parseDuration, with as few units as can be.
export function formatDuration(seconds: number): string {
  let rest = Math.max(1, Math.round(seconds));
  let out = '';
  for (const [u, n] of [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]] as const) {
    const k = Math.floor(rest / n);
    if (k > 0) out += `${k}${u}`;
    rest -= k * n;
  }
  return out;
}

// parseSpan reads the URL's parameters; what is wrong there becomes the default.
export function parseSpan(range: string | undefined, end: string | undefined, otherwise = 3600): Span {
  const seconds = parseDuration(range ?? '') ?? otherwise;
  const ms = end ? Date.parse(end) : NaN;
  return { seconds: Math.min(Math.max(seconds, least), most), end: Number.isFinite(ms) ? ms / 1000 : null };
}

// nice is the least step of people's clocks that is not below s.
function nice(s: number): number {
  for (const n of [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]) if (n >= s) return n;
  return Math.ceil(s / 86400) * 86400;
}

// resolve fixes a span at a time (now, in seconds) for a server. A chart has
// at most points points, and its times are multiples of its step.
export function resolve(span: Span, info: PageInfo, now: number, points = 240): Range {
  const long = info.long !== null && span.seconds > info.long.after_seconds;
  const sample = long && info.long ? info.long.step_seconds : info.step_seconds;
  const step = nice(Math.max(span.seconds / points, sample));
  const live = span.end === null || span.end >= now;
  const end = live ? now : (span.end ?? now);
  return { start: end - span.seconds, end, seconds: span.seconds, live, step, window: Math.max(step, 4 * sample), long };
}

// settled says whether a live range that ended at a time may go on to end there,
// now that the clock says now. What moves a chart by less than a pixel is not
// worth asking everything anew, least of all of the machine that is measured: a
// week moves on every two minutes.
export const settled = (end: number, now: number, seconds: number): boolean => now >= end && now - end < Math.min(120, seconds / 5000);

// before is the span of equal length that ends where r starts.
export const before = (r: Range): Range => ({ ...r, start: r.start - r.seconds, end: r.start, live: false });
