import { describe, expect, it } from 'vitest';
import { across, bandOf, banded, blocks, compare, exact, lag1, meanOf, paired, percents, periods, ratio, sentence, stepFor, student } from './compare';

// mulberry32 and Box-Muller: the same numbers at each run.
function uniform(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const normal = (u: () => number): number => Math.sqrt(-2 * Math.log(1 - u())) * Math.cos(2 * Math.PI * u());

// noise has the correlation phi from one value to the next, and this mean and spread.
function noise(u: () => number, n: number, phi: number, middle: number, spread: number): number[] {
  let x = normal(u) * spread;
  return Array.from({ length: n }, () => {
    x = phi * x + normal(u) * spread * Math.sqrt(1 - phi * phi);
    return middle + x;
  });
}

describe('the interval holds the true difference in about 95 of 100 runs', () => {
  const cases: [n: number, phi: number][] = [[30, 0], [30, 0.6], [60, 0], [60, 0.8], [120, 0.3], [120, 0.6], [120, 0.9], [240, 0], [240, 0.6], [240, 0.9], [240, 0.95]];
  it.each(cases)('%d samples, correlation %d', (n, phi) => {
    const u = uniform(n * 1000 + phi * 100);
    let absolute = 0;
    let relative = 0;
    let told = 0;
    for (let i = 0; i < 1000; i++) {
      const d = compare(noise(u, n, phi, 100, 10), noise(u, n, phi, 82, 10));
      if (!d.absolute || !d.relative) continue;
      told++;
      if (Math.abs(d.absolute.value + 18) <= d.absolute.half) absolute++;
      if (Math.abs(d.relative.value + 0.18) <= d.relative.half) relative++;
    }
    expect(told).toBeGreaterThan(500);
    for (const held of [absolute, relative]) {
      expect(held / told).toBeGreaterThan(0.9);
      expect(held / told).toBeLessThan(0.99);
    }
  });

  it('holds for joules per request, when watts follow the requests', () => {
    const u = uniform(5);
    let held = 0;
    const runs = 1000;
    for (let i = 0; i < runs; i++) {
      const period = (each: number) => {
        const requests = noise(u, 120, 0.7, 50, 8);
        return ratio(requests.map((r) => 5 + each * r + normal(u)), requests);
      };
      const d = compare(period(2), period(1.6));
      if (d.absolute && Math.abs(d.absolute.value + 0.4) <= d.absolute.half) held++;
    }
    expect(held / runs).toBeGreaterThan(0.9);
    expect(held / runs).toBeLessThan(0.99);
  });

  it.each([[120, 120], [120, 60], [60, 240]])('holds for energy of periods with %d and %d parts', (n, m) => {
    const u = uniform(n * 7 + m);
    let held = 0;
    let told = 0;
    for (let i = 0; i < 1000; i++) {
      const d = compare(across(noise(u, n, 0.6, 100, 12), n * 60), across(noise(u, m, 0.6, 82, 12), m * 60));
      if (!d.relative) continue;
      told++;
      if (Math.abs(d.relative.value - ((82 * m) / (100 * n) - 1)) <= d.relative.half) held++;
    }
    expect(told).toBeGreaterThan(900);
    expect(held / told).toBeGreaterThan(0.9);
    expect(held / told).toBeLessThan(0.99);
  });

  it.each([0.6, 0.9])('holds for grams and money, watts times what the grid is like (correlation %d)', (phi) => {
    const u = uniform(23 + phi * 100);
    let held = 0;
    let told = 0;
    for (let i = 0; i < 1000; i++) {
      // Watts and intensity wander by themselves; what hardware is made of comes at one rate.
      const period = (watts: number) => {
        const grid = noise(u, 120, phi, 0.3, 0.04);
        return across(noise(u, 120, 0.6, watts, 10).map((w, k) => (w / 1000) * grid[k]! * 1000 + 5), 24);
      };
      const d = compare(period(100), period(82));
      if (!d.relative) continue;
      told++;
      if (Math.abs(d.relative.value - (29.6 / 35 - 1)) <= d.relative.half) held++;
    }
    expect(told).toBeGreaterThan(500);
    expect(held / told).toBeGreaterThan(0.9);
    expect(held / told).toBeLessThan(0.99);
  });

  it('holds for pairs that share the course of a day, which alone would hide the difference', () => {
    const u = uniform(17);
    let absolute = 0;
    let relative = 0;
    let alone = 0;
    const runs = 1000;
    for (let i = 0; i < runs; i++) {
      const day = Array.from({ length: 120 }, (_, k) => 5 * Math.sin((2 * Math.PI * k) / 120));
      const as = noise(u, 120, 0.6, 20, 1).map((x, k) => x + day[k]!);
      const bs = noise(u, 120, 0.6, 19, 1).map((x, k) => x + day[k]!);
      const d = paired(as, bs);
      if (d.absolute && Math.abs(d.absolute.value + 1) <= d.absolute.half) absolute++;
      if (d.relative && Math.abs(d.relative.value + 0.05) <= d.relative.half) relative++;
      const verdict = compare(as, bs).verdict;
      if (verdict === 'none' || verdict === 'few') alone++;
    }
    for (const held of [absolute, relative]) {
      expect(held / runs).toBeGreaterThan(0.9);
      expect(held / runs).toBeLessThan(0.99);
    }
    expect(alone / runs).toBeGreaterThan(0.9);
  });

  it('a difference of nothing is told as one in at most 1 of 10 runs', () => {
    const u = uniform(11);
    let told = 0;
    for (let i = 0; i < 1000; i++) if (compare(noise(u, 120, 0.6, 10, 2), noise(u, 120, 0.6, 10, 2)).verdict !== 'none') told++;
    expect(told).toBeLessThan(100);
    expect(told).toBeGreaterThan(10);
  });
});

describe('compare', () => {
  it('says too few rather than guess', () => {
    const few = { verdict: 'few', absolute: null, relative: null };
    expect(compare([], [1, 2, 3])).toMatchObject(few);
    expect(compare(Array(19).fill(1), Array(200).fill(1))).toMatchObject(few);
    expect(meanOf(Array.from({ length: 25 }, (_, i) => i))).toBeNull(); // a ramp: its blocks hang together
  });
  it('tells constants apart, and nothing from nothing', () => {
    expect(compare(Array(60).fill(10), Array(60).fill(8))).toMatchObject({ verdict: 'less', absolute: { value: -2, half: 0 }, relative: { half: 0 } });
    expect(compare(Array(60).fill(0), Array(60).fill(0))).toMatchObject({ verdict: 'none', relative: null });
    expect(compare(Array(60).fill(0), Array(60).fill(3))).toMatchObject({ verdict: 'more', relative: null });
  });
  it('takes blocks from the end', () => {
    expect(blocks([9, 1, 1, 2, 2])).toEqual([1, 2]);
    expect(lag1([1, 1, 1])).toBe(0);
    expect(lag1([1, -1, 1, -1])).toBeLessThan(0);
  });
  it('knows the quantiles of t', () => {
    for (const [freedom, t] of [[2, 4.303], [3, 3.182], [5, 2.571], [10, 2.228], [30, 2.042], [1e6, 1.96]] as const) expect(Math.abs(student(freedom) / t - 1)).toBeLessThan(0.02);
  });
});

describe('ratio', () => {
  it('has the ratio of the means as its mean', () => {
    const xs = ratio([10, 20, 30], [1, 2, 5]);
    expect(xs.reduce((s, x) => s + x, 0) / 3).toBeCloseTo(60 / 8);
    expect(ratio([2, 4, 6], [1, 2, 3])).toEqual([2, 2, 2]);
  });
  it('is nothing without requests', () => {
    expect(ratio([1, 2], [0, 0])).toEqual([]);
    expect(ratio([], [])).toEqual([]);
  });
});

describe('banded', () => {
  const d = compare(Array(60).fill(10), Array(60).fill(8));
  it('adds what the meters may be off', () => {
    expect(banded(d, exact, exact)).toMatchObject({ verdict: 'less' });
    expect(banded(d, { low: 0.8, high: 1.3 }, { low: 0.8, high: 1.3 })).toMatchObject({ verdict: 'none' });
    expect(banded(compare([], []), exact, exact)).toBeNull();
  });
});

describe('sentence', () => {
  const words = { when: 'After 14:00', subject: 'checkout', what: 'energy per request' };
  const d = (verdict: 'less' | 'more' | 'none', value: number, half: number) => ({ verdict, a: 1, b: 1 + value, absolute: { value, half }, relative: { value, half } });
  it('says it as people would', () => {
    expect(sentence(d('less', -0.182, 0.031), words)).toBe('After 14:00 checkout uses 18 % ± 3 % less energy per request.');
    expect(sentence(d('more', 0.0421, 0.0032), words)).toBe('After 14:00 checkout uses 4.2 % ± 0.3 % more energy per request.');
    expect(sentence(d('none', -0.021, 0.049), words)).toBe('No difference can be told (−2 % ± 5 %).');
    expect(sentence(compare([], []), words)).toBe('Too few samples to tell.');
    expect(percents({ value: 0.5, half: 0 })).toEqual({ value: '50 %', half: '0 %' });
  });
});

describe('periods', () => {
  const range = { start: 7200, end: 10800 };
  const iso = (t: number) => new Date(t * 1000).toISOString();
  it('are the range and the one before', () => {
    expect(periods(range, {}, 10800)).toEqual({ a: { start: 3600, end: 7200 }, b: range, release: null });
    expect(periods(range, { 'a.start': 'x', release: 'y' }, 10800).a).toEqual({ start: 3600, end: 7200 });
  });
  it('can be chosen', () => {
    expect(periods(range, { 'a.start': iso(0), 'a.end': iso(1800) }, 10800).a).toEqual({ start: 0, end: 1800 });
    expect(periods(range, { 'a.end': iso(5000) }, 10800).a).toEqual({ start: 1400, end: 5000 });
    expect(periods(range, { 'a.start': iso(1800), 'a.end': iso(0) }, 10800).a).toEqual({ start: -3600, end: 0 });
  });
  it('are equally long around a release', () => {
    expect(periods(range, { release: iso(9000) }, 10800)).toEqual({ a: { start: 7200, end: 9000 }, b: { start: 9000, end: 10800 }, release: 9000 });
    expect(periods(range, { release: iso(5000) }, 10800).b).toEqual({ start: 5000, end: 8600 });
    expect(periods(range, { release: iso(20000) }, 10800).release).toBeNull();
  });
  it('have parts of four samples at least', () => {
    const p = periods(range, {}, 10800);
    expect(stepFor(p, 15)).toBe(60);
    expect(stepFor(p, 1)).toBe(30);
    expect(stepFor({ ...p, a: { start: 0, end: 86400 }, b: { start: 86400, end: 172800 } }, 15)).toBe(720);
  });
});

describe('bandOf', () => {
  const m = (o: Record<string, number>) => new Map(Object.entries(o));
  it('weighs the bands of components by what was used of each', () => {
    const band = bandOf(m({ cpu: 30, memory: 10 }), m({ cpu: 300, memory: 40 }), m({ memory: 20 }), m({ memory: 60 }));
    expect(band.low).toBeCloseTo(35 / 40);
    expect(band.high).toBeCloseTo(45 / 40);
  });
  it('is none where nothing is estimated or used', () => {
    expect(bandOf(m({ cpu: 30 }), m({ cpu: 300 }), m({}), m({}))).toEqual(exact);
    expect(bandOf(m({}), m({}), m({}), m({}))).toEqual(exact);
  });
});
