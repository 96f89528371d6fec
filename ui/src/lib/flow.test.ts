import { describe, expect, it } from 'vitest';
import { balance, distribute, find, fold, grow, itemsOf, lanesOf, only, sensors, share, total, type FlowNode, type Items, type Lane, type Owned } from './flow';
import type { Series } from './types';

// A generator with a seed (mulberry32), so that a failure comes again.
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const lane = (id: string, amount: number, estimated = 0): Lane => ({ id, group: id.split('/')[0]!, idle: id.endsWith('/idle'), total: amount, estimated });

const series = (labels: Record<string, string>, value: number): Series => ({ labels, points: [[0, value]] });

// faults lists the nodes that are not the sum of their children.
function faults(at: FlowNode, path = ''): string[] {
  const here = `${path}${at.id}`;
  const out: string[] = [];
  if (at.total !== total(at.amounts)) out.push(`${here}: ${at.total} is not the sum of ${at.amounts}`);
  if (!at.amounts.every((a) => a >= 0 && Number.isSafeInteger(a))) out.push(`${here}: ${at.amounts}`);
  if (at.children.length > 0) {
    at.amounts.forEach((a, i) => {
      const below = total(at.children.map((c) => c.amounts[i]!));
      if (below !== a) out.push(`${here} lane ${i}: ${a}, its children ${below}`);
    });
  }
  return [...out, ...at.children.flatMap((c) => faults(c, `${here} > `))];
}

const sums = (at: FlowNode): void => expect(faults(at)).toEqual([]);

const count = (at: FlowNode): number => 1 + at.children.reduce((n, c) => n + count(c), 0);

// world is a cluster whose counters disagree with each other as increase()
// makes them: too much here, too little there, owners without a name.
function world(seed: number, pods = 40): { lanes: Lane[]; items: Items } {
  const r = random(seed);
  const ids = ['cpu/dynamic', 'cpu/idle', 'memory/dynamic', 'gpu/idle'].slice(0, 1 + Math.floor(r() * 4));
  const noise = () => (r() < 0.2 ? 0.5 + r() : 1 + (r() - 0.5) * 1e-4);
  const lanes = ids.map((id) => lane(id, 0));
  const items: Required<Pick<Items, 'namespace' | 'workload' | 'pod' | 'container' | 'unit' | 'system'>> = { namespace: [], workload: [], pod: [], container: [], unit: [], system: [] };
  const add = (kind: keyof typeof items, labels: Record<string, string>, amounts: number[]) => {
    const same = items[kind].find((i) => JSON.stringify(i.labels) === JSON.stringify(labels));
    if (same) amounts.forEach((a, i) => (same.amounts[i]! += a));
    else items[kind].push({ kind: kind as Owned, labels, amounts: amounts.slice() });
  };
  const skew = () => lanes.map(() => 0);
  for (let i = 0; i < pods; i++) {
    const namespace = r() < 0.1 ? '' : `ns${Math.floor(r() * 4)}`;
    const workload = namespace && r() < 0.8 ? `w${Math.floor(r() * 6)}` : '';
    const amounts = skew().map(() => (r() < 0.1 ? 0 : Math.floor(r() * 1e6)));
    const labels = { namespace, pod: namespace ? `p${i}` : '', pod_uid: `uid${i}`, workload_kind: workload ? 'Deployment' : '', workload };
    add('pod', labels, amounts);
    if (namespace) add('namespace', { namespace }, amounts.map((a) => Math.round(a * noise())));
    if (workload) add('workload', { namespace, workload_kind: 'Deployment', workload }, amounts.map((a) => Math.round(a * noise())));
    for (let c = Math.floor(r() * 3); c > 0; c--) add('container', { namespace, pod: `p${i}`, pod_uid: `uid${i}`, container: `c${c}`, container_id: `${i}-${c}`, runtime: '' }, amounts.map((a) => Math.round((a / 2) * noise())));
    amounts.forEach((a, k) => (lanes[k]!.total += Math.round(a * noise())));
  }
  for (const unit of ['cron.service', 'sshd.service']) add('unit', { unit }, skew().map(() => Math.floor(r() * 1e5)));
  for (const account of ['idle', 'kernel']) add('system', { account }, skew().map(() => Math.floor(r() * 1e5)));
  return { lanes, items };
}

describe('distribute', () => {
  it.each([
    [10, [1, 1, 1], [4, 3, 3]],
    [0, [1, 2], [0, 0]],
    [5, [0, 0], [0, 0]],
    [7, [0, 3], [0, 7]],
    [2 ** 52, [1, 1], [2 ** 51, 2 ** 51]],
  ])('%d by %j', (whole, weights, want) => expect(distribute(whole, weights)).toEqual(want));

  it('adds up, whatever the weights', () => {
    const r = random(7);
    for (let n = 0; n < 2000; n++) {
      const weights = Array.from({ length: 1 + Math.floor(r() * 9) }, () => (r() < 0.2 ? 0 : r() * 10 ** Math.floor(r() * 12)));
      const whole = Math.floor(r() * 2 ** Math.floor(r() * 53));
      const got = distribute(whole, weights);
      const wrong = total(got) !== (weights.some((w) => w > 0) ? whole : 0) || got.some((g, i) => (weights[i]! > 0 ? g < 0 : g !== 0));
      if (wrong) expect.fail(`${whole} by ${weights}: ${got}`);
    }
  });
});

describe('balance', () => {
  it('leaves a rest', () => expect(balance([1000, 500], [[300, 500], [200, 0]])).toEqual({ children: [[300, 500], [200, 0]], rest: [500, 0], excess: 0 }));
  it('scales down by one factor', () => expect(balance([1000], [[1500], [500]])).toEqual({ children: [[750], [250]], rest: [0], excess: 1 }));
  it('spreads what is rounding', () => expect(balance([100000], [[74970], [24990]])).toEqual({ children: [[75000], [25000]], rest: [0], excess: 0 }));
  it('gives nobody a lane that he has nothing of', () => expect(balance([100000, 10], [[100000, 0]]).rest).toEqual([0, 10]));
});

describe('grow', () => {
  it('adds up at every node, in thirty worlds', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const { lanes, items } = world(seed);
      const tree = grow(lanes, items);
      expect(tree.root.total).toBe(total(lanes.map((l) => l.total)));
      sums(tree.root);
      sums(only(tree.root, lanes.map((_, i) => i === 0)));
      for (const depth of [1, 2, 4]) for (const top of [1, 5, 1000]) sums(fold(tree.root, { depth, top, open: [] }));
    }
  });

  it('is the same tree when nothing was asked below', () => {
    const { lanes, items } = world(3);
    const all = grow(lanes, items).root.children.map((c) => [c.id, c.total]);
    expect(grow(lanes, { ...items, container: [] }).root.children.map((c) => [c.id, c.total])).toEqual(all);
  });

  it('puts everybody into his place', () => {
    const pod = { namespace: 'shop', pod: 'cart-1', pod_uid: 'u1', workload_kind: 'Deployment', workload: 'cart' };
    const lanes = [lane('cpu/dynamic', 1000), lane('cpu/idle', 500)];
    const one = (kind: Owned, labels: Record<string, string>, ...amounts: number[]) => ({ kind, labels, amounts });
    const tree = grow(lanes, {
      namespace: [one('namespace', { namespace: 'shop' }, 500, 100)],
      workload: [one('workload', { namespace: 'shop', workload_kind: 'Deployment', workload: 'cart' }, 400, 100)],
      pod: [one('pod', pod, 300, 100), one('pod', { pod_uid: 'u2' }, 50, 0)],
      container: [one('container', { ...pod, container: 'app', container_id: 'x' }, 200, 0), one('container', { container_id: 'y' }, 20, 0)],
      system: [one('system', { account: 'idle' }, 0, 400)],
    });
    const text = (n: FlowNode, indent = ''): string => `${indent}${n.id} ${n.amounts.join('+')}\n${n.children.map((c) => text(c, `${indent} `)).join('')}`;
    expect(text(tree.root)).toBe(
      [
        'all: 1000+500',
        ' namespace:shop 500+100',
        '  workload:shop/Deployment/cart 400+100',
        '   pod:shop/cart-1/u1/Deployment/cart 300+100',
        '    container:shop/cart-1/u1/app/x/ 200+0',
        '    rest:pod:shop/cart-1/u1/Deployment/cart 100+100',
        '   rest:workload:shop/Deployment/cart 100+0',
        '  rest:namespace:shop 100+0',
        ' system:idle 0+400',
        ' pods: 50+0',
        '  pod://u2// 50+0',
        ' containers: 20+0',
        '  container:////y/ 20+0',
        ' rest:all: 430+0',
        '',
      ].join('\n'),
    );
    expect(find(tree.root, 'container:////y/')?.map((n) => n.name)).toEqual(['Everything', 'Containers outside pods', 'y']);
    expect(find(tree.root, 'pod:none')).toBeNull();
  });
});

describe('fold', () => {
  it('keeps a level small, and opens what is asked for', () => {
    const { lanes, items } = world(5, 300);
    const root = grow(lanes, items).root;
    const shown = fold(root, { depth: 4, top: 12, open: [] });
    expect(count(root)).toBeGreaterThan(500);
    expect(count(shown)).toBeLessThan(12 * 4 * 4);
    const others = shown.children.flatMap((c) => c.children).find((c) => c.place === 'others');
    if (!others) throw new Error('nothing was folded');
    const parent = others.id.slice('others:'.length);
    const find1 = (at: FlowNode) => find(at, parent)!.at(-1)!;
    const open = fold(root, { depth: 4, top: 12, open: [parent] });
    sums(open);
    expect(find1(open).children.length).toBe(find1(root).children.length);
  });

  it('never folds one', () => {
    const lanes = [lane('cpu/dynamic', 30)];
    const root = grow(lanes, { unit: [1, 2, 3].map((i) => ({ kind: 'unit' as const, labels: { unit: `u${i}` }, amounts: [10] })) }).root;
    expect(fold(root, { depth: 2, top: 2, open: [] }).children[0]!.children.map((c) => c.place)).toEqual(['unit', 'unit', 'unit']);
    expect(fold(root, { depth: 2, top: 1, open: [] }).children[0]!.children.map((c) => c.name)).toEqual(['u1', '2 others']);
  });
});

describe('sensors', () => {
  const zone = (z: string, joules: number, sensor = 'powercap', socket = '0') => ({ zone: z, socket, sensor, joules });
  it('shows only the zones that make up a component, and all of it', () => {
    const lanes = [lane('cpu/dynamic', 6000), lane('cpu/idle', 4000), lane('memory/dynamic', 900), lane('other/idle', 100)];
    const got = sensors(lanes, [zone('package-0', 7), zone('package-1', 3), zone('core', 5), zone('mmio-package-0', 7), zone('dram', 0.9), zone('psys', 11)]);
    expect(got.map((s) => [s.name, s.amounts])).toEqual([
      ['package-0', [4200, 2800, 0, 0]],
      ['package-1', [1800, 1200, 0, 0]],
      ['dram 0', [0, 0, 900, 0]],
      ['psys 0', [0, 0, 0, 100]],
    ]);
  });
  it('tells the model from meters', () => {
    const got = sensors([lane('cpu/dynamic', 1000, 0.25), lane('memory/idle', 50, 1)], [zone('package-0', 0.75), zone('model-cpu', 99, 'model')]);
    expect(got.map((s) => [s.name, s.estimated, s.amounts])).toEqual([
      ['package-0', false, [750, 0]],
      ['Model (estimated)', true, [250, 50]],
    ]);
  });
  it('says what no meter explains', () => {
    expect(sensors([lane('cpu/dynamic', 1000)], [zone('package-0', 0.6)]).map((s) => [s.name, s.amounts])).toEqual([
      ['package-0', [600]],
      ['Meter not shown', [400]],
    ]);
    expect(sensors([lane('gpu/dynamic', 1000)], []).map((s) => s.name)).toEqual(['Meter not shown']);
  });
  it('shares what is in focus exactly', () => {
    const r = random(11);
    for (let n = 0; n < 200; n++) {
      const lanes = [lane('cpu/dynamic', 1 + Math.floor(r() * 1e9), r()), lane('memory/idle', Math.floor(r() * 1e9), r())];
      const all = sensors(lanes, [zone('package-0', r() * 1e6), zone('dram', r())]);
      lanes.forEach((l, i) => expect(total(all.map((s) => s.amounts[i]!))).toBe(l.total));
      const part = lanes.map((l) => Math.floor(l.total * r()));
      part.forEach((p, i) => expect(total(share(all, part).map((s) => s.amounts[i]!))).toBe(p));
    }
  });
});

describe('reading', () => {
  it('takes quality for the estimated share of a lane', () => {
    const lanes = lanesOf([series({ component: 'cpu', part: 'idle', quality: 'measured' }, 3), series({ component: 'cpu', part: 'idle', quality: 'estimated' }, 1), series({ component: 'cpu', part: 'dynamic', quality: 'measured' }, 2)], 'energy');
    expect(lanes).toEqual([lane('cpu/dynamic', 2000), lane('cpu/idle', 4000, 0.25)]);
    expect(itemsOf('unit', [series({ unit: 'a', component: 'cpu', part: 'dynamic' }, 1.5), series({ unit: 'a', component: 'gpu', part: 'dynamic' }, 9), series({ unit: 'a', component: 'cpu', part: 'idle' }, -4)], lanes, 'energy')).toEqual([{ kind: 'unit', labels: { unit: 'a', component: 'cpu', part: 'dynamic' }, amounts: [1500, 0] }]);
  });
});
