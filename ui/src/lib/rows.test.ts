import { describe, expect, it } from 'vitest';
import { add, currencies, detailHref, kindsOf, known, matchesTree, merge, ownerOf, search, sorted, sums, usual, where, without } from './rows';
import type { Series } from './types';

const at = (labels: Record<string, string>, value: number): Series => ({ labels, points: [[1000, value]] });
const cart = { namespace: 'shop', workload_kind: 'Deployment', workload: 'cart' };
const etl = { namespace: 'data', workload_kind: 'CronJob', workload: 'etl' };

describe('merge', () => {
  it('makes one row of all answers about one owner', () => {
    const rows = merge('workload', {
      joules: [at({ ...cart, component: 'cpu' }, 30), at({ ...cart, component: 'memory' }, 6), at(etl, 1)],
      watts: [at(cart, 2)],
      grams: [at({ ...cart, phase: 'operational' }, 0.5)],
      cost: [at({ ...cart, currency: 'EUR' }, 0.4)],
      credit: [at({ ...cart, currency: 'EUR' }, 0.1)],
    });
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({ name: 'cart', labels: cart, joules: 36, watts: 2, grams: 0.5 });
    expect(rows[0]!.cost.get('EUR')).toBeCloseTo(0.3);
    expect(rows[1]).toMatchObject({ name: 'etl', joules: 1, watts: null, grams: null });
    expect(currencies(rows)).toEqual(['EUR']);
  });
  it('keeps what is unknown unknown, and 0 a 0', () => {
    expect(merge('unit', { joules: [], watts: [at({ unit: 'a' }, 0)] })[0]).toMatchObject({ joules: null, watts: 0 });
  });
  it('tells pods of one name apart by uid, and has a row for what has no labels', () => {
    expect(merge('pod', { joules: [at({ pod: 'a', pod_uid: '1' }, 1), at({ pod: 'a', pod_uid: '2' }, 1), at({}, 1)] })).toHaveLength(3);
  });
});

describe('sorted', () => {
  const rows = [{ n: 'b', v: 1 }, { n: 'a', v: null }, { n: 'c', v: 1 }, { n: 'pod-10', v: 3 }, { n: 'pod-9', v: 2 }];
  it('keeps the order of equals, and what is unknown last either way', () => {
    expect(sorted(rows, (r) => r.v, false).map((r) => r.n)).toEqual(['b', 'c', 'pod-9', 'pod-10', 'a']);
    expect(sorted(rows, (r) => r.v, true).map((r) => r.n)).toEqual(['pod-10', 'pod-9', 'b', 'c', 'a']);
    expect(rows[0]!.n).toBe('b');
  });
  it('sorts names as people count', () => {
    expect(sorted(rows, (r) => r.n, false).map((r) => r.n)).toEqual(['a', 'b', 'c', 'pod-9', 'pod-10']);
  });
});

describe('search', () => {
  const rows = merge('workload', { joules: [at(cart, 1), at(etl, 1)] });
  it('looks through all labels, for every word', () => {
    expect(search(rows, 'CRON').map((r) => r.name)).toEqual(['etl']);
    expect(search(rows, 'shop cart').map((r) => r.name)).toEqual(['cart']);
    expect(search(rows, ' ')).toHaveLength(2);
    expect(search(rows, '.*')).toHaveLength(0);
  });
});

describe('sums', () => {
  const rows = merge('workload', { joules: [at(cart, 30), at(etl, 12)], watts: [at(cart, 2)], cost: [at({ ...cart, currency: 'EUR' }, 3)] });
  it('shown, rest and machine add up', () => {
    const machine = { watts: 10, joules: 100, grams: 7, cost: new Map([['EUR', 9]]) };
    const shown = sums(rows);
    const rest = without(machine, shown);
    expect(shown).toMatchObject({ watts: 2, joules: 42, grams: null });
    expect(sums([shown, rest])).toEqual(machine);
  });
  it('a sum of nothing known is not known', () => {
    expect(add([])).toBeNull();
    expect(add([null, undefined])).toBeNull();
    expect(without(sums([]), sums(rows)).joules).toBeNull();
  });
});

describe('addresses', () => {
  it('lead to an owner and back', () => {
    const to = detailHref('workload', { ...cart, component: 'cpu' }, { range: '6h' });
    expect(to).toBe('#/detail?range=6h&kind=workload&namespace=shop&workload_kind=Deployment&workload=cart');
    expect(ownerOf(Object.fromEntries(new URLSearchParams(to.split('?')[1])))).toEqual({ kind: 'workload', labels: cart });
    expect(ownerOf({ 'b.kind': 'unit', 'b.unit': 'x' }, 'b.')).toEqual({ kind: 'unit', labels: { unit: 'x' } });
    expect(ownerOf({ kind: 'constructor' })).toBeNull();
    expect(ownerOf({})).toBeNull();
  });
  it('match what is known', () => {
    expect(known('pod', { pod: 'a"b' })).toEqual(['pod="a\\"b"']);
    expect(where('workload', { labels: cart, name: 'cart' })).toBe('shop · Deployment');
  });
  it('know the scores of an owner', () => {
    expect(matchesTree({ manifest: 'shop', path: '/cart', namespace: 'shop', workload: 'cart' }, cart)).toBe(true);
    expect(matchesTree({ manifest: 'shop', path: '/', namespace: 'shop' }, cart)).toBe(true);
    expect(matchesTree({ namespace: 'shop', pod: 'cart-1' }, cart)).toBe(false);
    expect(matchesTree({ manifest: 'shop', path: '/' }, cart)).toBe(false);
  });
  it('know the kinds by their families', () => {
    expect(kindsOf(['noether_unit_joules_total', 'noether_pod_joules_total', 'noether_pod_watts'])).toEqual(['pod', 'unit']);
    expect(usual(['pod', 'unit'])).toBe('unit');
    expect(usual(['vm'])).toBe('vm');
    expect(usual([])).toBeUndefined();
  });
});
