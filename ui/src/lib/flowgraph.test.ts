import { describe, expect, it } from 'vitest';
import { fold, grow, sensors, total, type Items, type Lane } from './flow';
import { draw, neighbour, path, place, rows, type Graph } from './flowgraph';

const lanes: Lane[] = [
  { id: 'cpu/dynamic', group: 'cpu', idle: false, total: 0, estimated: 0 },
  { id: 'memory/idle', group: 'memory', idle: true, total: 0, estimated: 1 },
];

// cluster has so many pods of five workloads in two namespaces, and idle energy.
function cluster(pods: number): { lanes: Lane[]; items: Items } {
  const items: Required<Pick<Items, 'namespace' | 'workload' | 'pod' | 'system'>> = { namespace: [], workload: [], pod: [], system: [{ kind: 'system', labels: { account: 'idle' }, amounts: [0, 777] }] };
  const all = [0, 777];
  for (let i = 0; i < pods; i++) {
    const namespace = `ns${i % 2}`;
    const workload = `w${i % 5}`;
    const amounts = [1000 + i, 10];
    items.pod.push({ kind: 'pod', labels: { namespace, pod: `p${i}`, pod_uid: `u${i}`, workload_kind: 'Deployment', workload }, amounts });
    for (const [kind, labels] of [['namespace', { namespace }], ['workload', { namespace, workload_kind: 'Deployment', workload }]] as const) {
      const had = items[kind].find((x) => JSON.stringify(x.labels) === JSON.stringify(labels));
      if (had) had.amounts = had.amounts.map((a, k) => a + amounts[k]!);
      else items[kind].push({ kind, labels, amounts: amounts.slice() });
    }
    amounts.forEach((a, k) => (all[k]! += a));
  }
  return { lanes: lanes.map((l, i) => ({ ...l, total: all[i]! + 5000 })), items };
}

function picture(pods: number, top = 12, depth = 3): { graph: Graph; lanes: Lane[] } {
  const c = cluster(pods);
  const tree = grow(c.lanes, c.items);
  return { graph: draw(c.lanes, fold(tree.root, { depth, top, open: [] }), sensors(c.lanes, [{ zone: 'package-0', socket: '0', sensor: 'powercap', joules: 1000 }]), 'energy'), lanes: c.lanes };
}

describe('draw', () => {
  it('balances at every spot: what comes in is what is there, and what goes out', () => {
    const { graph } = picture(40);
    for (const s of graph.spots) {
      const into = graph.links.filter((l) => l.target === s.id);
      const out = graph.links.filter((l) => l.source === s.id);
      if (into.length) expect(total(into.map((l) => l.total)), s.id).toBe(s.total);
      if (out.length) expect(total(out.map((l) => l.total)), s.id).toBe(s.total);
      expect(into.length + out.length).toBeGreaterThan(0);
    }
    for (const column of [0, 1, 2]) expect(total(graph.spots.filter((s) => s.column === column).map((s) => s.total))).toBe(total(graph.spots.filter((s) => s.column === 1).map((s) => s.total)));
    expect(graph.columns).toEqual(['Meters', 'Parts of the machine', 'Who', 'Workloads, units', 'Pods']);
  });

  it('begins at the focus, with its own part of the meters', () => {
    const c = cluster(10);
    const tree = grow(c.lanes, c.items);
    const focus = tree.root.children.find((n) => n.id === 'namespace:ns1')!;
    const graph = draw(c.lanes, fold(focus, { depth: 1, top: 12, open: [] }), sensors(c.lanes, []), 'energy');
    expect(graph.spots.filter((s) => s.place === 'namespace').map((s) => s.id)).toEqual(['namespace:ns1']);
    expect(total(graph.spots.filter((s) => s.place === 'sensor').map((s) => s.total))).toBe(focus.total);
  });
});

describe('place', () => {
  it('lays out 300 pods with few nodes, none outside, none upon another', () => {
    const { graph, lanes } = picture(300);
    expect(graph.spots.length).toBeLessThan(70);
    const p = place(graph, lanes, 1000);
    expect(p.spots.length).toBe(graph.spots.length);
    for (const s of p.spots) expect(s.x0 >= 0 && s.x1 <= p.width && s.y0 >= 0 && s.y1 <= p.height + 1e-6 && s.y1 >= s.y0, s.id).toBe(true);
    for (let column = 0; column < graph.columns.length; column++) {
      const in_ = p.spots.filter((s) => s.column === column).sort((a, b) => a.y0 - b.y0);
      for (let i = 1; i < in_.length; i++) expect(in_[i]!.y0 - in_[i - 1]!.y1, in_[i]!.id).toBeGreaterThan(10);
      expect(new Set(in_.map((s) => s.x0)).size).toBe(1);
    }
    expect(p.ribbons.every((r) => !/NaN|Infinity/.test(r.path))).toBe(true);
  });

  it('hatches what is estimated, and nothing else', () => {
    const { graph, lanes } = picture(4);
    const p = place(graph, lanes, 1000);
    expect(p.ribbons.length).toBeGreaterThan(0);
    expect(p.ribbons.every((r) => r.hatched === (lanes[r.lane]!.estimated === 1))).toBe(true);
  });

  it('lays out all of 300 pods when they are opened', () => {
    const { graph, lanes } = picture(300, 1000);
    expect(graph.spots.length).toBeGreaterThan(300);
    expect(place(graph, lanes, 1000).spots.length).toBe(graph.spots.length);
  });

  it('is empty for nothing', () => expect(place({ spots: [], links: [], columns: [] }, [], 100).spots).toEqual([]));
});

describe('going about', () => {
  const { graph } = picture(4, 12, 2);
  it('finds what is up and down the stream', () => {
    const way = path(graph, 'namespace:ns0');
    expect(way.has('lane:cpu/dynamic') && way.has('sensor:zone:powercap/0/package-0') && way.has('workload:ns0/Deployment/w0')).toBe(true);
    expect(way.has('namespace:ns1') || way.has('system:idle')).toBe(false);
  });
  it.each([
    ['lane:cpu/dynamic', 'left', 'sensor:zone:powercap/0/package-0'],
    ['lane:cpu/dynamic', 'down', 'lane:memory/idle'],
    ['lane:memory/idle', 'down', 'lane:memory/idle'],
    ['namespace:ns1', 'right', 'workload:ns1/Deployment/w3'],
    ['system:idle', 'right', 'system:idle'],
  ] as const)('from %s %s', (from, arrow, to) => expect(neighbour(graph, from, arrow)).toBe(to));
  it('lists the same spots as rows, children below their parent', () => {
    const all = rows(graph);
    expect(all.map((r) => r.id)).toEqual(graph.spots.map((s) => s.id));
    const at = all.findIndex((r) => r.id === 'namespace:ns1');
    expect(all[at + 1]).toMatchObject({ id: 'workload:ns1/Deployment/w3', depth: 1, from: 'ns1' });
  });
});
