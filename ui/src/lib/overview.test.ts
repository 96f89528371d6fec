import { describe, expect, it } from 'vitest';
import { bandLines, byDay, comparable, coverage, energyOf, midnight, net, payers, powerLines, remainder, top, topOfSnapshot } from './overview';
import type { Point, Series } from './types';

const one = (labels: Record<string, string>, value: number): Series => ({ labels, points: [[1, value]] });
const line = (labels: Record<string, string>, ...values: number[]): Series => ({ labels, points: values.map((v, i) => [i, v]) });

describe('energy', () => {
  it('has a band of what has one, and a tilde if any of it is an estimate', () => {
    const joules = [one({ component: 'cpu', part: 'idle', quality: 'measured' }, 10), one({ component: 'memory', quality: 'estimated' }, 5)];
    expect(energyOf(joules, [one({ component: 'memory', bound: 'low' }, 4), one({ component: 'memory', bound: 'high' }, 8)])).toEqual({ value: 15, low: 14, high: 18, estimated: true });
    expect(energyOf(joules.slice(0, 1), [])).toEqual({ value: 10, low: null, high: null, estimated: false });
  });
  it('that nobody counted is not 0', () => expect(energyOf([], [])).toEqual({ value: null, low: null, high: null, estimated: false }));
  it('of a quality that stood still in the range makes no estimate', () => expect(energyOf([one({ component: 'cpu', quality: 'estimated' }, 0), one({ component: 'cpu', quality: 'measured' }, 3)], []).estimated).toBe(false));
});

it('pays by currency, less what was earned', () => expect([...net([one({ currency: 'EUR' }, 3), one({ currency: 'USD' }, 1)], [one({ currency: 'EUR' }, 5)])]).toEqual([['EUR', -2], ['USD', 1]]));

describe('coverage', () => {
  const stretch = (from: number, to: number): Point[] => Array.from({ length: (to - from) / 60 }, (_, i) => [from + (i + 1) * 60, 1]);
  it('counts stretches', () => {
    expect(coverage(stretch(0, 3600), 0, 3600, 60)).toEqual({ share: 1, first: 0 });
    expect(coverage(stretch(1800, 3600), 0, 3600, 60)).toEqual({ share: 0.5, first: 1800 });
    expect(coverage([], 0, 3600, 60)).toEqual({ share: 0, first: null });
  });
  it('tells why two ranges are not compared', () => {
    const [none, half, whole] = [{ share: 0, first: null }, { share: 0.5, first: 1 }, { share: 1, first: 0 }];
    expect([comparable(whole, none), comparable(half, whole), comparable(whole, half), comparable(whole, whole)]).toEqual(['no data before', 'known only in part', 'too little known before', null]);
  });
});

describe('who used most', () => {
  const answers = payers.map(({ kind }) =>
    kind === 'workload' ? [one({ namespace: 'a', workload_kind: 'Deployment', workload: 'web' }, 5), one({ namespace: 'b', workload_kind: 'Deployment', workload: 'web' }, 7)] : kind === 'unit' ? [one({ unit: 'x.service' }, 6), one({ unit: 'still.service' }, 0)] : [],
  );
  it('is over all kinds, by energy, the same name in two namespaces apart', () =>
    expect(top(answers, 2).map((o) => [o.kind, o.labels.namespace ?? '', o.name, o.value])).toEqual([['workload', 'b', 'web', 7], ['unit', '', 'x.service', 6]]));
  it('leaves those out who used nothing', () => expect(top(answers, 10)).toHaveLength(3));
  it('comes from a snapshot where there is no history; containers of pods are in their pods', () => {
    const found = topOfSnapshot(
      { time: '', containers: [{ container: 'in', pod_uid: 'u', container_id: 'c', energy: [{ watts: 9 }] }, { container: 'out', container_id: 'd', energy: [{ watts: 2 }, {}] }], system: [{ account: 'idle', energy: [{ watts: 3 }] }], units: 'what' as never },
      10,
    );
    expect(found.map((o) => [o.kind, o.name, o.value])).toEqual([['system', 'idle', 3], ['container', 'out', 2]]);
  });
});

describe('lines', () => {
  it('leave a remainder at the times of the whole', () => {
    expect(remainder([[0, 10], [1, 10], [2, 10]], [[[0, 4], [2, 10.000000000001]], [[0, 1], [5, 9]]])).toEqual([[0, 5], [1, 10], [2, 0]]);
  });
  it('have idle below, and nothing that never was', () => {
    const found = powerLines([line({ component: 'memory', part: 'dynamic' }, 0, 0), line({ component: 'cpu', part: 'dynamic' }, 1, 2), line({ component: 'memory', part: 'idle' }, 3, 3), line({ component: 'cpu', part: 'idle' }, 1, 1)]);
    expect(found.map((l) => `${l.component} ${l.idle}`)).toEqual(['cpu true', 'memory true', 'cpu false']);
  });
  it('have a band of the whole machine', () => {
    const power = [line({ component: 'cpu', part: 'idle' }, 1, 1), line({ component: 'memory', part: 'idle' }, 5, 5)];
    expect(bandLines(power, [line({ component: 'memory', bound: 'low' }, 4, 4), line({ component: 'memory', bound: 'high' }, 9, 9)])).toEqual({ low: [[0, 5], [1, 5]], high: [[0, 10], [1, 10]] });
    expect(bandLines(power, [])).toBeNull();
  });
});

describe('days', () => {
  it('are of the calendar; those at the edges are parts', () => {
    const from = new Date(2026, 10, 20, 12).getTime() / 1000;
    const points: Point[] = Array.from({ length: 48 }, (_, i) => [from + (i + 1) * 3600, 2]);
    expect(byDay(points, from, from + 48 * 3600)).toEqual([
      { start: new Date(2026, 10, 20).getTime() / 1000, value: 24, hours: 12, whole: false },
      { start: new Date(2026, 10, 21).getTime() / 1000, value: 48, hours: 24, whole: true },
      { start: new Date(2026, 10, 22).getTime() / 1000, value: 24, hours: 12, whole: false },
    ]);
  });
  it('begin at midnight', () => {
    const t = new Date(2026, 10, 30, 23, 59).getTime() / 1000;
    expect(midnight(t, 1)).toBe(new Date(2026, 11, 1).getTime() / 1000);
  });
});
