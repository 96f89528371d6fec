import { describe, expect, it } from 'vitest';
import { Live, type Snapshot } from './live';

const start = '2026-01-01T00:00:00Z';
const tick = (second: number, processes: Snapshot['processes'] = [], from = start): Snapshot => ({
  time: new Date(Date.parse(start) + second * 1000).toISOString(),
  start: from,
  node: [{ component: 'cpu', joules_total: 50, watts: 5 }, { component: 'memory', joules_total: 10, watts: 1 }],
  processes,
});
const proc = (pid: number, comm: string, watts: number, joules = 1) => ({ pid, comm, energy: [{ component: 'cpu', joules_total: joules, watts }] });

describe('Live', () => {
  it('has the processes of the newest snapshot and the last watts of each', () => {
    const live = new Live();
    live.add(tick(1, [proc(1, 'a', 2), proc(2, 'b', 3)]));
    live.add(tick(2, [proc(1, 'a', 4, 7)]));
    expect(live.rows.map((r) => [r.name, r.watts, r.joules])).toEqual([['a', 4, 7]]);
    expect(live.points(live.rows[0]!.key).map(([, w]) => w)).toEqual([2, 4]);
    expect(live.machine).toMatchObject({ watts: 6, joules: 60 });
    expect(live.machineWatts()).toHaveLength(2);
  });
  it('takes a pid that is used again by another program for another process', () => {
    const live = new Live();
    live.add(tick(1, [proc(1, 'a', 2)]));
    live.add(tick(2, [proc(1, 'z', 9)]));
    expect(live.points(live.rows[0]!.key).map(([, w]) => w)).toEqual([9]);
  });
  it('takes no snapshot twice, and begins anew with another agent', () => {
    const live = new Live();
    live.add(tick(5, [proc(1, 'a', 2)]));
    live.add(tick(5, [proc(1, 'a', 2)]));
    live.add(tick(4, [proc(1, 'a', 2)]));
    expect(live.points(live.rows[0]!.key)).toHaveLength(1);
    live.add(tick(3, [proc(1, 'a', 1)], '2026-01-01T00:00:02Z'));
    expect(live.points(live.rows[0]!.key).map(([, w]) => w)).toEqual([1]);
  });
  it('keeps no more than its size', () => {
    const live = new Live(3);
    for (let i = 1; i <= 10; i++) live.add(tick(i, [proc(1, 'a', i)]));
    expect(live.points(live.rows[0]!.key).map(([, w]) => w)).toEqual([8, 9, 10]);
  });
  it('knows what is not known from 0', () => {
    const live = new Live();
    live.add(tick(1, [{ pid: 7, comm: 'ended', energy: [{ component: 'cpu', joules_total: 3 }] }, { comm: 'other', energy: [] }]));
    expect(live.rows).toMatchObject([{ name: 'ended', watts: null, joules: 3 }, { name: 'all others', watts: null, joules: null }]);
  });
  it('takes what is no snapshot for none', () => {
    const live = new Live();
    live.add({});
    live.add({ time: 'yesterday' });
    expect(live.time).toBeNull();
    expect(live.rows).toEqual([]);
  });
});
