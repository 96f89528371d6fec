// The arithmetic of the overview: totals with their bands, what is known of a
// range, who used most, and days.
import { byComponent, type Snapshot } from './now';
import { key, kinds, type Kind } from './owners';
import { alone } from './queries';
import type { Labels, Point, Series } from './types';

const valueOf = (s: Series): number => s.points[0]?.[1] ?? 0;

export interface Total {
  value: number | null; // null: not known
  low: number | null; // null without a band
  high: number | null;
  estimated: boolean;
}

// energyOf adds up node.joules, with the bands of node.errorJoules. A component
// without a band counts in both bounds as it is.
export function energyOf(joules: Series[], errors: Series[]): Total {
  if (joules.length === 0) return { value: null, low: null, high: null, estimated: false };
  const each = new Map<string, number>();
  let estimated = false;
  for (const s of joules) {
    const c = s.labels.component ?? '';
    each.set(c, (each.get(c) ?? 0) + valueOf(s));
    estimated ||= s.labels.quality === 'estimated' && valueOf(s) > 0;
  }
  const bound = (name: string): number | null => {
    const known = new Map(errors.filter((s) => s.labels.bound === name).map((s) => [s.labels.component ?? '', valueOf(s)]));
    if (known.size === 0) return null;
    return [...each].reduce((sum, [c, v]) => sum + (known.get(c) ?? v), 0);
  };
  return { value: [...each.values()].reduce((a, b) => a + b, 0), low: bound('low'), high: bound('high'), estimated };
}

// bySide adds up series by one of their labels.
export function bySide(series: Series[], label: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const s of series) sums.set(s.labels[label] ?? '', (sums.get(s.labels[label] ?? '') ?? 0) + valueOf(s));
  return sums;
}

// net is what was paid less what was earned, by currency.
export function net(cost: Series[], credit: Series[]): Map<string, number> {
  const sums = bySide(cost, 'currency');
  for (const [currency, earned] of bySide(credit, 'currency')) sums.set(currency, (sums.get(currency) ?? 0) - earned);
  return sums;
}

// Coverage is how much of a range anything is known of.
export interface Coverage {
  share: number; // 0 to 1
  first: number | null; // when what is known of it begins
}

// coverage counts the stretches of step seconds, each told of at its end, that
// have a point.
export function coverage(points: Point[], start: number, end: number, step: number): Coverage {
  const at = new Set(points.map(([t]) => Math.round(t / step)));
  let all = 0;
  let known = 0;
  let first: number | null = null;
  for (let i = Math.floor(start / step) + 1; i * step <= end; i++) {
    all++;
    if (!at.has(i)) continue;
    known++;
    first ??= Math.max(start, (i - 1) * step);
  }
  return { share: all ? known / all : 0, first };
}

// enough of a range must be known before its figures are compared.
export const enough = 0.9;

// comparable says why two ranges cannot be compared, or nothing if they can.
export function comparable(now: Coverage, before: Coverage): string | null {
  if (before.share === 0) return 'no data before';
  if (now.share < enough) return 'known only in part';
  if (before.share < enough) return 'too little known before';
  return null;
}

// Owner is one that used energy.
export interface Owner {
  kind: Kind;
  key: string;
  labels: Labels;
  name: string;
  value: number; // joules, or watts
}

// payers are the kinds that share the energy of a machine among each other:
// pods are told by their workloads, containers only where they are in no pod.
// The label is the one by which a few of them are asked for.
export const payers: { kind: Kind; label: string; where: string[] }[] = [
  { kind: 'workload', label: 'workload', where: [] },
  { kind: 'container', label: 'container_id', where: [alone] },
  { kind: 'vm', label: 'vm', where: [] },
  { kind: 'unit', label: 'unit', where: [] },
  { kind: 'session', label: 'user', where: [] },
  { kind: 'system', label: 'account', where: [] },
];

const most = (all: Owner[], n: number): Owner[] =>
  all
    .filter((o) => o.value > 0)
    .sort((a, b) => b.value - a.value || a.name.localeCompare(b.name))
    .slice(0, n);

// top picks the n that have most of the answers of payers, in their order.
export function top(answers: Series[][], n: number): Owner[] {
  return most(
    answers.flatMap((series, i) => {
      const { kind } = payers[i]!;
      return series.map((s) => ({ kind, key: `${kind}\u0000${key(kind, s.labels)}`, labels: s.labels, name: kinds[kind].name(s.labels), value: valueOf(s) }));
    }),
    n,
  );
}

type Entry = { [name: string]: unknown; energy?: { watts?: number }[] };

const lists: Partial<Record<Kind, string>> = { workload: 'workloads', container: 'containers', vm: 'vms', unit: 'units', session: 'sessions', system: 'system' };

// topOfSnapshot picks the n that have most watts in this moment.
export function topOfSnapshot(s: Snapshot, n: number): Owner[] {
  const all: Owner[] = [];
  for (const { kind } of payers) {
    const list = s[lists[kind] ?? ''];
    if (!Array.isArray(list)) continue;
    for (const e of list as Entry[]) {
      if (kind === 'container' && e.pod_uid) continue;
      const labels: Labels = Object.fromEntries(kinds[kind].labels.filter((l) => typeof e[l] === 'string').map((l) => [l, e[l] as string]));
      const value = (e.energy ?? []).reduce((sum, x) => sum + (x.watts ?? 0), 0);
      all.push({ kind, key: `${kind}\u0000${key(kind, labels)}`, labels, name: kinds[kind].name(labels), value });
    }
  }
  return most(all, n);
}

// remainder is what of the whole is none of the parts', at the whole's times.
// What is of the size by which floating point rounds is nothing.
export function remainder(whole: Point[], parts: Point[][]): Point[] {
  const sums = new Map<number, number>();
  for (const points of parts) for (const [t, v] of points) sums.set(t, (sums.get(t) ?? 0) + v);
  return whole.map(([t, v]) => {
    const rest = v - (sums.get(t) ?? 0);
    return [t, rest > v * 1e-9 ? rest : 0];
  });
}

// addUp adds lines up at each time at which any of them has a point.
export function addUp(lines: Point[][]): Point[] {
  const sums = new Map<number, number>();
  for (const points of lines) for (const [t, v] of points) sums.set(t, (sums.get(t) ?? 0) + v);
  return [...sums].sort((a, b) => a[0] - b[0]);
}

// PowerLine is one area of the chart of components.
export interface PowerLine {
  component: string;
  idle: boolean;
  points: Point[];
}

// powerLines orders the answer of node.historyParts: idle lies below all, for
// it is always there; parts that never were anything are left out.
export function powerLines(series: Series[]): PowerLine[] {
  const lines = series
    .map((s) => ({ component: s.labels.component ?? '', idle: s.labels.part === 'idle', points: s.points }))
    .filter((l) => l.points.some(([, v]) => v > 0));
  return lines.sort((a, b) => Number(b.idle) - Number(a.idle) || byComponent(a, b));
}

// bandLines adds the bands of components up at each time. Where one has no
// band, its power counts in both bounds; nothing if none has.
export function bandLines(power: Series[], errors: Series[]): { low: Point[]; high: Point[] } | null {
  if (errors.length === 0) return null;
  const side = (bound: string): Point[] => {
    const banded = errors.filter((s) => s.labels.bound === bound);
    const has = new Set(banded.map((s) => s.labels.component));
    return addUp([...banded.map((s) => s.points), ...power.filter((s) => !has.has(s.labels.component)).map((s) => s.points)]);
  };
  return { low: side('low'), high: side('high') };
}

// Day is one day of the reader's calendar.
export interface Day {
  start: number; // its midnight
  value: number;
  hours: number; // of which the energy is known
  whole: boolean; // all its hours lie inside the range
}

// midnight is when the reader's day of a time began, or the one so many days later.
export function midnight(time: number, days = 0): number {
  const d = new Date(time * 1000);
  return new Date(d.getFullYear(), d.getMonth(), d.getDate() + days).getTime() / 1000;
}

// byDay adds hours up to days of the reader's calendar. Each point is of the
// hour that ends at it; an hour belongs to the day in which its middle lies.
export function byDay(points: Point[], start: number, end: number): Day[] {
  const days = new Map<number, Day>();
  for (const [t, v] of points) {
    const at = midnight(t - 1800);
    const day = days.get(at) ?? { start: at, value: 0, hours: 0, whole: at >= start - 1800 && midnight(at, 1) <= end + 1800 };
    day.value += v;
    day.hours++;
    days.set(at, day);
  }
  return [...days.values()].sort((a, b) => a.start - b.start);
}
