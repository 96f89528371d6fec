// Whether two periods differ, and how surely. Samples of power hang together
// from one to the next, so the interval is made of means of blocks (batch
// means: G. S. Fishman, Management Science 24(5), 1978), widened by what the
// blocks themselves still hang together, and of Welch's t.

// Mean is the mean of a period with what is known about its error.
export interface Mean {
  value: number;
  variance: number; // of the mean, not of a sample
  freedom: number; // degrees of freedom of the variance
  samples: number;
}

// Band is how far a meter may be off, as factors of what it says: 0.8 and 1.3
// stand for a true value between 20 % below and 30 % above.
export interface Band {
  low: number;
  high: number;
}

export const exact: Band = { low: 1, high: 1 };

// Interval holds the true value in 95 of 100 cases, as far as chance goes.
export interface Interval {
  value: number;
  half: number;
}

export type Verdict = 'less' | 'more' | 'none' | 'few';

export interface Difference {
  verdict: Verdict;
  a: number;
  b: number;
  absolute: Interval | null; // b − a; null with too few samples
  relative: Interval | null; // b ÷ a − 1; null likewise, or if a is not above 0
}

// fewest samples of a period, and degrees of freedom, that an interval is made of.
const fewest = 20;
const leastFreedom = 2;

const sum = (xs: number[]): number => xs.reduce((s, x) => s + x, 0);
const mean = (xs: number[]): number => sum(xs) / xs.length;

// lag1 is the correlation of each value with the next.
export function lag1(xs: number[]): number {
  const m = mean(xs);
  let next = 0;
  let all = 0;
  xs.forEach((x, i) => {
    all += (x - m) ** 2;
    if (i > 0) next += (x - m) * ((xs[i - 1] ?? m) - m);
  });
  return all > 0 ? next / all : 0;
}

// blocks are the means of blocks of √n values; what is left over at the
// beginning is in none.
export function blocks(xs: number[]): number[] {
  const length = Math.max(1, Math.floor(Math.sqrt(xs.length)));
  const n = Math.floor(xs.length / length);
  const first = xs.length - n * length;
  return Array.from({ length: n }, (_, i) => mean(xs.slice(first + i * length, first + (i + 1) * length)));
}

// meanOf is null with too few samples to tell anything. The correlation that is
// left between blocks is estimated with its small-sample bias of −1/n taken
// out, and both widens the variance and costs degrees of freedom.
export function meanOf(xs: number[]): Mean | null {
  if (xs.length < fewest) return null;
  const means = blocks(xs);
  const n = means.length;
  const middle = mean(means);
  const spread = sum(means.map((m) => (m - middle) ** 2)) / (n - 1);
  const r = Math.min(0.8, Math.max(0, lag1(means) + 1 / n));
  const wider = (1 + r) / (1 - r);
  const freedom = (n - 1) / wider;
  if (freedom < leastFreedom) return null;
  return { value: mean(xs), variance: (spread / n) * wider, freedom, samples: xs.length };
}

// student is the 97.5 % quantile of Student's t, by the expansion 26.7.5 of
// Abramowitz and Stegun.
export function student(freedom: number): number {
  const z = 1.959963984540054;
  const g1 = (z ** 3 + z) / 4;
  const g2 = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  const g3 = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384;
  const g4 = (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160;
  return z + g1 / freedom + g2 / freedom ** 2 + g3 / freedom ** 3 + g4 / freedom ** 4;
}

// welch is the half width of the interval of a sum of two independent means
// with these variances.
function welch(a: number, freedomA: number, b: number, freedomB: number): number {
  const both = a + b;
  if (both === 0) return 0;
  return student(both ** 2 / (a ** 2 / freedomA + b ** 2 / freedomB)) * Math.sqrt(both);
}

const verdictOf = (low: number, high: number): Verdict => (high < 0 ? 'less' : low > 0 ? 'more' : 'none');

// compare takes samples of equal steps in the order of time.
export function compare(as: number[], bs: number[]): Difference {
  const few: Difference = { verdict: 'few', a: as.length ? mean(as) : NaN, b: bs.length ? mean(bs) : NaN, absolute: null, relative: null };
  const a = meanOf(as);
  const b = meanOf(bs);
  if (!a || !b) return few;
  const absolute = { value: b.value - a.value, half: welch(a.variance, a.freedom, b.variance, b.freedom) };
  let relative: Interval | null = null;
  if (a.value > 0) {
    // delta method: the variance of b ÷ a
    const scale = b.value / a.value;
    relative = { value: scale - 1, half: welch((scale / a.value) ** 2 * a.variance, a.freedom, b.variance / a.value ** 2, b.freedom) };
  }
  return { verdict: verdictOf(absolute.value - absolute.half, absolute.value + absolute.half), a: a.value, b: b.value, absolute, relative };
}

// paired compares samples that belong together two by two: two owners at the
// same times, or the same times of two days. What both have in common, such as
// the course of a day, is then in no interval.
export function paired(as: number[], bs: number[]): Difference {
  const absolute = meanOf(bs.map((b, i) => b - (as[i] ?? 0)));
  const few: Difference = { verdict: 'few', a: as.length ? mean(as) : NaN, b: bs.length ? mean(bs) : NaN, absolute: null, relative: null };
  if (!absolute) return few;
  const half = (m: Mean): number => student(m.freedom) * Math.sqrt(m.variance);
  const scale = meanOf(ratio(bs, as));
  const d = { value: absolute.value, half: half(absolute) };
  return { verdict: verdictOf(d.value - d.half, d.value + d.half), a: mean(as), b: mean(bs), absolute: d, relative: scale && { value: scale.value - 1, half: half(scale) } };
}

// ratio makes samples whose mean is the ratio of the means of tops and bottoms
// and whose spread is that ratio's (delta method), so that compare takes them.
// It is empty if the bottoms do not add up to more than 0.
export function ratio(tops: number[], bottoms: number[]): number[] {
  const bottom = bottoms.length ? mean(bottoms) : 0;
  if (!(bottom > 0)) return [];
  const r = mean(tops) / bottom;
  return tops.map((t, i) => r + (t - r * (bottoms[i] ?? 0)) / bottom);
}

// across makes samples of a rate into samples of what it comes to over a length
// of time, so that compare takes them: watts and seconds into joules.
export const across = (rates: number[], length: number): number[] => rates.map((r) => r * length);

// banded is the relative difference with chance and both meters' bands, if
// those are independent: nothing is known about how the one is off from how the
// other is.
export function banded(d: Difference, a: Band, b: Band): { low: number; high: number; verdict: Verdict } | null {
  if (!d.relative || d.verdict === 'few') return null;
  const low = ((1 + d.relative.value - d.relative.half) * b.low) / a.high - 1;
  const high = ((1 + d.relative.value + d.relative.half) * b.high) / a.low - 1;
  return { low, high, verdict: verdictOf(low, high) };
}

const figure = (ratioValue: number, digits: number): string => Math.abs(ratioValue * 100).toFixed(digits);

// percents writes a share and its half width with as many digits as the half
// width bears: 18 % ± 3 %, 4.2 % ± 0.3 %.
export function percents(i: Interval): { value: string; half: string } {
  const half = Math.abs(i.half * 100);
  const digits = half === 0 || half >= 2 ? 0 : half >= 0.2 ? 1 : 2;
  return { value: `${figure(i.value, digits)} %`, half: `${figure(i.half, digits)} %` };
}

// signed puts the sign of a value before its text, and none before what reads 0.
export const signed = (value: number, text: string): string => (/[1-9]/.test(text) ? `${value < 0 ? '−' : '+'}${text}` : text);

export interface Words {
  when: string; // 'After 14:00', or nothing
  subject: string; // 'checkout'
  what: string; // 'energy per request'
}

// sentence says the difference as people would.
export function sentence(d: Difference, w: Words): string {
  if (d.verdict === 'few') return 'Too few samples to tell.';
  const who = `${w.when} ${w.subject}`.trim();
  if (!d.relative) return d.verdict === 'none' ? 'No difference can be told: both used next to nothing.' : `${who} uses ${d.verdict} ${w.what}; the other used next to nothing.`;
  const p = percents(d.relative);
  if (d.verdict === 'none') return `No difference can be told (${signed(d.relative.value, p.value)} ± ${p.half}).`;
  return `${who} uses ${p.value} ± ${p.half} ${d.verdict} ${w.what}.`;
}

// Period is a stretch of time, in seconds since 1970.
export interface Period {
  start: number;
  end: number;
}

export interface Periods {
  a: Period;
  b: Period;
  release: number | null; // a ends and b begins there, and both are equally long
}

const time = (text: string | undefined): number | null => {
  const ms = text ? Date.parse(text) : NaN;
  return Number.isFinite(ms) ? ms / 1000 : null;
};

// periods reads both from the parameters of a URL. Without any, b is the range
// of the page and a the one before. A release has up to a range on both sides.
export function periods(range: Period, params: Record<string, string>, now: number): Periods {
  const seconds = range.end - range.start;
  const release = time(params.release);
  if (release !== null && release < now) {
    const length = Math.min(seconds, now - release);
    return { a: { start: release - length, end: release }, b: { start: release, end: release + length }, release };
  }
  const start = time(params['a.start']);
  const end = time(params['a.end']);
  const b = { start: range.start, end: range.end };
  if (start !== null && end !== null && end - start >= 60) return { a: { start, end }, b, release: null };
  if (end !== null) return { a: { start: end - seconds, end }, b, release: null };
  return { a: { start: range.start - seconds, end: range.start }, b, release: null };
}

// stepFor is the length of the equal parts of both periods, of which each has
// four samples at least: about 120 of them where the samples allow.
export function stepFor(p: Periods, sample: number): number {
  const shorter = Math.min(p.a.end - p.a.start, p.b.end - p.b.start);
  return Math.max(4 * sample, Math.ceil(shorter / 120 / sample) * sample);
}

// bandOf is the band of what somebody used of each component, out of the
// machine's energy and the least and greatest value of that. A component
// without a band counts as it is.
export function bandOf(used: ReadonlyMap<string, number>, machine: ReadonlyMap<string, number>, low: ReadonlyMap<string, number>, high: ReadonlyMap<string, number>): Band {
  let all = 0;
  let least = 0;
  let most = 0;
  for (const [c, joules] of used) {
    const whole = machine.get(c) ?? 0;
    const factor = (bound: number | undefined): number => (bound === undefined || whole <= 0 ? 1 : bound / whole);
    all += joules;
    least += joules * Math.min(1, factor(low.get(c)));
    most += joules * Math.max(1, factor(high.get(c)));
  }
  return all > 0 ? { low: least / all, high: most / all } : exact;
}
