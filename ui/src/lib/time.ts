// What the time picker does to a span.
import { type Span, parseDuration } from './range';

const least = 60;

// refreshes are the times between two refreshes that people choose from, in seconds.
export const refreshes = [0, 5, 15, 60, 300] as const;

// parseRefresh reads the URL's parameter; what is wrong there becomes the default.
export function parseRefresh(text: string | undefined, otherwise = 15): number {
  if (text === undefined || text === '') return otherwise;
  if (text === 'off' || text === '0') return 0;
  const seconds = /^\d+$/.test(text) ? Number(text) : parseDuration(text);
  return seconds !== null && seconds >= 5 && seconds <= 3600 ? seconds : otherwise;
}

export const formatRefresh = (seconds: number): string => (seconds === 0 ? 'off' : seconds < 60 ? `${seconds}s` : `${Math.round(seconds / 60)}m`);

// back and forward go by the length of the span; one that would end in the
// future ends now.
export const back = (s: Span, now: number): Span => ({ seconds: s.seconds, end: (s.end ?? now) - s.seconds });

export function forward(s: Span, now: number): Span {
  if (s.end === null || s.end + s.seconds >= now) return { seconds: s.seconds, end: null };
  return { seconds: s.seconds, end: s.end + s.seconds };
}

// wider is twice the span around the same middle, up to now.
export function wider(s: Span, now: number): Span {
  const end = s.end === null ? null : s.end + s.seconds / 2;
  return { seconds: s.seconds * 2, end: end !== null && end >= now ? null : end };
}

// between is the span of two moments, whichever comes first; null if they are
// not a minute apart. One that ends now or later goes on with the clock.
export function between(a: number, b: number, now: number): Span | null {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return null;
  const [start, end] = [Math.min(a, b), Math.min(Math.max(a, b), now)];
  if (end - start < least) return null;
  return { seconds: Math.round(end - start), end: end >= now ? null : end };
}

// zoomed is the span that people drag over on a chart, at least a minute.
export function zoomed(a: number, b: number): Span {
  const [start, end] = [Math.min(a, b), Math.max(a, b)];
  const seconds = Math.max(least, Math.round(end - start));
  return { seconds, end: Math.round((start + end + seconds) / 2) };
}

const pad = (n: number): string => String(n).padStart(2, '0');

// local is a time as <input type="datetime-local"> has it, in the reader's time zone.
export function local(time: number): string {
  const d = new Date(time * 1000);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}T${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

export const fromLocal = (text: string): number => Date.parse(text) / 1000;

// names of the presets, as sentences have them.
const long: Record<string, string> = { '15m': '15 minutes', '1h': 'hour', '6h': '6 hours', '24h': '24 hours', '7d': '7 days', '15d': '15 days' };

export function spanName(s: Span, text: string): string {
  if (s.end === null) return `Last ${long[text] ?? text}`;
  const start = new Date((s.end - s.seconds) * 1000);
  const end = new Date(s.end * 1000);
  const day = (d: Date) => `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
  const inYear = (d: Date) => (d.getFullYear() === start.getFullYear() ? day(d).slice(5) : day(d));
  const hm = (d: Date) => `${pad(d.getHours())}:${pad(d.getMinutes())}`;
  return day(start) === day(end) ? `${day(start)} ${hm(start)} – ${hm(end)}` : `${day(start)} ${hm(start)} – ${inYear(end)} ${hm(end)}`;
}
