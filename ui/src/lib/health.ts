// What the health view reads: the answers of api/noether/v1/check, which a
// server may lack, and the books of the machine.
import type { Series } from './types';

export interface Verdict {
  name: string;
  status: string; // works, absent, forbidden, masked, broken, stale, cannot tell
  reason?: string;
  remedy?: string;
  chosen?: boolean;
}

export interface Check {
  at?: string;
  sensors?: Verdict[] | null;
  usage?: Verdict[] | null;
  names?: Verdict[] | null;
  site?: Verdict[] | null;
  store?: { state?: string; reason?: string; remedy?: string; series?: number; bytes?: number; oldest?: string; newest?: string; aside?: { path: string; reason: string }[] };
  agent?: { usage?: string; policy?: string; tick_seconds?: number; tick_cpu_seconds?: number; rss_bytes?: number; imbalance_joules?: number; missed_ticks?: number; dropped_exits?: number };
}

export type Mood = 'good' | 'calm' | 'warn' | 'bad';

// mood is the colour of a status. What is absent is no fault: most machines
// lack most sensors. What was forbidden or hidden could be had.
export function mood(status: string): Mood {
  switch (status) {
    case 'works':
    case 'ready':
      return 'good';
    case 'absent':
    case 'off':
    case 'loading':
      return 'calm';
    case 'broken':
    case 'failed':
    case 'full':
      return 'bad';
    default:
      return 'warn';
  }
}

// order puts what is in use first, then what could be mended, then the rest.
export function order(list: Verdict[]): Verdict[] {
  const rank = (v: Verdict): number => (v.chosen ? 0 : { bad: 1, warn: 2, good: 3, calm: 4 }[mood(v.status)]);
  return [...list].sort((a, b) => rank(a) - rank(b));
}

// sides are the terms of the balance, as agents.balance names them.
export const sides: { side: string; name: string }[] = [
  { side: 'pod', name: 'pods' },
  { side: 'container', name: 'containers outside pods' },
  { side: 'vm', name: 'virtual machines' },
  { side: 'unit', name: 'units' },
  { side: 'session', name: 'sessions' },
  { side: 'system', name: 'system' },
  { side: 'retired', name: 'ended since' },
];

export interface Balance {
  whole: number; // joules of the machine
  terms: { name: string; joules: number }[];
  difference: number; // of both sides, joules
  balanced: boolean;
  since: number | null; // when the agent started, if that is later than the range
}

// difference is what the terms of a balance lack of the whole.
const differenceOf = (whole: number, terms: { joules: number }[]): number => whole - terms.reduce((sum, t) => sum + t.joules, 0);

// balanceOf compares both sides of the books: how far each counter came from
// the start of a range to its end. An agent that started within the range
// began at 0. Counters are exact to the microjoule; sums of them as floating
// point are to some 1e-12 of their size. The history of an agent holds counters
// in whole 1/1024 J: over it, each series at each end may be off by half of that.
export function balanceOf(end: Series[], start: Series[], started: number | null, from: number): Balance | null {
  const at = (series: Series[], side: string): number => series.find((s) => s.labels.side === side)?.points[0]?.[1] ?? 0;
  if (!end.some((s) => s.labels.side === 'node')) return null;
  const anew = start.length === 0 || (started !== null && started > from);
  const moved = (side: string): number => at(end, side) - (anew ? 0 : at(start, side));
  const terms = sides.map(({ side, name }) => ({ name, joules: moved(side) })).filter((t) => Math.abs(t.joules) > 1e-9);
  const whole = moved('node');
  const difference = differenceOf(whole, terms);
  const rounding = [end, anew ? [] : start].reduce((sum, series) => sum + (Number.isInteger(at(series, 'node') * 1024) ? at(series, 'series') / 2048 : 0), 0);
  return { whole, terms, difference, balanced: Math.abs(difference) <= 1e-5 + at(end, 'node') * 1e-11 + rounding, since: anew ? started : null };
}

interface Figures {
  joules_total?: number;
  joules?: number;
}

// Totals is what the books read of api/noether/v1/snapshot (docs/json.md).
export interface Totals {
  start?: string;
  node?: Figures[];
  retired?: Figures[];
  self?: { imbalance_joules?: number };
  [list: string]: unknown;
}

const lists: { side: string; list: string }[] = [
  { side: 'pod', list: 'pods' },
  { side: 'container', list: 'containers' },
  { side: 'vm', list: 'vms' },
  { side: 'unit', list: 'units' },
  { side: 'session', list: 'sessions' },
  { side: 'system', list: 'system' },
];

// Whole microjoules are exact as numbers, and as decimals of joules, below this.
const exactJoules = 4e9;

// booksOf compares both sides of an agent's books since its start, in whole
// microjoules: nothing is rounded, and one microjoule too few is seen.
export function booksOf(snapshot: Totals): Balance | null {
  const micro = (joules: number | undefined): number => Math.round((joules ?? 0) * 1e6);
  const sum = (figures: Figures[], of: 'joules_total' | 'joules'): number => figures.reduce((all, f) => all + micro(f[of]), 0);
  if (!snapshot.node?.length) return null;
  const whole = sum(snapshot.node, 'joules_total');
  const of = new Map<string, number>([['retired', sum(snapshot.retired ?? [], 'joules')]]);
  for (const { side, list } of lists) {
    const owners = Array.isArray(snapshot[list]) ? (snapshot[list] as { pod_uid?: string; energy?: Figures[] }[]) : [];
    // A container of a pod is inside its pod.
    of.set(side, owners.reduce((all, o) => all + (side === 'container' && o.pod_uid ? 0 : sum(o.energy ?? [], 'joules_total')), 0));
  }
  const terms = sides.map(({ side, name }) => ({ name, joules: of.get(side) ?? 0 })).filter((t) => t.joules !== 0);
  const difference = differenceOf(whole, terms);
  const noise = whole < exactJoules * 1e6 ? 0 : whole * 1e-12;
  const started = Date.parse(snapshot.start ?? '');
  return { whole: whole / 1e6, terms: terms.map((t) => ({ ...t, joules: t.joules / 1e6 })), difference: difference / 1e6, balanced: Math.abs(difference) <= noise, since: Number.isFinite(started) ? started / 1000 : null };
}
