import { describe, expect, it } from 'vitest';
import { fromSeries, fromSnapshot, qualityOf, total, type Snapshot } from './now';
import type { Series } from './types';

const one = (labels: Record<string, string>, value: number): Series => ({ labels, points: [[1, value]] });

const snapshot: Snapshot = {
  time: '2026-11-22T15:44:46Z',
  node: [
    { component: 'memory', part: 'dynamic', quality: 'estimated', watts: 0 },
    { component: 'memory', part: 'idle', quality: 'estimated', watts: 8 },
    { component: 'cpu', part: 'dynamic', quality: 'measured', watts: 3 },
    { component: 'cpu', part: 'idle', quality: 'measured', watts: 1 },
    { component: 'gpu', part: 'dynamic', quality: 'measured' },
  ],
  node_error: [{ component: 'memory', bound: 'low', watts: 6 }, { component: 'memory', bound: 'high', watts: 14 }, { component: 'gpu', bound: 'low', watts: 1 }],
};

describe('the moment', () => {
  it('is alike out of a snapshot and out of queries; what had no datum is not there', () => {
    const now = fromSnapshot(snapshot);
    expect(now.components.map((c) => c.component)).toEqual(['cpu', 'memory']);
    const asked = fromSeries(
      now.time,
      snapshot.node!.filter((n) => n.watts !== undefined).map((n) => one({ component: n.component, part: n.part!, quality: n.quality! }, n.watts!)),
      snapshot.node_error!.map((n) => one({ component: n.component, bound: n.bound! }, n.watts!)),
    );
    expect(asked).toEqual(now);
  });
  it('adds up with a band of what has one', () => expect(total(fromSnapshot(snapshot))).toEqual({ value: 12, low: 10, high: 18, estimated: true }));
  it('is not known before anything is', () => {
    expect(total(undefined)).toEqual({ value: null, low: null, high: null, estimated: false });
    expect(total({ time: 1, components: [] }).value).toBeNull();
    expect(fromSnapshot({ time: 'x' }).components).toEqual([]);
  });
});

describe('the badge', () => {
  const of = (...qualities: string[]) => qualityOf({ time: 1, components: qualities.map((q, i) => ({ component: `c${i}`, dynamic: 10, idle: null, qualities: [q], low: q === 'estimated' ? 8 : null, high: q === 'estimated' ? 13 : null })) });
  it('says the worst that there is, with the band', () => {
    expect(of('measured')).toMatchObject({ level: 'measured', text: 'measured' });
    expect(of('measured', 'propagated')).toMatchObject({ level: 'propagated', text: 'from the hypervisor' });
    expect(of('estimated')).toMatchObject({ level: 'estimated', text: '~estimated +30 % / −20 %' });
    expect(of('measured', 'estimated')).toMatchObject({ level: 'mixed', text: '~partly estimated +15 % / −10 %' });
    expect(qualityOf(undefined).level).toBe('unknown');
  });
});
