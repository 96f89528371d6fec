import { describe, expect, it } from 'vitest';
import * as queries from './queries';
import { kinds, type Kind } from './owners';
import { equal, metric, oneOf, owners, selector, type Scope } from './queries';
import { resolve, type Range } from './range';
import type { PageInfo } from './types';

const info: PageInfo = {
  version: '1', source: 'store', interval_seconds: 5, step_seconds: 15, long: { prefix: 'noether:5m:', after_seconds: 21600, step_seconds: 300 },
  retention_seconds: 1296000, snapshot: true, check: true, forecast: true, now: 1_800_000_000,
};
const scope = (seconds: number, node = ''): Scope => ({ info, node, range: resolve({ seconds, end: null }, info, info.now) });

describe('matchers', () => {
  it('quote what labels hold', () => {
    expect(equal('comm', 'a"b\\c\nd')).toBe('comm="a\\"b\\\\c\\nd"');
    expect(oneOf('unit', ['a.b', 'c|d', '(e)+$'])).toBe('unit=~"a\\\\.b|c\\\\|d|\\\\(e\\\\)\\\\+\\\\$"');
  });
  it('hold the node of the scope', () => expect([selector(scope(900)), selector(scope(900, 'n"1'), 'a="b"', undefined)]).toEqual(['', '{node="n\\"1",a="b"}']));
  it('take the copies for long ranges, where there are any', () => {
    expect(metric(scope(900), 'node_joules_total', true)).toBe('noether_node_joules_total');
    expect(metric(scope(86400), 'node_joules_total', true)).toBe('noether:5m:node_joules_total');
    expect(metric(scope(86400), 'unit_joules_total', false)).toBe('noether_unit_joules_total');
    expect(metric({ ...scope(86400), info: { ...info, long: null } }, 'node_joules_total', true)).toBe('noether_node_joules_total');
  });
});

// How each query is asked: at one time, or along the range.
const along = /[hH]istory|^node\.present|^node\.joulesEach|^agents\.cpu|^first/;
// Arguments of those that take more than a scope.
const extra: Record<string, unknown[]> = { 'node.present': [450], 'node.joulesEach': [3600], 'owner.lastSeen': [info.retention_seconds] };
// Histories name owners, as many as a table shows; what is asked of an owner's
// own page names one. The benchmark's simulated machine has these
// (test/bench/history).
const shown = Array.from({ length: 20 }, (_, i) => i);
const hex = (n: number, digits: number): string => n.toString(16).padStart(digits, '0');
const names: Partial<Record<Kind, [label: string, values: string[]]>> = {
  namespace: ['namespace', shown.map((i) => `team-${i}`)],
  workload: ['workload', shown.map((i) => `service-${i}`)],
  pod: ['pod', shown.map((i) => `service-${i}-7d9f8c6b5-${String(i + 1).padStart(5, '0')}`)],
  container: ['container_id', shown.map((i) => hex(i + 1, 60) + hex(0, 4))],
  unit: ['unit', shown.map((i) => `unit-${i}.service`)],
};
// Names that hold no query of their own: parts of others, and what is asked as match[].
const parts = new Set(['equal', 'oneOf', 'selector', 'metric', 'exactly', 'alone', 'families', 'kindsWith']);

interface Query {
  name: string;
  expr: string;
  type: 'instant' | 'range';
  step: number;
  range_seconds: number;
}

type Ask = (s: Scope, ...rest: unknown[]) => string;

function all(seconds: number): Query[] {
  const s = scope(seconds);
  const found: Query[] = [];
  const add = (name: string, family: string, expr: string) => found.push({ name, expr, type: along.test(family) ? 'range' : 'instant', step: s.range.step, range_seconds: seconds });
  const perKind = new Set<unknown>([...Object.values(owners), ...Object.values(queries.owner)]);
  for (const [group, value] of Object.entries(queries as Record<string, unknown>)) {
    if (parts.has(group)) continue;
    if (typeof value === 'string') add(group, group, value);
    const members: [string, unknown][] = typeof value === 'function' ? [[group, value]] : typeof value === 'object' && value ? Object.entries(value).map(([k, v]) => [`${group}.${k}`, v]) : [];
    for (const [name, f] of members) {
      if (typeof f !== 'function') continue;
      const ask = f as Ask;
      if (!perKind.has(f) || ['owner.sci', 'owner.sciWindow'].includes(name)) {
        add(name, name, ask(s, ...(extra[name] ?? [])));
        continue;
      }
      for (const kind of Object.keys(kinds) as Kind[]) {
        const info = kinds[kind];
        if (kind === 'process' || (/grams/i.test(name) && !info.co2e) || (/cost|credit/.test(name) && !info.cost)) continue;
        if (name === 'owner.cpuSeconds' && !['container', 'pod', 'unit', 'vm'].includes(kind)) continue;
        const [label, values] = names[kind] ?? ['', []];
        const whom = !values.length ? [] : /istory/.test(name) ? [oneOf(label, values)] : /^owner\./.test(name) ? [equal(label, values[0]!)] : [];
        const by = /istory/.test(name) ? [[]] : [];
        add(`${name} ${kind}`, name, ask(s, kind, ...(extra[name] ?? by), ...whom));
      }
    }
  }
  return found.sort((a, b) => a.name.localeCompare(b.name));
}

describe('the queries', () => {
  const text = `${JSON.stringify([...all(3600), ...all(604800)], null, 1)}\n`;
  // npx vitest run -u src/lib/queries.test.ts writes it anew.
  it('are those of the golden file', async () => {
    await expect(text).toMatchFileSnapshot('queries.golden.json');
  });
  it('balance their brackets and name durations', () => {
    for (const q of JSON.parse(text) as Query[]) {
      expect((q.expr.match(/[([{]/g) ?? []).length, q.expr).toBe((q.expr.match(/[)\]}]/g) ?? []).length);
      expect(q.expr).not.toMatch(/NaN|undefined|null|\[object/);
    }
  });
});

// A range is what tells a long one from a short one; nothing else does.
it('asks the copies by the length of the range alone', () => {
  const past: Range = resolve({ seconds: 3600, end: info.now - 1e6 }, info, info.now);
  expect(owners.joules({ info, node: '', range: past }, 'pod')).toContain('noether_pod_joules_total[1h]');
});
