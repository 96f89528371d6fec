import { describe, expect, it } from 'vitest';
import { moved, scrolled, windowOf } from './virtual';

describe('windowOf', () => {
  it('has what is seen and some around', () => {
    expect(windowOf(10000, 30, 0, 600)).toEqual({ first: 0, last: 26 });
    expect(windowOf(10000, 30, 3015, 600)).toEqual({ first: 94, last: 127 });
    expect(windowOf(10000, 30, 299400, 600)).toEqual({ first: 9974, last: 10000 });
  });
  it('is empty without rows, and never outside of them', () => {
    expect(windowOf(0, 30, 0, 600)).toEqual({ first: 0, last: 0 });
    expect(windowOf(3, 30, 0, 600)).toEqual({ first: 0, last: 3 });
    for (const top of [-50, 0, 1e6]) {
      const w = windowOf(50, 30, top, 600);
      expect(w.first).toBeGreaterThanOrEqual(0);
      expect(w.last).toBeLessThanOrEqual(50);
      expect(w.first).toBeLessThanOrEqual(w.last);
    }
  });
});

describe('moved', () => {
  it('goes by rows, pages and to the ends', () => {
    expect(moved('ArrowDown', 3, 100, 10)).toBe(4);
    expect(moved('ArrowUp', 0, 100, 10)).toBe(0);
    expect(moved('PageDown', 95, 100, 10)).toBe(99);
    expect(moved('PageUp', 15, 100, 10)).toBe(5);
    expect(moved('Home', 50, 100, 10)).toBe(0);
    expect(moved('End', 50, 100, 10)).toBe(99);
    expect(moved('ArrowDown', -1, 100, 10)).toBe(0);
    expect(moved('PageDown', 0, 100, 0)).toBe(1);
  });
  it('goes nowhere by other keys or without rows', () => {
    expect(moved('a', 3, 100, 10)).toBeNull();
    expect(moved('toString', 3, 100, 10)).toBeNull();
    expect(moved('End', 0, 0, 10)).toBeNull();
  });
});

describe('scrolled', () => {
  it('moves no more than it must', () => {
    expect(scrolled(5, 30, 0, 600)).toBe(0);
    expect(scrolled(5, 30, 300, 600)).toBe(150);
    expect(scrolled(30, 30, 0, 600)).toBe(330);
  });
});
