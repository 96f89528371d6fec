import { describe, expect, it } from 'vitest';
import { balanceOf, booksOf, mood, order } from './health';
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
  it('are rounded in the history of an agent, by as much as its series are', () => {
    const rounded = (lack: number) => balanceOf(sides({ node: 5 + 3 / 1024, pod: 5 + (3 - lack) / 1024, series: 12 }), [], null, 10)!.balanced;
    expect([rounded(1), rounded(6), rounded(7)]).toEqual([true, true, false]);
  });
  it('are exact elsewhere, whatever the number of series', () => expect(balanceOf(sides({ node: 5.000977, pod: 5, series: 1200 }), [], null, 10)!.balanced).toBe(false));
  it('are not there without a machine', () => expect(balanceOf([], start, null, 0)).toBeNull());
});

describe('the books of a snapshot', () => {
  const energy = (...joules: number[]) => joules.map((joules_total) => ({ component: 'cpu', joules_total }));
  const snapshot = (unit: number) => ({
    start: '2026-01-01T00:00:00Z',
    node: energy(1234567.890123, 0.000977),
    pods: [{ pod_uid: 'a', energy: energy(1000000.1) }],
    containers: [{ pod_uid: 'a', energy: energy(1000000.1) }, { container_id: 'b', energy: energy(200000.2) }],
    vms: [],
    units: [{ unit: 'x.service', energy: energy(unit) }],
    sessions: [{ user: '1000' }],
    system: [{ account: 'idle', energy: energy(4567.590123, 0.000877) }],
    retired: [{ kind: 'unit', component: 'cpu', joules: 30000 }],
  });
  it('balance to the microjoule, and containers of pods count once', () => {
    const b = booksOf(snapshot(0.0001))!;
    expect([b.balanced, b.difference, b.since]).toEqual([true, 0, 1767225600]);
    expect(b.terms).toEqual([
      { name: 'pods', joules: 1000000.1 },
      { name: 'containers outside pods', joules: 200000.2 },
      { name: 'units', joules: 0.0001 },
      { name: 'system', joules: 4567.591 },
      { name: 'ended since', joules: 30000 },
    ]);
  });
  it('that lack one microjoule say so', () => expect(booksOf(snapshot(0.000099))).toMatchObject({ balanced: false, difference: 0.000001 }));
  it('are not there before the first datum', () => expect(booksOf({ node: [] })).toBeNull());
});

describe('verdicts', () => {
  it('come with what is used first, then what could be mended', () =>
    expect(order([{ name: 'a', status: 'absent' }, { name: 'w', status: 'works' }, { name: 'f', status: 'forbidden' }, { name: 'b', status: 'broken' }, { name: 'c', status: 'absent', chosen: true }]).map((v) => v.name)).toEqual(['c', 'b', 'f', 'w', 'a']));
  it('that are new are no good news', () => expect(mood('something new')).toBe('warn'));
});
