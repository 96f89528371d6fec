import { describe, expect, it } from 'vitest';
import { findBest, type Sample } from './best';

const hour = (h: number, intensity: number, estimated = false): Sample => ({ from: h * 3600, to: (h + 1) * 3600, intensity, estimated });

// brute tries every second.
function brute(samples: Sample[], from: number, to: number, length: number): { at: number; sum: number } | null {
  const value: (number | undefined)[] = [];
  for (const s of samples) for (let t = s.from; t < s.to; t++) value[t] ??= s.intensity;
  let best: { at: number; sum: number } | null = null;
  for (let at = from; at + length <= to; at++) {
    let sum = 0;
    for (let t = at; t < at + length; t++) sum += value[t] ?? NaN;
    if (sum === sum && (!best || sum < best.sum)) best = { at, sum };
  }
  return best;
}

describe('findBest', () => {
  it('is what trying every second finds', () => {
    let state = 42;
    const r = (n: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n;
    for (let round = 0; round < 400; round++) {
      const samples: Sample[] = [];
      let at = r(5);
      while (at < 60 + r(30)) {
        const length = 1 + r(12);
        samples.push({ from: at, to: at + length, intensity: r(9), estimated: false });
        at += length + (r(6) === 0 ? r(4) : 0);
      }
      const from = r(20);
      const to = from + r(70);
      const length = 1 + r(25);
      const got = findBest(samples, { from, to, length });
      const want = brute(samples, from, to, length);
      if (!want) {
        expect(got.best).toBeNull();
        continue;
      }
      expect(got.best?.from).toBe(want.at);
      expect(got.best!.mean * length).toBeCloseTo(want.sum, 9);
      expect(got.best!.to).toBe(want.at + length);
      const first = brute(samples, from, from + length, length);
      if (from + length <= to && first) expect(got.now!.mean * length).toBeCloseTo(first.sum, 9);
      else expect(got.now).toBeNull();
    }
  });

  it('lies across borders where that is best', () => {
    const got = findBest([hour(0, 300), hour(1, 100), hour(2, 200), hour(3, 400)], { from: 0, to: 4 * 3600, length: 5400 });
    expect(got).toEqual({ best: { from: 3600, to: 9000, mean: 800 / 6, estimated: false }, now: { from: 0, to: 5400, mean: 1400 / 6, estimated: false }, covered: 14400, until: 14400 });
  });

  it('ends at a border where that is best', () => {
    expect(findBest([hour(0, 300), hour(1, 200), hour(2, 100), hour(3, 400)], { from: 0, to: 4 * 3600, length: 5400 }).best?.from).toBe(5400);
  });

  it('takes the earliest of equal windows', () => {
    expect(findBest([hour(0, 0.1), hour(1, 0.1), hour(2, 0.1)], { from: 7, to: 3 * 3600, length: 3600 }).best?.from).toBe(7);
  });

  it('never guesses', () => {
    const gap = [hour(0, 1), hour(2, 1)];
    expect(findBest(gap, { from: 0, to: 3 * 3600, length: 5400 })).toMatchObject({ best: null, now: null, covered: 7200, until: 3600 });
    expect(findBest([], { from: 0, to: 3600, length: 60 })).toEqual({ best: null, now: null, covered: 0, until: null });
    expect(findBest([hour(0, NaN)], { from: 0, to: 3600, length: 60 }).best).toBeNull();
    expect(findBest([hour(0, 1)], { from: 0, to: 3600, length: 0 }).best).toBeNull();
    expect(findBest([hour(0, 1)], { from: 0, to: 3600, length: 3601 }).best).toBeNull();
  });

  it('is an estimate if any of its samples is', () => {
    expect(findBest([hour(0, 1), hour(1, 1, true)], { from: 1800, to: 7200, length: 3600 }).best?.estimated).toBe(true);
    expect(findBest([hour(0, 1), hour(1, 1, true)], { from: 0, to: 7200, length: 3600 }).best?.estimated).toBe(false);
  });
});
