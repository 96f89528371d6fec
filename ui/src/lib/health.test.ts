import { describe, expect, it } from 'vitest';
import { balanceOf, mood, order } from './health';
import type { Series } from './types';

const sides = (values: Record<string, number>): Series[] => Object.entries(values).map(([side, v]) => ({ labels: { side }, points: [[1, v]] }));

describe('the books', () => {
  const start = sides({ node: 100, pod: 60, system: 30, retired: 10 });
  it('balance over the range, owners that ended included', () => {
    const b = balanceOf(sides({ node: 150.000001, pod: 40, system: 50, unit: 10, retired: 50.000001 }), start, 5, 10)!;
    expect(b.balanced).toBe(true);
    expect(b.whole).toBeCloseTo(50.000001, 9);
    expect(b.terms.map((t) => [t.name, Math.round(t.joules)])).toEqual([['pods', -20], ['units', 10], ['system', 20], ['ended since', 40]]);
    expect(b.since).toBeNull();
  });
  it('begin at 0 with an agent that started in the range', () => expect(balanceOf(sides({ node: 50, pod: 50 }), start, 20, 10)).toMatchObject({ whole: 50, balanced: true, since: 20 }));
  it('that do not balance say by how much', () => {
    const b = balanceOf(sides({ node: 50, pod: 49 }), [], 20, 10)!;
    expect([b.balanced, b.difference]).toEqual([false, 1]);
  });
  it('are not there without a machine', () => expect(balanceOf([], start, null, 0)).toBeNull());
});

describe('verdicts', () => {
  it('come with what is used first, then what could be mended', () =>
    expect(order([{ name: 'a', status: 'absent' }, { name: 'w', status: 'works' }, { name: 'f', status: 'forbidden' }, { name: 'b', status: 'broken' }, { name: 'c', status: 'absent', chosen: true }]).map((v) => v.name)).toEqual(['c', 'b', 'f', 'w', 'a']));
  it('that are new are no good news', () => expect(mood('something new')).toBe('warn'));
});
