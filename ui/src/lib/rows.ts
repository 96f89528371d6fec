// Rows of tables of owners, made of answers of queries; sorted and searched.
import { exactly } from './queries';
import { key, kinds, type Kind } from './owners';
import { href } from './route';
import type { Labels, Series } from './types';

// Row is one owner. What is not known is null, and never 0.
export interface Row {
  key: string;
  labels: Labels;
  name: string;
  watts: number | null;
  joules: number | null;
  grams: number | null;
  cost: ReadonlyMap<string, number>; // by currency, credit taken off
  text: string; // what a search looks through
}

export interface Answers {
  joules: Series[];
  watts?: Series[] | undefined;
  grams?: Series[] | undefined;
  cost?: Series[] | undefined;
  credit?: Series[] | undefined;
}

const last = (s: Series): number | null => s.points.at(-1)?.[1] ?? null;

const pick = (kind: Kind, l: Labels): Labels => Object.fromEntries(kinds[kind].labels.flatMap((n) => (l[n] ? [[n, l[n]]] : [])));

export const rowText = (l: Labels): string => Object.values(l).join('\n').toLowerCase();

// merge makes one row of all answers about one owner; several answers about it
// are added up.
export function merge(kind: Kind, a: Answers): Row[] {
  const rows = new Map<string, Row & { cost: Map<string, number> }>();
  const of = (l: Labels) => {
    const k = key(kind, l);
    let row = rows.get(k);
    if (!row) {
      const labels = pick(kind, l);
      row = { key: k, labels, name: kinds[kind].name(labels), watts: null, joules: null, grams: null, cost: new Map(), text: rowText(labels) };
      rows.set(k, row);
    }
    return row;
  };
  const add = (list: Series[] | undefined, field: 'watts' | 'joules' | 'grams') => {
    for (const s of list ?? []) {
      const v = last(s);
      if (v === null) continue;
      const row = of(s.labels);
      row[field] = (row[field] ?? 0) + v;
    }
  };
  add(a.joules, 'joules');
  add(a.watts, 'watts');
  add(a.grams, 'grams');
  for (const [list, sign] of [[a.cost, 1], [a.credit, -1]] as const) {
    for (const s of list ?? []) {
      const v = last(s);
      if (v === null) continue;
      const { cost } = of(s.labels);
      const currency = s.labels.currency ?? '';
      cost.set(currency, (cost.get(currency) ?? 0) + sign * v);
    }
  }
  return [...rows.values()];
}

export const currencies = (rows: Row[]): string[] => [...new Set(rows.flatMap((r) => [...r.cost.keys()]))].sort();

export type Value = number | string | null;

const collator = new Intl.Collator('en', { numeric: true });

// sorted keeps the order of equals, and puts what is not known last either way.
export function sorted<R>(rows: R[], value: (r: R) => Value, desc: boolean): R[] {
  const sign = desc ? -1 : 1;
  return rows
    .map((row) => ({ row, v: value(row) }))
    .sort((a, b) => {
      if (a.v === null || b.v === null) return a.v === b.v ? 0 : a.v === null ? 1 : -1;
      if (typeof a.v === 'number' && typeof b.v === 'number') return sign * (a.v - b.v);
      return sign * collator.compare(String(a.v), String(b.v));
    })
    .map(({ row }) => row);
}

// search keeps the rows of which some label holds each of the words.
export function search<R extends { text: string }>(rows: R[], q: string): R[] {
  const words = q.toLowerCase().split(/\s+/).filter((w) => w);
  return words.length ? rows.filter((r) => words.every((w) => r.text.includes(w))) : rows;
}

// add is a sum of what is known; null if nothing is.
export function add(values: Iterable<number | null | undefined>): number | null {
  let sum: number | null = null;
  for (const v of values) if (v !== null && v !== undefined) sum = (sum ?? 0) + v;
  return sum;
}

export interface Sums {
  watts: number | null;
  joules: number | null;
  grams: number | null;
  cost: ReadonlyMap<string, number>;
}

export function sums(rows: Sums[]): Sums {
  const cost = new Map<string, number>();
  for (const r of rows) for (const [c, v] of r.cost) cost.set(c, (cost.get(c) ?? 0) + v);
  return { watts: add(rows.map((r) => r.watts)), joules: add(rows.map((r) => r.joules)), grams: add(rows.map((r) => r.grams)), cost };
}

const less = (a: number | null | undefined, b: number | null | undefined): number | null => (a === null || a === undefined ? null : a - (b ?? 0));

// without is what is left of a when b is taken away.
export function without(a: Sums, b: Sums): Sums {
  return { watts: less(a.watts, b.watts), joules: less(a.joules, b.joules), grams: less(a.grams, b.grams), cost: new Map([...a.cost].map(([c, v]) => [c, v - (b.cost.get(c) ?? 0)])) };
}

// what people find in a title: the labels that are not the name.
export const where = (kind: Kind, r: { labels: Labels; name: string }): string =>
  kinds[kind].labels
    .filter((n) => n !== 'pod_uid' && n !== 'container_id' && n !== 'comm')
    .map((n) => r.labels[n])
    .filter((v) => v && v !== r.name)
    .join(' · ');

// detailHref is the address of the page of one owner.
export const detailHref = (kind: Kind, labels: Labels, shared: Record<string, string | undefined>): string => href('detail', { ...shared, kind, ...pick(kind, labels) });

// ownerOf reads the kind and the labels of an owner from the parameters of a
// URL, whose names may have something before them.
export function ownerOf(params: Record<string, string>, before = ''): { kind: Kind; labels: Labels } | null {
  const kind = params[`${before}kind`] ?? '';
  if (!Object.hasOwn(kinds, kind)) return null;
  const labels = Object.fromEntries(kinds[kind as Kind].labels.flatMap((n) => (params[before + n] ? [[n, params[before + n]!]] : [])));
  return { kind: kind as Kind, labels };
}

// known are the matchers of the labels that are known of an owner. Those that
// a link left out match anything.
export const known = (kind: Kind, labels: Labels): string[] => exactly(kind, labels).filter((_, i) => labels[kinds[kind].labels[i] ?? ''] !== undefined);

// tabs are the kinds that have tables, in the order of their tabs.
export const tabs: Kind[] = ['workload', 'pod', 'namespace', 'container', 'vm', 'unit', 'session', 'process'];

// usual is the kind whose table is shown first of those that there are.
export const usual = (there: Kind[]): Kind | undefined => (['workload', 'container', 'unit'] as Kind[]).find((k) => there.includes(k)) ?? there[0];

// kindsOf reads which kinds there are from the names of families.
export const kindsOf = (names: string[]): Kind[] => tabs.filter((k) => names.includes(`noether_${kinds[k].family}_joules_total`));

const treeLabels = ['namespace', 'workload_kind', 'workload', 'pod', 'pod_uid', 'container', 'container_id', 'vm', 'unit', 'user'];

// matchesTree says whether the labels of a published score are those of an
// owner: each that the score has, the owner has too, and there is one at least.
export function matchesTree(score: Labels, owner: Labels): boolean {
  const has = treeLabels.filter((n) => score[n]);
  return has.length > 0 && has.every((n) => score[n] === owner[n]);
}
